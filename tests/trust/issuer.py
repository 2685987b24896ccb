"""A directory that publishes keys over real HTTP and signs tokens, as Entra ID does."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laptop.devhost.server import served
from trust.cloud import NON_GALLERY, PROVISIONING

TENANT = "umbrella"
"""The tenant in tests. No ULID has its letters, so that its name is in no request id."""
DIRECTORY = "5f0a7c3e-1b2d-4c55-9a10-0c4f7a7d1e01"
"""The directory of the tenant in tests."""
OTHER_DIRECTORY = "9d1e6a42-77aa-4f0b-8c3d-2b9e0d5c6f02"


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """A key by any name; the same one for the same name, because making one takes a while."""
    bits = 1024 if name == "short" else 2048
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def published(name: str, **changes: Any) -> dict[str, Any]:
    """A key as a key set lists it; `name` is its id."""
    key = json.loads(RSAAlgorithm.to_jwk(private_key(name).public_key()))
    del key["key_ops"]
    return {**key, "kid": name, "use": "sig", "x5t": name} | changes


def encoded(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Issuer:
    """What it publishes, how it answers, and what it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: list[dict[str, Any]] = [published("first")]
        self.answer: Response | None = None
        """In place of the keys."""
        self.pause: asyncio.Event | None = None
        """What every answer waits for."""
        self.asked: list[str] = []

    async def serve(self, request: Request) -> Response:
        """A key set."""
        self.asked.append(request.url.path)
        if self.pause is not None:
            await self.pause.wait()
        return self.answer or Response(json.dumps({"keys": self.keys}))

    def claims(self, version: str = "1.0", **changes: Any) -> dict[str, Any]:
        """What the provisioning service's token says; a change to None leaves a claim out."""
        now = int(time.time())
        directory = changes.get("tid", DIRECTORY)
        own = (
            {"iss": f"https://sts.windows.net/{directory}/", "appid": PROVISIONING}
            if version == "1.0"
            else {"iss": f"{self.url}/{directory}/v2.0", "azp": PROVISIONING}
        )
        claims = {
            "aud": NON_GALLERY,
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "oid": "11111111-2222-3333-4444-555555555555",
            "sub": "11111111-2222-3333-4444-555555555555",
            "tid": DIRECTORY,
            "uti": "abc",
            "ver": version,
            **own,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self,
        version: str = "1.0",
        *,
        key: str = "first",
        header: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """A token with these claims changed, signed with a key."""
        return signed(self.claims(version, **changes), key, header)


def signed(
    claims: Mapping[str, Any], key: str = "first", header: Mapping[str, Any] | None = None
) -> str:
    """A token, signed with a key; whatever the claims are."""
    headers = {"kid": key, "x5t": key, **(header or {})}
    content = json.dumps(claims).encode()
    return jwt.PyJWS().encode(content, private_key(key), "RS256", headers=headers)


@asynccontextmanager
async def publishing(issuer: Issuer) -> AsyncIterator[Issuer]:
    """The issuer on a free port of loopback; `url` says where."""
    app = Starlette(routes=[Route("/{path:path}", issuer.serve, methods=["GET", "POST"])])
    async with served(app) as issuer.url:
        try:
            yield issuer
        finally:
            if issuer.pause is not None:
                issuer.pause.set()
