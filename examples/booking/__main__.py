"""An example application: rooms, a reception desk, an admin area. It shows what a
user may do, and changes live.

    make example                    beside `make run`
    .venv/bin/python manage.py simulate

    MUSTER_URL      where Muster is (http://127.0.0.1:7071; PORT is another port)
    MUSTER_DATA     the folder that holds its state (.muster)
    BOOKING_PORT    where to listen (7080)
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import uvicorn

from examples.booking.access import EverybodysAccess
from examples.booking.laptop import SetUpFailed, set_up
from examples.booking.web import application
from laptop.devhost.server import listen, url_of

TENANT = "demo"


async def run() -> None:
    """Run until Ctrl+C. Raises SetUpFailed, and httpx.HTTPStatusError for a credential that was
    revoked."""
    folder = Path(os.environ.get("MUSTER_DATA", ".muster"))
    muster = os.environ.get("MUSTER_URL") or f"http://127.0.0.1:{os.environ.get('PORT', '7071')}"
    if not (folder / "demo.json").exists():
        raise SetUpFailed(f"There is no Muster in {folder} yet: start 'make run' first.")
    with _listener() as listener:
        url = url_of(listener)
        name = f"booking-{listener.getsockname()[1]}"
        made = await set_up(folder, TENANT, f"{url}/webhooks", name)
        access = EverybodysAccess(muster, made.credential, TENANT, made.secrets)
        config = uvicorn.Config(
            application(access), log_level="warning", timeout_graceful_shutdown=1
        )
        sys.stdout.write(f"Booking is at {url} (Ctrl+C stops it)\n")
        sys.stdout.flush()
        try:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(access.follow())
                await uvicorn.Server(config).serve([listener])
                following.cancel()
        finally:
            await access.close()


def _listener() -> socket.socket:
    port = os.environ.get("BOOKING_PORT", "7080")
    try:
        return listen("127.0.0.1", int(port))
    except (OSError, ValueError, OverflowError) as error:
        raise SetUpFailed(f"Cannot listen on port {port}: {error}. Set BOOKING_PORT.") from error


def main() -> int:
    """The command; returns its exit code."""
    failure = ""
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(run())
    except* SetUpFailed as failed:
        failure = str(failed.exceptions[0])
    except* httpx.HTTPStatusError as refused:
        failure = (
            f"{refused.exceptions[0]}\nIf the credential was revoked, remove booking-*.json from "
            "Muster's state folder, and start again."
        )
    if failure:
        sys.stderr.write(f"{failure}\n")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
