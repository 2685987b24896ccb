"""Everything that needs cryptography and an HTTP client. They are slow to import, so this module is
imported with the first signed token only."""

from collections.abc import Callable

from directory.tenants import Tenant
from trust.caller import Caller
from trust.clients import PREFIX, Clients
from trust.cloud import Cloud, OperatorDirectory, is_guid
from trust.entra import EntraTokens
from trust.jwts import Untrusted, unproven_claims
from trust.keysets import KeySets
from trust.operators import OperatorTokens
from trust.tenants import Tenants
from trust.usage import Usage


class SignedTokens:
    """Verifies Entra ID's own tokens, also those of the vendor's directory, OAuth clients and their
    access tokens, with shared key sets. `check_home` raises HomedElsewhere for a tenant of another
    region."""

    def __init__(
        self,
        cloud: Cloud,
        operators: OperatorDirectory,
        tenants: Tenants,
        usage: Usage,
        check_home: Callable[[Tenant], None],
    ) -> None:
        self.key_sets = KeySets()
        self._usage = usage
        self._check_home = check_home
        self._entra = EntraTokens(cloud, tenants, self.key_sets)
        self.operators = OperatorTokens(cloud, operators, self.key_sets)
        self.clients = Clients(tenants, usage, self.key_sets)

    async def caller(self, text: str) -> Caller:
        """The caller that a signed token proves. Raises Refused."""
        if text.startswith(PREFIX):
            caller = await self.clients.caller(text)
        else:
            caller = await self._entra.caller(text)
            self._usage.saw(caller.tenant.tenant_id, caller.connection_id)
        self._check_home(caller.tenant)
        return caller

    async def named(self, text: str) -> str:
        """What an unverified signed token claims to be, for the log."""
        if not text.startswith(PREFIX):
            return of_directory(text)
        try:
            client_id = unproven_claims(text.removeprefix(PREFIX)).get("sub")
        except Untrusted:
            return "an access token that cannot be read"
        known = isinstance(client_id, str) and await self.clients.tenant_of(client_id)
        return f"access token of {client_id}" if known else "access token of no client"

    async def close(self) -> None:
        """Stop fetching keys."""
        await self.key_sets.close()


def of_directory(text: str) -> str:
    """What a directory's unverified token claims to be, for the log: only ids in their fixed
    form."""
    try:
        claims = unproven_claims(text)
    except Untrusted:
        return "a signed token that cannot be read"
    named = (claims.get("tid"), claims.get("appid") or claims.get("azp"), claims.get("oid"))
    directory, application, who = (each if is_guid(each) else "-" for each in named)
    return f"token of directory {directory}, application {application}, object {who}"
