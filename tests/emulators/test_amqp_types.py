"""The stand-in's AMQP types: what is written is read, and the SDK's codec agrees."""

from typing import Any, cast
from uuid import UUID

import pytest
from azure.servicebus._pyamqp._decode import decode_payload
from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.message import Message, Properties
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulators.amqp_types import (
    Array,
    Described,
    Int,
    Long,
    MalformedError,
    Symbol,
    Timestamp,
    Ubyte,
    Uint,
    Ulong,
    Ushort,
    decode,
    encode,
)
from tests.emulators.servicebus_message import APPLICATION_PROPERTIES, PROPERTIES, VALUE, sections

numbers = st.one_of(
    st.integers(0, 2**8 - 1).map(Ubyte),
    st.integers(0, 2**16 - 1).map(Ushort),
    st.integers(0, 2**32 - 1).map(Uint),
    st.integers(0, 2**64 - 1).map(Ulong),
    st.integers(-(2**31), 2**31 - 1).map(Int),
    st.integers(-(2**63), 2**63 - 1).map(Long),
    st.integers(-(2**63), 2**63 - 1).map(Timestamp),
)
text = st.text(max_size=300)
symbols = st.text(st.characters(max_codepoint=127), max_size=20).map(Symbol)
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.floats(allow_nan=False), text, symbols,
    st.binary(max_size=300), st.uuids(),
)  # fmt: skip
arrays = st.one_of(
    st.lists(st.uuids(), min_size=1, max_size=5).map(Array),
    st.lists(text, min_size=1, max_size=5).map(Array),
    st.lists(st.integers(0, 9).map(Long), min_size=1, max_size=5).map(Array),
)
values = st.recursive(
    scalars | arrays,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(text | symbols, inner, max_size=5),
        st.builds(Described, st.integers(0, 2**63).map(Ulong) | symbols, inner),
    ),
    max_leaves=20,
)


def typed(value: Any) -> Any:
    """The value with its types, for numbers of different widths compare equal."""
    if isinstance(value, Described):
        return (type(value), typed(value.descriptor), typed(value.value))
    if isinstance(value, dict):
        return {typed(key): typed(part) for key, part in value.items()}
    if isinstance(value, list):
        return (type(value), [typed(part) for part in value])
    return (type(value), value)


@given(values)
@settings(max_examples=200)
def test_what_was_written_is_read(value: Any) -> None:
    assert typed(decode(encode(value))) == typed(value)


@given(values, st.data())
@settings(max_examples=100)
def test_what_was_cut_off_is_refused(value: Any, data: st.DataObject) -> None:
    content = encode(value)
    with pytest.raises(MalformedError):
        decode(content[: data.draw(st.integers(0, len(content) - 1))])


@given(
    id=st.uuids() | text.filter(bool),
    properties=st.dictionaries(text.filter(bool), text | st.booleans(), max_size=40),
    body=st.dictionaries(
        text, text | st.uuids() | st.binary(max_size=300), min_size=1, max_size=40
    ),
)
@settings(max_examples=60)
def test_reads_what_the_sdk_writes_and_the_sdk_what_it_writes(
    id: UUID | str, properties: dict[str, Any], body: dict[str, Any]
) -> None:
    message = Message(
        properties=Properties(message_id=id),
        application_properties=cast("Any", properties),
        value=body,
    )
    found = {
        kind: value for kind, value, _ in sections(bytes(encode_payload(bytearray(), message)))
    }
    assert found[PROPERTIES][0] == id
    assert found.get(APPLICATION_PROPERTIES, {}) == properties
    assert found[VALUE] == body

    written = encode(Described(PROPERTIES, [id])) + encode(Described(VALUE, body))
    read = decode_payload(memoryview(written))
    assert read.properties is not None
    assert read.value is not None
    assert _text(read.properties[0]) == id
    assert {_text(key): _text(value) for key, value in read.value.items()} == {
        key: _text(value) for key, value in body.items()
    }


def _text(value: Any) -> Any:
    """The SDK reads text as bytes."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return value
