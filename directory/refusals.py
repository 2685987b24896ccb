"""Requests that were refused, as administrators look them up."""

import hashlib
from datetime import datetime

from directory.documents import StoredModel

KEPT_SECONDS = 30 * 86_400
"""How long a refusal is kept after the last request that it counts."""
MOST = 500
"""How many of one tenant are kept: the latest."""


class Refusal(StoredModel):
    """Requests of one connection that were refused alike: about the same user or group, with the
    same answer.

    `operation` is the method and the path's pattern, such as `PATCH /Users/{id}`. `external_id`,
    `user_name` and `display_name` are the names of the user or group in the request. `detail` is
    the answer: what was wrong, and what to do. `request_id` is that of the last request.
    """

    document_type = "Refusal"

    connection_id: str
    operation: str
    resource_id: str | None = None
    external_id: str | None = None
    user_name: str | None = None
    display_name: str | None = None
    status: int
    scim_type: str | None = None
    detail: str
    count: int = 1
    first_at: datetime
    last_at: datetime
    request_id: str
    ttl: int = KEPT_SECONDS

    @property
    def document_id(self) -> str:
        alike = (
            self.connection_id,
            self.operation,
            self.resource_id,
            self.external_id,
            self.user_name,
            self.display_name,
            self.status,
            self.detail,
        )
        return f"refusal:{hashlib.sha256(repr(alike).encode()).hexdigest()[:32]}"

    @property
    def resource_type(self) -> str:
        """`User` or `Group`; empty where the request was about neither."""
        path = self.operation.partition(" ")[2]
        return {"/Users": "User", "/Groups": "Group"}.get("/" + path.split("/")[1], "")

    def with_more(self, others: "Refusal") -> "Refusal":
        """This refusal and others like it, merged."""
        first, last = sorted((self, others), key=lambda one: one.last_at)
        changed = {
            "count": self.count + others.count,
            "first_at": min(first.first_at, last.first_at),
        }
        return last.model_copy(update=changed)
