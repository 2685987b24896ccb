"""A customer who begins."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.setup.customer import Customer
from tests.setup.playing import Play, playing

type Begin = Callable[..., AbstractAsyncContextManager[Play]]


@pytest.fixture
def customer() -> Customer:
    """Two groups with four people, one of whom is in both, a room, and somebody disabled."""
    directory = Customer()
    ada, bo, carl, dana = (directory.account(name) for name in ("ada", "bo", "carl", "dana"))
    dana.enabled = False
    room = directory.account("room", mail=False)
    directory.group("Sales", ada, bo, room)
    directory.group("Staff's", bo, carl, dana)
    return directory


@pytest.fixture
def begin(tmp_path: Path, customer: Customer) -> Begin:
    """Everything that is there before set-up; a secret that is shown fails the test."""

    def made(**more: Any) -> AbstractAsyncContextManager[Play]:
        return playing(tmp_path, customer, **more)

    return made


@pytest.fixture
async def play(begin: Begin) -> AsyncIterator[Play]:
    """The usual one."""
    async with begin() as play:
        yield play
