"""The echo app and the real one, both through the Functions Python runtime."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import pytest_asyncio

from laptop.devhost.http import HttpTriggers
from laptop.devhost.runtime import FunctionApp
from laptop.devhost.server import Server, listen

HERE = Path(__file__).parent


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def echo() -> FunctionApp:
    """The echo app; its functions' names are none of the real app's, because the runtime knows
    one registry per process."""
    os.environ["PYTHON_SCRIPT_FILE_NAME"] = "echo_app.py"
    try:
        return await FunctionApp.load(HERE)
    finally:
        del os.environ["PYTHON_SCRIPT_FILE_NAME"]


@pytest.fixture
def echo_module(echo: FunctionApp) -> Iterator[ModuleType]:
    """What the echo app has recorded, empty at first."""
    echo_app: Any = sys.modules["echo_app"]
    echo_app.delivered.clear()
    echo_app.ticks.clear()
    echo_app.release = asyncio.Event()
    yield echo_app
    echo_app.release.set()


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def echo_server(echo: FunctionApp) -> AsyncIterator[tuple[str, int]]:
    """Host and port of the echo app behind a real HTTP server."""
    server = Server(HttpTriggers(echo, ""))
    with listen("127.0.0.1", 0) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()
        server.should_exit = True
        await serving


@pytest_asyncio.fixture(loop_scope="session")
async def client(echo_server: tuple[str, int]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the echo app."""
    host, port = echo_server
    async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
        yield client
