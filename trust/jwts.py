"""Verifies signed tokens of other issuers (RFC 7519, RFC 8725), all in the same way."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import orjson
from jwt.utils import base64url_decode

from trust.keysets import KeySets

LEEWAY_SECONDS = 60
"""How much clocks may differ."""
TOKEN_CHARACTERS = 16 * 1024
KEY_ID_CHARACTERS = 256

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class Untrusted(Exception):
    """A token that proves nothing. `reason` may be disclosed to its sender; it is empty unless the
    signature was valid."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "the token is not valid")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Demand:
    """What a token must be: signed with a key of this set, by this issuer, for one of these
    audiences."""

    keys_url: str
    issuer: str
    audiences: Sequence[str]
    life: float | None = None
    """The most seconds between its issue and its expiry; None: any number."""


def looks_signed(text: str) -> bool:
    """Whether this has the form of a signed token."""
    return len(text) <= TOKEN_CHARACTERS and _COMPACT.fullmatch(text) is not None


def unproven_header(text: str) -> dict[str, Any]:
    """The unverified header of a token. Raises Untrusted."""
    return _segment(text, 0)


def unproven_claims(text: str) -> dict[str, Any]:
    """The unverified claims of a token, to find out what to demand of it. Raises Untrusted."""
    return _segment(text, 1)


async def verified_claims(key_sets: KeySets, text: str, demand: Demand) -> dict[str, Any]:
    """The claims of a token that meets the demand, has not expired, and is signed with RS256. No
    other algorithm, and no key or URL in the token itself is accepted. Raises Untrusted,
    KeysUnavailable."""
    header = unproven_header(text)
    key_id = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(key_id, str) or not key_id:
        raise Untrusted
    if len(key_id) > KEY_ID_CHARACTERS:
        raise Untrusted
    key = await key_sets.key(demand.keys_url, key_id)
    if key is None:
        raise Untrusted
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key,
            algorithms=["RS256"],
            issuer=demand.issuer,
            audience=demand.audiences,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
        _check_life(claims, demand)
    except jwt.ExpiredSignatureError:
        raise Untrusted("the token has expired") from None
    except jwt.ImmatureSignatureError:
        raise Untrusted("the token is not valid yet") from None
    except jwt.InvalidAudienceError:
        raise Untrusted("the token is meant for another audience") from None
    except (jwt.PyJWTError, ValueError, OverflowError, TypeError, RecursionError):
        raise Untrusted from None
    match claims["aud"]:
        case str() | [str()]:
            return claims
    raise Untrusted("the token is meant for another audience")


def _check_life(claims: dict[str, Any], demand: Demand) -> None:
    """Checks a token's lifetime. A token without a time of issue, or with one in the future, counts
    as issued now. Raises Untrusted; ValueError and OverflowError for an invalid time."""
    expires, now = float(claims["exp"]), time.time() + LEEWAY_SECONDS
    begins = min(float(claims.get("iat", now)), now)
    if demand.life is not None and expires - begins > demand.life:
        raise Untrusted("the token lives too long")


def _segment(text: str, index: int) -> dict[str, Any]:
    if not looks_signed(text):
        raise Untrusted
    try:
        content = orjson.loads(base64url_decode(text.split(".")[index]))
    except ValueError:
        raise Untrusted from None
    if not isinstance(content, dict):
        raise Untrusted
    return content
