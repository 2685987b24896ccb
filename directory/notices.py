"""What webhooks tell beside changes of access."""

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
    """Something to be told. It is stored in the same batch as what it tells of, and is its own
    outbox row: the timer sends what is `pending`."""

    document_type = "Notice"

    notice_id: str
    """The id of the message, the same on every attempt."""
    kind: NoticeType
    at: datetime
    details: dict[str, Any]
    """What the message says; no person's data."""
    state: Literal["pending", "sent"] = "pending"
    ttl: int = KEPT_SECONDS

    @property
    def document_id(self) -> str:
        return notice_document_id(self.notice_id)


def notice_document_id(notice_id: str) -> str:
    """Document id of a notice."""
    return f"notice:{notice_id}"
