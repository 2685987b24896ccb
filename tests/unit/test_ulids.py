"""ULIDs as Muster makes and reads them, beside the library that makes and reads them."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from directory.documents import is_resource_id
from directory.ulids import first_ulid, made_at, new_ulid


def test_the_library_reads_the_time_that_they_were_made_with() -> None:
    for _ in range(200):
        at = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(milliseconds=random.randrange(10**13))
        made = ULID.from_str(new_ulid(at).upper())
        assert abs(made.datetime - at) <= timedelta(milliseconds=1)


def test_they_are_ids_of_their_own_that_sort_by_time() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = [new_ulid(begin + timedelta(milliseconds=2 * number)) for number in range(1000)]
    assert made == sorted(set(made))
    assert all(map(is_resource_id, made))
    assert len({new_ulid(begin) for _ in range(1000)}) == 1000


MOMENTS = st.integers(0, 253402128000000).map(
    lambda milliseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)


@given(MOMENTS)
def test_they_are_read_as_the_library_reads_them(at: datetime) -> None:
    for text in (new_ulid(at), first_ulid(at), str(ULID.from_datetime(at))):
        made = made_at(text)
        assert made is not None
        # The library goes through a float.
        assert abs(made - ULID.from_str(text.upper()).datetime) < timedelta(milliseconds=1)
        assert timedelta() <= at - made < timedelta(milliseconds=2)
    assert first_ulid(at) <= new_ulid(at)


@pytest.mark.parametrize("text", ["", "0" * 25, "8" + "0" * 25, "u" * 26, "0" * 27, "7" + "z" * 25])
def test_what_is_none_has_no_time(text: str) -> None:
    assert made_at(text) is None
