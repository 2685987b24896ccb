"""A proof is remembered for minutes, and for no other token, demand or time."""

import inspect
import time
from collections.abc import Callable

import pytest

from console.sign_in import Redeemed
from trust.proofs import KEPT, KEPT_SECONDS, Proofs
from trust.published import Published
from trust.rate import RateLimit
from trust.signing import SigningKeys
from trust.tenants import Tenants


def test_what_is_remembered_and_for_how_long() -> None:
    clock = 1000.0
    proofs = Proofs(lambda: clock, lambda: clock)
    long, short = {"exp": 10_000, "sub": "long"}, {"exp": 1060, "sub": "short"}
    proofs.keep("long", ("one", ("a",)), long)
    proofs.keep("short", "one", short)
    assert proofs.find("long", ("one", ("a",))) == long
    assert proofs.find("short", "one") == short
    assert proofs.find("long", ("one", ("b",))) is None
    assert proofs.find("long", "one") is None
    assert proofs.find("lonG", ("one", ("a",))) is None
    clock = 1060
    assert proofs.find("short", "one") is None, "expired"
    clock = 1000 + KEPT_SECONDS - 1
    assert proofs.find("long", ("one", ("a",))) == long
    clock += 1
    assert proofs.find("long", ("one", ("a",))) is None


def test_a_clock_that_is_set_back_prolongs_nothing() -> None:
    clock, now = 0.0, 1_000_000.0
    proofs = Proofs(lambda: clock, lambda: now)
    proofs.keep("long", "", {"exp": now + 10_000})
    proofs.keep("short", "", {"exp": now + 60})
    now -= 86_400
    clock = 60.0
    assert proofs.find("short", "") is None, "expired"
    assert proofs.find("long", "") is not None
    clock = KEPT_SECONDS
    assert proofs.find("long", "") is None


def test_the_memory_is_bounded() -> None:
    proofs = Proofs(lambda: 0.0, lambda: 0.0)
    for number in range(3 * KEPT):
        proofs.keep(str(number), "", {"exp": 100})
    assert len(proofs._known) <= KEPT
    assert proofs.find(str(3 * KEPT - 1), "") is not None


@pytest.mark.parametrize(
    "remembers", [Proofs, Published, RateLimit, SigningKeys, Tenants, Redeemed]
)
def test_what_is_remembered_ends_by_a_steady_clock(remembers: Callable[..., object]) -> None:
    """Not by the time of day, which somebody may set back."""
    clocks = [each.default for each in inspect.signature(remembers).parameters.values()]
    assert time.monotonic in clocks
