"""A Muster and a program of the vendor's that operates it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from administration.credentials import Credentials
from operators.call import PATH
from tests.environment import Environment, client_of, running
from wiring import utc_now


@pytest.fixture
async def muster(tmp_path: Path) -> AsyncIterator[Environment]:
    """One tenant."""
    async with running(tmp_path, webhook_private=True) as environment:
        yield environment


@pytest.fixture
async def operator(muster: Environment) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the operators' interface."""
    _, secret = await Credentials(muster.application.store, utc_now).create("operator", "office")
    async with client_of(muster.application.operator, PATH, secret) as client:
        yield client
