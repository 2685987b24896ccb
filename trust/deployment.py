"""Credentials of the deployment: the vendor's own programs, which serve every tenant.

Each is a document in a partition outside all tenants. As with a tenant's tokens, its secrets are
shown once and stored as digests, two may be valid at a time, and their last use is recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from directory.documents import StoredModel
from directory.store import NotFound, Store
from directory.tenants import Token
from trust.refusal import bad_token
from trust.signing import PARTITION
from trust.tenants import Memory
from trust.tokens import DeploymentKind, Presented, prove
from trust.usage import Usage


def credential_document_id(credential_id: str) -> str:
    """Document id of a credential of the deployment."""
    return f"credential:{credential_id}"


class DeploymentCredential(StoredModel):
    """The credential of one of the vendor's programs."""

    document_type = "DeploymentCredential"

    credential_id: str
    kind: DeploymentKind
    name: str = ""
    """The program's name."""
    created: datetime
    tokens: tuple[Token, ...] = ()

    @property
    def document_id(self) -> str:
        return credential_document_id(self.credential_id)


@dataclass(frozen=True, slots=True)
class DeploymentCaller:
    """An authenticated program of the vendor's. It may name any tenant."""

    kind: DeploymentKind
    credential: str
    """The id of its secret, or of its application in Entra ID."""


class DeploymentSecrets:
    """Authenticates callers by the secrets that Muster issued. Credentials are remembered as
    tenants are; `clock` is monotonic."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        usage: Usage,
        clock: Callable[[], float],
        remember: float,
    ) -> None:
        self._store = store
        self._now = now
        self._usage = usage
        self._credentials = Memory(self._read, clock, remember)

    async def caller(self, shown: Presented, kind: DeploymentKind) -> DeploymentCaller:
        """The program whose live secret this is. Raises Unproven."""
        credential = await self._credentials.get(shown.owner)
        known = credential is not None and credential.kind == shown.kind == kind
        tokens = credential.tokens if credential is not None and known else ()
        if prove(shown, [(shown.owner, token) for token in tokens], self._now()) is None:
            raise bad_token(kind)
        self._usage.saw(PARTITION, shown.token_id)
        return DeploymentCaller(kind, shown.token_id)

    async def _read(self, credential_id: str) -> DeploymentCredential | None:
        try:
            stored = await self._store.read(PARTITION, credential_document_id(credential_id))
        except NotFound:
            return None
        return DeploymentCredential.from_document(stored.document)
