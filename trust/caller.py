"""A proven caller."""

from dataclasses import dataclass

from directory.tenants import Tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `connection_id` is empty for tokens that belong to no connection: those of the
    access API and of the console's API."""

    tenant: Tenant
    connection_id: str
    credential: str = ""
    """The id of the token that Muster issued; empty for any other proof."""
