"""How long a message is held before it is given back, when its event could not be reconciled.

Service Bus redelivers an abandoned message at once. While the store is busy for a few seconds, all
deliveries of a message would be used up, and the rest of the event would wait for the timer until
duplicate detection has forgotten the message.
"""

from directory.store import Throttled, Unavailable
from queues.port import QueueError

LONGEST_SECONDS = 30.0
"""Ten deliveries last for three minutes; the host keeps a message locked for five."""


def pause_before_redelivery(error: Exception, delivery: int) -> float:
    """Seconds to wait; 0 for an error that waiting does not cure. `delivery` counts from 1."""
    if not isinstance(error, Throttled | Unavailable | QueueError):
        return 0.0
    retry_after = error.retry_after if isinstance(error, Throttled) else 0.0
    return min(LONGEST_SECONDS, max(retry_after, 2.0 ** (delivery - 1)))
