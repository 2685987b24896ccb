"""Entra ID's own tokens, which it sends where Secret Token is left blank. The token names a
directory (`tid`), and the directory belongs to at most one tenant. The token is checked only
against what that tenant registered. All such tokens of a tenant belong to its connection `entra`,
because they do not distinguish applications."""

from collections.abc import Mapping
from typing import Any

from directory.tenants import ENTRA_CONNECTION, Tenant
from trust.caller import Caller
from trust.cloud import Cloud, is_guid
from trust.jwts import Demand, Untrusted, unproven_claims, verified_claims
from trust.keysets import KeySets
from trust.proofs import Proofs
from trust.refusal import bad_token
from trust.tenants import Tenants

VERSIONS = ("1.0", "2.0")
OF_PEOPLE = (
    "scp",
    "upn",
    "unique_name",
    "preferred_username",
    "name",
    "given_name",
    "family_name",
    "email",
    "nonce",
)
"""Claims of access tokens and ID tokens that Entra ID issues for somebody who signed in; an
application's own token has none of them
(https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference,
https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference)."""


def check_application(claims: Mapping[str, Any]) -> str:
    """The id of the application that verified claims of Entra ID were issued to, without a user.
    Raises Untrusted."""
    if claims.get("idtyp") == "user" or any(name in claims for name in OF_PEOPLE):
        raise Untrusted("the token speaks for a user")
    application = claims.get("appid" if claims["ver"] == "1.0" else "azp")
    # an ID token names no application besides its audience
    if not application or not isinstance(application, str):
        raise Untrusted("the token was issued to no application")
    return application


class EntraTokens:
    """Verifies them."""

    def __init__(self, cloud: Cloud, tenants: Tenants, key_sets: KeySets) -> None:
        self._cloud = cloud
        self._tenants = tenants
        self._key_sets = key_sets
        self._proofs = Proofs()

    async def caller(self, text: str) -> Caller:
        """The caller that a token proves. Raises Refused."""
        try:
            tenant, demand = await self._demand(unproven_claims(text))
            claims = self._proofs.find(text, demand)
            if claims is None:
                claims = await verified_claims(self._key_sets, text, demand)
                self._proofs.keep(text, demand, claims)
            self._check(claims, tenant)
        except Untrusted as error:
            raise bad_token("scim", error.reason) from None
        if not any(each.connection_id == ENTRA_CONNECTION for each in tenant.connections):
            raise bad_token("scim")
        return Caller(tenant, ENTRA_CONNECTION)

    async def _demand(self, claims: Mapping[str, Any]) -> tuple[Tenant, Demand]:
        """The tenant that the token claims to belong to, and what the token must then be. The keys
        of an unregistered directory are not fetched."""
        directory_id, version = claims.get("tid"), claims.get("ver")
        if not is_guid(directory_id) or version not in VERSIONS:
            raise Untrusted
        tenant = await self._tenants.of_directory(str(directory_id))
        if tenant is None or tenant.directory_id is None or not tenant.entra.accepted:
            raise Untrusted
        return tenant, Demand(
            keys_url=self._cloud.keys_url(version, tenant.directory_id),
            issuer=self._cloud.issuer(version, tenant.directory_id),
            audiences=tenant.entra.audiences or self._cloud.audiences,
        )

    def _check(self, claims: Mapping[str, Any], tenant: Tenant) -> None:
        """Checks the claims of a verified token that only Entra ID has. Raises Untrusted."""
        if claims["tid"] != tenant.directory_id:
            raise Untrusted
        # a user's token was not issued to the provisioning service
        application = check_application(claims)
        applications = tenant.entra.applications or self._cloud.applications
        if applications and application not in applications:
            raise Untrusted("the token was issued to another application")
