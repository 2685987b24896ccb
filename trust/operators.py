"""Tokens that the vendor's own programs get from the vendor's own Entra ID directory, for example
with a managed identity and without any secret. The directory and the application that represents
Muster there are settings of the deployment. App roles of that application say what a program may
do. Only tokens of applications count, never those of users
(https://learn.microsoft.com/entra/identity-platform/scenario-daemon-app-registration)."""

from collections.abc import Mapping
from typing import Any

from trust.cloud import Cloud, OperatorDirectory, audiences_of
from trust.deployment import DeploymentCaller
from trust.entra import VERSIONS, check_application
from trust.jwts import Demand, Untrusted, unproven_claims, verified_claims
from trust.keysets import KeySets
from trust.proofs import Proofs
from trust.refusal import bad_token
from trust.tokens import DeploymentKind

APP_ROLES: Mapping[DeploymentKind, str] = {
    "application": "Access.Read.All",
    "operator": "Tenants.ReadWrite.All",
}
"""Kind of credential → the app role with the same rights."""


class OperatorTokens:
    """Verifies them."""

    def __init__(self, cloud: Cloud, directory: OperatorDirectory, key_sets: KeySets) -> None:
        self._cloud = cloud
        self._directory = directory
        self._key_sets = key_sets
        self._proofs = Proofs()

    async def caller(self, text: str, kind: DeploymentKind) -> DeploymentCaller:
        """The program that a token proves, which has the app role of this kind. Raises Refused."""
        try:
            demand = self._demand(unproven_claims(text))
            claims = self._proofs.find(text, demand)
            if claims is None:
                claims = await verified_claims(self._key_sets, text, demand)
                self._proofs.keep(text, demand, claims)
            return DeploymentCaller(kind, self._application(claims, kind))
        except Untrusted as error:
            raise bad_token(kind, error.reason) from None

    def _demand(self, claims: Mapping[str, Any]) -> Demand:
        """What the token must be. Only the keys of the vendor's directory are fetched."""
        directory_id, audience = self._directory.directory_id, self._directory.audience
        version = claims.get("ver")
        if not (directory_id and audience) or claims.get("tid") != directory_id:
            raise Untrusted
        if version not in VERSIONS:
            raise Untrusted
        return Demand(
            keys_url=self._cloud.keys_url(version, directory_id),
            issuer=self._cloud.issuer(version, directory_id),
            audiences=audiences_of(audience),
        )

    def _application(self, claims: Mapping[str, Any], kind: DeploymentKind) -> str:
        """The id of the application in verified claims. Raises Untrusted."""
        application = check_application(claims)
        roles = claims.get("roles")
        if not isinstance(roles, list) or APP_ROLES[kind] not in roles:
            raise Untrusted(f"the token has no app role {APP_ROLES[kind]}")
        return application
