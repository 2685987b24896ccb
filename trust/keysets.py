"""The key sets that issuers publish (RFC 7517): fetched, remembered, renewed.

- A set counts as fresh for an hour, then it is renewed beside the requests.
- While the issuer does not answer, what is known goes on counting for a day.
- A key that is not in the set causes one fetch, at most once a minute per set: keys are published
  before they are used, but a forged key id costs the issuer no more than that.
- Addresses come from configuration, never from a token; redirects are not followed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import lru_cache
from typing import Any

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import InvalidKeyError

from trust.refusal import KeysUnavailable

FRESH_SECONDS = 3600.0
KEPT_SECONDS = 24 * 3600.0
UNKNOWN_KEY_SECONDS = 60.0
RETRY_SECONDS = 5.0
"""How long a set is left alone after a fetch that failed."""
FETCH_SECONDS = 5.0
KEY_SET_BYTES = 256 * 1024
KEY_BITS = range(2048, 8193)

log = logging.getLogger("muster.trust")

type Keys = Mapping[str, RSAPublicKey]
"""Key id → key."""


class _KeySet:
    """One published set, as it is known."""

    def __init__(self) -> None:
        self.keys: Keys = {}
        self.fetched = -KEPT_SECONDS
        self.failed: float | None = None
        """When the last fetch failed; None where it did not."""
        self.fetches = 0
        self.looked_again = -UNKNOWN_KEY_SECONDS
        """When it was last fetched for a key that it did not have."""
        self.fetching: asyncio.Task[None] | None = None


class KeySets:
    """Finds public keys by the address of their set and their id. Use it on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sets: dict[str, _KeySet] = {}
        self._client: httpx.AsyncClient | None = None

    async def key(self, url: str, key_id: str) -> RSAPublicKey | None:
        """The key of this id, or None where its issuer publishes none. Raises KeysUnavailable."""
        found = self._sets.setdefault(url, _KeySet())
        fetches = found.fetches
        await self._renew(url, found)
        if key_id not in found.keys and found.fetches == fetches:
            await self._look_again(url, found)
        if key_id not in found.keys and found.failed is not None:
            raise KeysUnavailable(RETRY_SECONDS)
        return found.keys.get(key_id)

    async def close(self) -> None:
        """Stop fetching."""
        fetching = [each.fetching for each in self._sets.values() if each.fetching]
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _renew(self, url: str, found: _KeySet) -> None:
        """Raises KeysUnavailable where nothing is known that still counts."""
        age = self._clock() - found.fetched
        if age < FRESH_SECONDS:
            return
        if age < KEPT_SECONDS:
            self._start(url, found)
            return
        await self._fetched(url, found)
        if self._clock() - found.fetched >= KEPT_SECONDS:
            raise KeysUnavailable(RETRY_SECONDS)

    async def _look_again(self, url: str, found: _KeySet) -> None:
        """Fetch a set for a key that it did not have, unless that was done a moment ago."""
        if found.fetching is None:
            if self._clock() - found.looked_again < UNKNOWN_KEY_SECONDS:
                return
            found.looked_again = self._clock()
        await self._fetched(url, found)

    async def _fetched(self, url: str, found: _KeySet) -> None:
        """Wait for one fetch, whoever began it; it goes on if this caller goes away."""
        if (fetching := self._start(url, found)) is not None:
            await asyncio.shield(fetching)

    def _start(self, url: str, found: _KeySet) -> asyncio.Task[None] | None:
        """The fetch under way, a new one, or none so soon after one that failed."""
        if found.fetching is not None:
            return found.fetching
        if found.failed is not None and self._clock() - found.failed < RETRY_SECONDS:
            return None
        # Of nobody's request: it outlives the one that happens to begin it.
        found.fetching = asyncio.create_task(self._fetch(url, found), context=Context())
        return found.fetching

    async def _fetch(self, url: str, found: _KeySet) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                found.keys = parse_key_set(await self._download(url))
            found.fetched, found.failed = self._clock(), None
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            found.failed = self._clock()
            log.warning("the keys at %s were not read: %s: %s", url, type(error).__name__, error)
        finally:
            found.fetches += 1
            found.fetching = None

    async def _download(self, url: str) -> bytes:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False)
        content = bytearray()
        async with self._client.stream("GET", url) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"the answer was {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > KEY_SET_BYTES:
                    raise ValueError(f"the answer has more than {KEY_SET_BYTES} bytes")
        return bytes(content)


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
    """Directories publish the same keys, so each is kept once."""
    try:
        key = RSAAlgorithm.from_jwk({"kty": "RSA", "n": modulus, "e": exponent})
    except (InvalidKeyError, ValueError):
        return None
    usable = isinstance(key, RSAPublicKey) and key.key_size in KEY_BITS
    return key if usable and isinstance(key, RSAPublicKey) else None
