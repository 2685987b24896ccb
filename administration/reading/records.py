"""Access records as lists show them: one that cannot be read stops only its own row."""

from dataclasses import dataclass

from directory.access import Access
from directory.resources import StoredUser
from directory.store import Stored, Unreadable
from directory.tenants import Policy
from reconciler.access import EffectiveAccess, current_access


@dataclass(frozen=True, slots=True)
class ShownAccess:
    """A user's access in a list. `unreadable`: the stored record cannot be read, so nothing is
    known; the operator's `manage.py drift --repair` writes it anew."""

    access: EffectiveAccess
    unreadable: bool = False


def shown_access(record: Stored | None, user: StoredUser, policy: Policy) -> ShownAccess:
    """What a row says of a stored user's access."""
    try:
        stored = Access.from_document(record.document) if record else None
    except Unreadable:
        return ShownAccess(EffectiveAccess(enabled=False), unreadable=True)
    return ShownAccess(current_access(stored, user, policy))
