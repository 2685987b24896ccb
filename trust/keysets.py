"""The key sets that issuers publish (RFC 7517).

An unknown key id causes a fetch of its set, at most once a minute per set: so new keys are found
soon, and forged key ids cost the issuer no more than that.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from trust.published import RETRY_SECONDS, Document, NotPublished, Published
from trust.refusal import KeysUnavailable

KEY_BITS = range(2048, 8193)

type Keys = Mapping[str, RSAPublicKey]
"""Key id → key."""


class KeySets:
    """Finds public keys by the URL of their set and their id. Use it on one event loop."""

    def __init__(self, published: Published | None = None) -> None:
        self.published = published or Published()

    async def key(self, url: str, key_id: str) -> RSAPublicKey | None:
        """The key of this id, or None where its issuer does not publish it. Raises
        KeysUnavailable."""
        found = self.published.document(url, parse_key_set)
        fetches = found.fetches
        try:
            await self.published.renew(found)
        except NotPublished:
            raise KeysUnavailable(RETRY_SECONDS) from None
        if key_id not in _keys(found) and found.fetches == fetches:
            await self.published.look_again(found)
        if key_id not in _keys(found) and found.failed is not None:
            raise KeysUnavailable(RETRY_SECONDS)
        return _keys(found).get(key_id)

    async def close(self) -> None:
        """Stop fetching."""
        await self.published.close()


def _keys(found: Document[Keys]) -> Keys:
    return found.content or {}


def parse_key_set(content: bytes) -> Keys:
    """The RSA keys for signatures; others are left out. Raises ValueError where there are none."""
    document = orjson.loads(content)
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no key set")
    keys = {}
    for entry in listed:
        key = _key(entry) if isinstance(entry, dict) else None
        if key is not None:
            keys[entry["kid"]] = key
    if not keys:
        raise ValueError("it has no RSA key for signatures")
    return keys


def _key(entry: dict[str, Any]) -> RSAPublicKey | None:
    fitting = (
        entry.get("kty") == "RSA"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "RS256") == "RS256"
    )
    texts = [entry.get(name) for name in ("kid", "n", "e")]
    if not fitting or not all(isinstance(text, str) and text for text in texts):
        return None
    return _public_key(str(entry["n"]), str(entry["e"]))


@lru_cache(maxsize=1024)
def _public_key(modulus: str, exponent: str) -> RSAPublicKey | None:
    """The key object. Directories publish the same keys, so each object is kept once."""
    try:
        key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": modulus, "e": exponent})
    except (InvalidKeyError, ValueError):
        return None
    usable = isinstance(key, RSAPublicKey) and key.key_size in KEY_BITS
    return key if usable and isinstance(key, RSAPublicKey) else None
