"""How long a message is held before it is given back."""

import pytest

from directory.store import PreconditionFailed, Throttled, Unavailable
from queues.port import QueueError
from reconciler.patience import LONGEST_SECONDS, pause_before_redelivery


@pytest.mark.parametrize("error", [Throttled(0.1), Unavailable(), QueueError()])
def test_a_service_that_is_busy_gets_more_time_with_each_delivery(error: Exception) -> None:
    pauses = [pause_before_redelivery(error, delivery) for delivery in range(1, 11)]
    assert pauses[:3] == [1, 2, 4]
    assert pauses[-1] == LONGEST_SECONDS
    assert 120 < sum(pauses) < 300


def test_the_store_may_ask_for_more_and_gets_at_most_the_longest() -> None:
    assert pause_before_redelivery(Throttled(7.5), 1) == 7.5
    assert pause_before_redelivery(Throttled(7.5), 4) == 8
    assert pause_before_redelivery(Throttled(600), 1) == LONGEST_SECONDS


@pytest.mark.parametrize("error", [PreconditionFailed("access:u"), ValueError()])
def test_what_time_does_not_mend_comes_again_at_once(error: Exception) -> None:
    assert pause_before_redelivery(error, 3) == 0
