"""Changes that administrators and operators make in a tenant, and their events."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from administration.errors import AdministrationError
from directory.documents import Actor, AdministrativeOperation, Event, EventResource, EventScope
from directory.ledger import ATTEMPTS, RACES, Ledger, retrying
from scim.writing import Service

OPERATOR = Actor(type="operator", id="manage.py")


@dataclass(frozen=True, slots=True)
class Administration:
    """The base class of changes by hand in one tenant, made by `actor`."""

    service: Service
    tenant_id: str
    actor: Actor = OPERATOR

    @property
    def ledger(self) -> Ledger:
        """Commits each change together with its event."""
        return self.service.ledger

    def event(
        self,
        operation: AdministrativeOperation,
        resource_type: EventResource,
        resource_id: str,
        attributes: Sequence[str],
        scope: EventScope,
    ) -> Event:
        """The event of a change."""
        return self.ledger.accepted(
            self.tenant_id,
            self.actor,
            operation,
            resource_type,
            resource_id,
            scope=scope,
            attributes=attributes,
        )

    async def retrying[T](self, attempt: Callable[[], Awaitable[T]], what: str) -> T:
        """See `until_written`."""
        return await until_written(attempt, what)


async def until_written[T](
    attempt: Callable[[], Awaitable[T]], what: str, attempts: int = ATTEMPTS
) -> T:
    """Run an attempt again until no concurrent write gets in its way. Raises AdministrationError
    where somebody else keeps changing `what`."""
    try:
        return await retrying(attempt, attempts=attempts)
    except RACES:
        raise AdministrationError(f"Somebody else keeps changing {what}. Try again.") from None
