"""What an operator does once for an application, with `manage.py`: a credential, a webhook, and the
application's catalog. The results are kept in the state folder for later starts."""

import asyncio
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CATALOG = Path(__file__).with_name("catalog.json")


class SetUpFailed(Exception):
    """A command that failed; the text says why."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What the application needs to know. Only the owner of the file can read it."""

    credential: str
    endpoint: str
    secrets: list[str]


async def set_up(folder: Path, tenant: str, webhook: str, name: str) -> SetUp:
    """Let an application at `webhook` read a tenant's access. `folder` holds Muster's state; `name`
    distinguishes several applications. Raises SetUpFailed."""
    file = folder / f"{name}.json"
    if file.exists():
        made = SetUp(**json.loads(file.read_text()))
        try:
            await _manage("webhook", "enable", made.endpoint)  # disabled, if it was away for days
        except SetUpFailed as failed:
            raise SetUpFailed(f"{failed}\nRemove {file} to make another endpoint.") from None
        return made
    await _manage("catalog", "import", tenant, str(CATALOG))
    create = ("webhook", "create", webhook, "--label", name, "--type", "access.changed")
    endpoint = await _manage(*create)
    credential = await _manage("credential", "create", "--kind", "application", "--name", name)
    made = SetUp(credential["secret"], endpoint["endpointId"], endpoint["secrets"])
    file.touch(mode=0o600)
    file.write_text(json.dumps(asdict(made), indent=2))
    return made


async def _manage(*arguments: str) -> Any:
    """The JSON output of a command of manage.py, run with the settings of this process."""
    private = {"MUSTER_WEBHOOK_PRIVATE": "true"}  # the application is on this machine
    command = [sys.executable, str(ROOT / "manage.py"), *arguments, "--json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | private,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    answer, error = await process.communicate()
    if process.returncode:
        raise SetUpFailed(f"manage.py {' '.join(arguments[:2])}: {error.decode().strip()}")
    return json.loads(answer)
