"""Tokens that were verified a moment ago: a signature is checked once in some minutes, not on every
request during the token's hour."""

import hashlib
import time
from collections.abc import Callable, Hashable
from typing import Any

KEPT_SECONDS = 300.0
"""How much longer a key may count after its issuer withdrew it."""
KEPT = 2000

type Claims = dict[str, Any]


class Proofs:
    """Remembers claims by token and demand; a change of either means a new verification. `now`
    answers seconds since 1970, as `exp` does. `clock` is monotonic: a proof ends by it, so setting
    the system time does not prolong one."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._now = now
        self._known: dict[tuple[bytes, Hashable], tuple[float, Claims]] = {}

    def find(self, token: str, demand: Hashable) -> Claims | None:
        """The claims of a token that was verified a moment ago and has not expired."""
        known = self._known.get(_key(token, demand))
        return known[1] if known and known[0] > self._clock() else None

    def keep(self, token: str, demand: Hashable, claims: Claims) -> None:
        """Remember a verified token; `exp` is among its claims."""
        if len(self._known) >= KEPT:
            self._known.clear()
        left = min(KEPT_SECONDS, float(claims["exp"]) - self._now())
        self._known[_key(token, demand)] = (self._clock() + left, claims)


def _key(token: str, demand: Hashable) -> tuple[bytes, Hashable]:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest(), demand
