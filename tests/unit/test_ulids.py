"""ULIDs as Muster makes them, read by the library."""

import random
from datetime import UTC, datetime, timedelta

from ulid import ULID

from directory.documents import is_resource_id
from directory.ulids import new_ulid


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
