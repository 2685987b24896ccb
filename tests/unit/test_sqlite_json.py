"""Texts compare as stored as they compare by themselves; documents come back as they were."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.operations import to_json
from directory.sqlite.json_text import load, original_text, stored_body, stored_text

texts = st.text("\0\x01\x02\x03\x04\x05\x06a\\u0", max_size=5) | st.text()
values = st.recursive(
    texts | st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1),
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


@given(texts, texts, texts)
def test_stored_texts_compare_as_they_do_by_themselves(a: str, b: str, c: str) -> None:
    whole, part = stored_text(a + b + c), stored_text(b)
    assert part in whole
    assert (stored_text(c) in stored_text(a)) == (c in a)
    assert stored_text(a).startswith(stored_text(c)) == a.startswith(c)
    assert stored_text(a).endswith(stored_text(c)) == a.endswith(c)
    assert (stored_text(a) < stored_text(b)) == (a < b)
    assert (stored_text(a) == stored_text(b)) == (a == b)


@given(texts)
def test_stored_text_has_no_nul_and_comes_back(text: str) -> None:
    assert "\0" not in stored_text(text)
    assert original_text(stored_text(text)) == text


@given(values)
def test_documents_come_back(value: Any) -> None:
    assert load(stored_body(to_json(value)).decode()) == value
    assert b"\\u0000" not in stored_body(to_json(value)).replace(rb"\\", b"")


@given(st.text("\0\x01ab"))
def test_what_is_stored_is_what_sqlite_reads(text: str) -> None:
    assert orjson.loads(stored_body(to_json(text))) == stored_text(text)


@pytest.mark.parametrize(
    "value", [{1: 2}, {"a": object()}, {"a": "\ud800"}, {"a": 2**64}, {"a": {1}}]
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="Not JSON"):
        stored_body(to_json(value))
