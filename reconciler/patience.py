"""How long a message is held whose event could not be reconciled, before it is given back.

Service Bus delivers what is given back at once: while the store is busy for a few seconds, all
deliveries of a message would be used up, and what is left of the event would wait for the timer
until duplicate detection has forgotten the message.
"""

from directory.store import Throttled, Unavailable
from queues.port import QueueError

LONGEST_SECONDS = 30.0
"""Ten deliveries last for three minutes; the host keeps a message locked for five."""


def pause_before_redelivery(error: Exception, delivery: int) -> float:
    """Seconds; none for an error that time does not mend. `delivery` is 1 at the first one."""
    if not isinstance(error, Throttled | Unavailable | QueueError):
        return 0.0
    asked = error.retry_after if isinstance(error, Throttled) else 0.0
    return min(LONGEST_SECONDS, max(asked, 2.0 ** (delivery - 1)))
