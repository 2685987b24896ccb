"""How many requests a tenant may send: a token bucket for each, in this process.

One tenant's flood must not take the time of the others on the same instance. The limit is far
above what Entra ID sends, and each instance counts for itself: a tenant that is spread over
several has as many times the rate.
"""

import time
from collections.abc import Callable

BURST_SECONDS = 2.0
"""So many seconds' worth of requests may come at once, and one in any case."""
BUCKETS = 10_000


class RateLimit:
    """Buckets of `per_second` tokens; 0 lets everything pass. `now` is a steady clock.

    Beyond so many `buckets` in memory, full ones are dropped: a tenant's first request finds a full
    bucket, too.
    """

    def __init__(
        self,
        per_second: float,
        now: Callable[[], float] = time.monotonic,
        *,
        buckets: int = BUCKETS,
    ) -> None:
        self._buckets = buckets
        self._interval = 1 / per_second if per_second > 0 else 0.0
        self._depth = max(BURST_SECONDS, self._interval)
        """Seconds that it takes to fill an empty bucket."""
        self._now = now
        self._full_at: dict[str, float] = {}
        """When the tenant's bucket will be full again."""

    def take(self, tenant_id: str) -> float:
        """Take a token: 0, or the seconds after which there will be one."""
        now = self._now()
        full_at = max(now, self._full_at.get(tenant_id, now)) + self._interval
        missing = full_at - now - self._depth
        if missing > self._interval * 1e-6:  # sums of fractions are not exact
            return missing
        if len(self._full_at) >= self._buckets and tenant_id not in self._full_at:
            self._full_at = {id: full for id, full in self._full_at.items() if full > now}
        self._full_at[tenant_id] = full_at
        return 0.0
