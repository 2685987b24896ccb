"""Credentials of the deployment: created, listed, rotated, revoked."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from administration.errors import Absent, AdministrationError
from administration.events import until_written
from administration.tokens import LIVE, last_uses, refuse_past
from directory.reading import every
from directory.store import (
    Create,
    Delete,
    NotFound,
    Query,
    Replace,
    Store,
    Stored,
)
from directory.tenants import Token
from trust.deployment import DeploymentCredential, credential_document_id
from trust.signing import PARTITION
from trust.tokens import DeploymentKind, end_of_next, is_live, issue

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class ListedSecret:
    """A secret as operators see it: never its text, which Muster does not store. A credential that
    has no secret left is listed without one."""

    credential: DeploymentCredential
    token: Token | None
    live: bool
    last_used: datetime | None


class Credentials:
    """The credentials of the deployment. Every method raises AdministrationError; the answer of
    `create` and `rotate` is the only copy of a secret."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def create(
        self, kind: DeploymentKind, name: str = "", expires: datetime | None = None
    ) -> tuple[DeploymentCredential, str]:
        """A new credential with its first secret. Refused where `expires` has passed."""
        now, credential_id = self._now(), secrets.token_hex(4)
        refuse_past(expires, now)
        text, token = issue(kind, credential_id, now, name, expires)
        credential = DeploymentCredential(
            tenant_id=PARTITION,
            credential_id=credential_id,
            kind=kind,
            name=name,
            created=now,
            tokens=(token,),
        )
        await self._store.batch(PARTITION, [Create(credential.to_document())])
        return credential, text

    async def rotate(self, credential_id: str, overlap: timedelta) -> str:
        """Make a secret; the one before stays valid for `overlap` at most. The new one gets the
        lifetime that the newest had. Refused where two are valid already."""

        def rotated(old: DeploymentCredential) -> tuple[DeploymentCredential, str]:
            now = self._now()
            live = [token for token in old.tokens if is_live(token, now)]
            if len(live) >= LIVE:
                raise AdministrationError(
                    f"Two secrets of {credential_id} live already, the most there can be. "
                    "'credential list' says when each was last used and until when it lives: "
                    "revoke the one that is not in use.",
                    f"credential revoke {credential_id} --secret {live[0].token_id}",
                )
            newest = old.tokens[-1] if old.tokens else None
            expires = end_of_next(newest, now) if newest else None
            text, token = issue(old.kind, credential_id, now, old.name, expires)
            kept = [
                each.model_copy(update={"expires": _sooner(each.expires, now + overlap)})
                for each in live
            ]
            tokens = [each for each in kept if is_live(each, now)]
            return old.model_copy(update={"tokens": (*tokens, token)}), text

        return await self._change(credential_id, rotated)

    async def revoke(self, credential_id: str, token_id: str = "") -> None:
        """End a credential, or one of its secrets; servers notice within seconds."""
        if not token_id:
            await self._remove(credential_id)
            return

        def without(old: DeploymentCredential) -> tuple[DeploymentCredential, None]:
            kept = tuple(token for token in old.tokens if token.token_id != token_id)
            if len(kept) == len(old.tokens):
                raise Absent(f"{credential_id} has no secret {token_id[:40]}.", "credential list")
            return old.model_copy(update={"tokens": kept}), None

        await self._change(credential_id, without)

    async def list(self) -> list[ListedSecret]:
        """All credentials with their secrets and last uses."""
        query = Query("DeploymentCredential")
        found = [
            DeploymentCredential.from_document(stored.document)
            async for stored in every(self._store, PARTITION, query)
        ]
        ids = [token.token_id for credential in found for token in credential.tokens]
        uses, now = await last_uses(self._store, PARTITION, ids), self._now()
        return [
            ListedSecret(
                credential,
                token,
                token is not None and is_live(token, now),
                uses.get(token.token_id) if token else None,
            )
            for credential in sorted(found, key=lambda each: each.created)
            for token in credential.tokens or (None,)
        ]

    async def _change[T](
        self,
        credential_id: str,
        change: Callable[[DeploymentCredential], tuple[DeploymentCredential, T]],
    ) -> T:
        async def attempt() -> T:
            stored = await self._read(credential_id)
            changed, answer = change(DeploymentCredential.from_document(stored.document))
            await self._store.batch(PARTITION, [Replace(changed.to_document(), stored.etag)])
            return answer

        return await until_written(attempt, credential_id, ATTEMPTS)

    async def _read(self, credential_id: str) -> Stored:
        try:
            return await self._store.read(PARTITION, credential_document_id(credential_id))
        except NotFound:
            raise _unknown(credential_id) from None

    async def _remove(self, credential_id: str) -> None:
        await self._read(credential_id)
        try:
            await self._store.batch(PARTITION, [Delete(credential_document_id(credential_id))])
        except NotFound:
            raise _unknown(credential_id) from None


def _unknown(credential_id: str) -> Absent:
    return Absent(
        f"There is no credential {credential_id[:40]}; it may have been revoked meanwhile.",
        "credential list",
    )


def _sooner(expires: datetime | None, end: datetime) -> datetime:
    return min(expires or datetime.max.replace(tzinfo=UTC), end)
