"""The connections of a tenant: each is one Enterprise Application that provisions."""

import re
from collections.abc import Callable

from administration.errors import Absent, AdministrationError
from administration.tenants import Changed, TenantChange
from directory.tenants import Connection, Tenant

CONNECTION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Connections(TenantChange):
    """The connections of a tenant. Every method raises AdministrationError."""

    async def create(self, connection_id: str, name: str) -> Connection:
        """A new connection, still without credentials."""
        if not CONNECTION_ID.fullmatch(connection_id):
            raise AdministrationError(
                f"{connection_id!r} cannot be a connection's id: lower-case letters, digits and "
                "hyphens, at most 63, beginning with a letter or digit."
            )
        created = Connection(connection_id=connection_id, name=name)

        def change(tenant: Tenant) -> Changed:
            if any(each.connection_id == connection_id for each in tenant.connections):
                raise AdministrationError(
                    f"{self.tenant_id} has a connection {connection_id} already."
                )
            connections = (*tenant.connections, created)
            return tenant.model_copy(update={"connections": connections}), named(connection_id)

        await self.apply("connectionCreate", change)
        return created

    async def rename(self, connection_id: str, name: str) -> Connection:
        """Give a connection another name."""

        def change(tenant: Tenant) -> Changed:
            changed = change_connection(
                tenant, connection_id, lambda found: found.model_copy(update={"name": name})
            )
            return changed, named(connection_id)

        return connection_of(await self.apply("connectionRename", change), connection_id)


def named(connection_id: str) -> tuple[str, ...]:
    """The name of a connection in the log."""
    return (f"connection {connection_id}",)


def connection_of(tenant: Tenant, connection_id: str) -> Connection:
    """Raises AdministrationError where there is none."""
    for each in tenant.connections:
        if each.connection_id == connection_id:
            return each
    raise Absent(
        f"{tenant.tenant_id} has no connection {connection_id[:63]}.",
        f"connection list {tenant.tenant_id}",
    )


def change_connection(
    tenant: Tenant, connection_id: str, change: Callable[[Connection], Connection]
) -> Tenant:
    """The tenant with one connection changed. Raises AdministrationError where there is none."""
    found = connection_of(tenant, connection_id)
    connections = tuple(change(each) if each is found else each for each in tenant.connections)
    return tenant.model_copy(update={"connections": connections})
