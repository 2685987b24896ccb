"""What operators see of every tenant at once: a summary of each, in one partition, in the order of
the trouble that it is in.

The order is in the document's id, because a page in the order of `id` costs the same however many
documents there are, on every store. So a summary moves when its trouble changes: the old document
goes and the new one comes in one batch.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from directory.documents import StoredModel

type Trouble = Literal[
    "failedEvents", "pendingLate", "refusing", "secretEnded", "secretEnding", "silent", "refusals"
]
WEIGHTS: dict[Trouble, int] = {
    "failedEvents": 4_000,
    "pendingLate": 2_000,
    "refusing": 1_000,
    "secretEnded": 500,
    "secretEnding": 200,
    "silent": 100,
    "refusals": 50,
}
"""Each outweighs those behind it together, so that the order is that of the worst."""
_MOST = 9_999
LATE = timedelta(minutes=10)
"""An event that waits for longer is late, as the alert `oldest-pending` has it."""
SILENT = timedelta(hours=3)
"""Entra ID sends something about every 40 minutes."""
ENDING = timedelta(days=30)
REFUSED_REQUESTS = 20
REFUSED_SHARE = 0.5
"""A tenant is refusing where so many requests, and such a share of them, got an error."""


def is_refusing(requests: int, errors: int) -> bool:
    """Whether so many of the requests got an error that somebody should look."""
    return errors >= REFUSED_REQUESTS and errors >= REFUSED_SHARE * requests


class TenantSummary(StoredModel):
    """A tenant at a glance, as it was `as_of`; None: nobody has looked so far."""

    document_type = "TenantSummary"

    tenant: str
    """The tenant's id; the document itself is in the partition of the deployment."""
    name: str
    region: str
    directory_id: str | None = None
    provisioning: Literal["disabled", "enabled"]
    search: str
    """Name and id in their comparable form."""
    tenant_etag: str = ""
    """The version of the tenant's document."""
    requests: int = 0
    """SCIM requests of the last 24 hours."""
    errors: int = 0
    """Those of them that got an error."""
    last_request: datetime | None = None
    refusals: int = 0
    """Kinds of requests that were refused in the last 24 hours."""
    pending: int = 0
    oldest_pending: datetime | None = None
    failed: int = 0
    secret_ends: datetime | None = None
    """When the first connection, or other owner of secrets, has none that lives any more, where
    that is within 30 days or has been."""
    last_write: datetime | None = None
    """Of a connection."""
    users: int = 0
    groups: int = 0
    troubles: tuple[Trouble, ...] = ()
    as_of: datetime | None = None

    @property
    def document_id(self) -> str:
        rank = _MOST - sum(WEIGHTS[each] for each in self.troubles)
        return f"summary:{rank:04}:{self.tenant}"

    def with_troubles(self, now: datetime) -> "TenantSummary":
        """With what is wrong with it."""
        return self.model_copy(update={"troubles": tuple(self._troubles(now)), "as_of": now})

    def _troubles(self, now: datetime) -> Iterator[Trouble]:
        if self.failed:
            yield "failedEvents"
        if self.oldest_pending and now - self.oldest_pending > LATE:
            yield "pendingLate"
        if is_refusing(self.requests, self.errors):
            yield "refusing"
        if self.secret_ends:
            yield "secretEnded" if self.secret_ends <= now else "secretEnding"
        if self._is_silent(now):
            yield "silent"
        if self.refusals:
            yield "refusals"

    def _is_silent(self, now: datetime) -> bool:
        """Whether a tenant that was provisioned is provisioned no more."""
        if self.provisioning == "disabled" or self.last_write is None:
            return False
        return now - (self.last_request or self.last_write) > SILENT
