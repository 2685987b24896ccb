"""How many requests a tenant may send: a token bucket for each, in this process.

One tenant's flood must not slow down the others on the same instance. The limit is far above what
Entra ID sends. Each instance counts for itself, so the limit multiplies with the instances that a
tenant's requests reach.
"""

import time
from collections.abc import Callable

BURST_SECONDS = 2.0
"""A burst may have the requests of this many seconds, and at least one."""
BUCKETS = 10_000


class RateLimit:
    """Buckets of `per_second` tokens; 0: no limit. `now` is a monotonic clock.

    Beyond so many `buckets` in memory, full ones are dropped, since a new bucket is full, too.
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
        """Seconds to fill an empty bucket."""
        self._now = now
        self._full_at: dict[str, float] = {}
        """When the tenant's bucket will be full again."""

    def take(self, tenant_id: str) -> float:
        """Take a token. Returns 0, or, where there is none, the seconds until there is one."""
        now = self._now()
        full_at = max(now, self._full_at.get(tenant_id, now)) + self._interval
        missing = full_at - now - self._depth
        if missing > self._interval * 1e-6:  # sums of floats are not exact
            return missing
        if len(self._full_at) >= self._buckets and tenant_id not in self._full_at:
            self._full_at = {id: full for id, full in self._full_at.items() if full > now}
        self._full_at[tenant_id] = full_at
        return 0.0
