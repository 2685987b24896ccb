"""Fixtures that more than one suite uses."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.transports import Host, Muster, in_process, running_host, through_functions


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """`python -m devhost`, one for all tests of this process; none of them may make it fail."""
    with running_host(tmp_path_factory.mktemp("host") / "data") as host:
        yield host
    log = host.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture(params=["asgi", "functions"])
async def muster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Muster]:
    """A server without tenants, through both transports."""
    if request.param == "asgi":
        async with in_process(tmp_path) as muster:
            yield muster
    else:
        async with through_functions(request.getfixturevalue("host")) as muster:
            yield muster
