"""Fixtures that more than one suite uses."""

import gc
import os
import re
import shutil
import warnings
from collections.abc import AsyncIterator, Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
import typer.testing
from hypothesis import HealthCheck, settings

from directory.cosmos.indexing import indexing_policy
from directory.sqlite.schema import open_database
from settings import DATABASE
from tests.emulators.cosmos import Facade, serving
from tests.emulators.cosmos_container import Container
from tests.hosting import Host, running_host
from tests.transports import Muster, in_process, through_functions

# How long an example takes says nothing on a busy machine.
settings.register_profile("muster", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("muster")
os.environ["MUSTER_REQUESTS_PER_SECOND"] = "0"  # tests send as fast as they can
# To build all commands takes Typer longer than most of them take to run.
typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test comes first: as the last one, it would keep a single processor busy."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/wire/"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """What a test leaves open fails that test, not one that comes much later. The event loop is
    closed only after the last fixture, so no fixture can look."""
    yield
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        gc.collect()
    gc.freeze()  # what is there now stays; the next test's search passes over it
    if left and "broken" not in getattr(item, "fixturenames", ()):
        pytest.fail("left behind: " + "; ".join(str(each.message) for each in left))


@pytest.fixture
def broken() -> Iterator[None]:
    """For tests that break connections, or kill those who hold them: nobody closes the sockets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """`python -m laptop.devhost`, one for all tests of this process; none may make it fail."""
    with running_host(tmp_path_factory.mktemp("host") / "data") as host:
        yield host
        host.process.terminate()
        assert host.process.wait(30) == 0
    log = host.log.read_text()
    assert not re.search(r"Traceback|^\S+  ERROR ", log, re.MULTILINE), log


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without documents; to copy it takes less time than to make one."""
    path = tmp_path_factory.mktemp("empty") / DATABASE
    open_database(path).close()
    return path


@pytest.fixture(params=["asgi", "wire", "functions"])
async def muster(
    request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path
) -> AsyncIterator[Muster]:
    """A server without tenants: in this process on SQLite, in this process on Cosmos DB's wire
    protocol, and through the Functions runtime."""
    shutil.copy(empty_database, tmp_path)
    if request.param == "asgi":
        async with in_process(tmp_path) as muster:
            yield muster
    elif request.param == "wire":
        async with (
            serving(Facade(Container(indexing_policy()))) as facade,
            in_process(tmp_path, cosmos_endpoint=facade.endpoint, cosmos_key="Zm9v") as muster,
        ):
            yield muster
    else:
        async with through_functions(request.getfixturevalue("host")) as muster:
            yield muster
