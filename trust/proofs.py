"""Tokens that were proven a moment ago: a signature is checked once in minutes, not on every
request of the hour that its token lives."""

import hashlib
import time
from collections.abc import Callable, Hashable
from typing import Any

KEPT_SECONDS = 300.0
"""So much longer may a key count that its issuer withdrew."""
KEPT = 2000

type Claims = dict[str, Any]


class Proofs:
    """Remembers claims by their token and what was demanded of it; a change of either is another
    question. `now` gives seconds since 1970, which expiry is told in; `clock` is a steady one, by
    which a proof ends, whatever somebody sets the time to."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._now = now
        self._known: dict[tuple[bytes, Hashable], tuple[float, Claims]] = {}

    def find(self, token: str, demand: Hashable) -> Claims | None:
        """The claims of a token that was proven a moment ago and has not expired."""
        known = self._known.get(_key(token, demand))
        return known[1] if known and known[0] > self._clock() else None

    def keep(self, token: str, demand: Hashable, claims: Claims) -> None:
        """Remember a token that is proven; `exp` is among its claims."""
        if len(self._known) >= KEPT:
            self._known.clear()
        left = min(KEPT_SECONDS, float(claims["exp"]) - self._now())
        self._known[_key(token, demand)] = (self._clock() + left, claims)


def _key(token: str, demand: Hashable) -> tuple[bytes, Hashable]:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), demand
