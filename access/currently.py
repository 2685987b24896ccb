"""Users' current access, computed from their documents and records."""

from collections.abc import Sequence

from directory.lanes import apart
from directory.resources import StoredUser
from directory.store import Stored, member
from directory.tenants import Tenant
from reconciler.access import current_access
from reconciler.facts import Current, known_access

MOST_GRANTS = 50_000
"""The most grants in an answer about several users; a page of all users ends there."""
STEPS_PER_USER = 60
STEPS_PER_GRANT = 25

type Pair = tuple[StoredUser, Stored | None]
"""A user and the record of the user's access, if there is one."""


async def current_of(tenant: Tenant, pairs: Sequence[Pair]) -> list[Current]:
    """The current access of users. An unreadable record counts as missing."""
    size = stored_grants(pairs) * STEPS_PER_GRANT + len(pairs) * STEPS_PER_USER

    def compute() -> list[Current]:
        known = [(user, known_access(stored)) for user, stored in pairs]
        return [
            Current(user, record, current_access(record, user, tenant.policy))
            for user, record in known
        ]

    return await apart(tenant.tenant_id, size, compute)


def stored_grants(pairs: Sequence[Pair]) -> int:
    """How many grants the records hold, before they are read."""
    grants = [member(record, "grants") for _, record in pairs if record is not None]
    return sum(len(each) for each in grants if isinstance(each, list))
