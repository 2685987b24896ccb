"""The token bucket, on a clock of its own."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trust.rate import BURST_SECONDS, RateLimit

PER_SECOND = 10.0
pauses = st.lists(st.floats(0, 0.5), min_size=1, max_size=200)


@given(pauses)
def test_no_stretch_of_time_has_more_than_the_rate_and_one_burst(pauses: list[float]) -> None:
    now, taken = 0.0, []
    limit = RateLimit(PER_SECOND, lambda: now)
    for pause in pauses:
        now += pause
        if not limit.take("a"):
            taken.append(now)
    for start, first in enumerate(taken):
        for number, last in enumerate(taken[start:], 1):
            assert number <= PER_SECOND * (last - first + BURST_SECONDS) + 1e-6


@given(st.lists(st.floats(1 / PER_SECOND, 5), max_size=100))
def test_whoever_keeps_to_the_rate_is_never_refused(pauses: list[float]) -> None:
    now = 0.0
    limit = RateLimit(PER_SECOND, lambda: now)
    for pause in pauses:
        assert limit.take("a") == 0
        now += pause


@given(pauses)
def test_after_the_wait_that_was_asked_for_there_is_a_token(pauses: list[float]) -> None:
    now = 0.0
    limit = RateLimit(PER_SECOND, lambda: now)
    for pause in pauses:
        now += pause
        if wait := limit.take("a"):
            now += wait + 1e-9
            assert limit.take("a") == 0


def test_a_full_bucket_holds_one_burst_for_each_tenant() -> None:
    limit = RateLimit(PER_SECOND, lambda: 0.0)
    for tenant in ("a", "b"):
        waits = [limit.take(tenant) for _ in range(int(PER_SECOND * BURST_SECONDS) + 3)]
        assert waits.count(0) == PER_SECOND * BURST_SECONDS
        assert all(one <= other for one, other in pairwise(waits))


def test_tenants_that_are_quiet_take_no_memory() -> None:
    now = 0.0
    limit = RateLimit(PER_SECOND, lambda: now, buckets=3)
    for number in range(100):
        now += 1
        limit.take(f"t{number}")
    assert len(limit._full_at) <= 3


def test_no_limit_is_no_limit() -> None:
    limit = RateLimit(0, lambda: 0.0)
    assert not any(limit.take("a") for _ in range(10_000))
