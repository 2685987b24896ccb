"""An operator at an empty store, and a Muster in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.administration.operating import Operator
from tests.environment import Environment, running


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """Works on the test's own folder."""
    return Operator(tmp_path)


@pytest.fixture
async def environment(tmp_path: Path) -> AsyncIterator[Environment]:
    """One tenant with provisioning enabled."""
    async with running(tmp_path) as environment:
        yield environment
