"""Notices: the webhook messages that are not about a change of access."""

from datetime import datetime
from typing import Any, Literal, get_args

from directory.documents import StoredModel

type NoticeType = Literal[
    "tenant.enabled",
    "tenant.disabled",
    "tenant.refusing",
    "secret.ending",
    "access.massLoss",
    "endpoint.disabled",
    "test",
]

NOTICE_TYPES: tuple[str, ...] = get_args(NoticeType.__value__)
KEPT_SECONDS = 30 * 86_400


class Notice(StoredModel):
    """A message about something that happened, stored in the same batch as what happened. It is
    its own outbox row: the timer sends it while it is `pending`."""

    document_type = "Notice"

    notice_id: str
    """The id of the message, the same on every attempt."""
    kind: NoticeType
    at: datetime
    details: dict[str, Any]
    """The body of the message; no personal data."""
    state: Literal["pending", "sent"] = "pending"
    ttl: int = KEPT_SECONDS

    @property
    def document_id(self) -> str:
        return notice_document_id(self.notice_id)


def notice_document_id(notice_id: str) -> str:
    """Document id of a notice."""
    return f"notice:{notice_id}"
