"""A directory, and a tenant that has registered it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from administration.directories import Directories
from tests.environment import Environment, running
from tests.trust.issuer import DIRECTORY, TENANT, Issuer, publishing


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """A directory that serves its keys."""
    async with publishing(Issuer()) as issuer:
        yield issuer


@pytest.fixture
async def muster(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Environment]:
    """A Muster that takes the issuer for Entra ID."""
    async with running(tmp_path, tenant_id=TENANT, entra_login_url=issuer.url) as environment:
        await environment.changing(Directories).register(DIRECTORY)
        yield environment
