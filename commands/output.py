"""What every command shares: running something on the application, and printing the answer."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from rich.console import Console
from rich.table import Column, Table

import wiring
from administration.errors import AdministrationError
from directory.documents import EntitlementKey
from directory.sqlite.schema import UnusableFile
from directory.store import BadContinuation, StoreError
from queues.port import QueueError
from settings import Settings

out = Console()

TenantId = Annotated[str, typer.Argument(help="The tenant's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JsonFile = Annotated[
    Path, typer.Argument(help="A JSON file.", exists=True, dir_okay=False, readable=True)
]
DataFile = Annotated[
    Path, typer.Argument(help="A JSON or CSV file.", exists=True, dir_okay=False, readable=True)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, change nothing.")]


@dataclass(frozen=True, slots=True)
class Server:
    """The server whose operators' interface commands call, instead of working on the store."""

    url: str
    """Scheme and host."""
    credential: str = field(repr=False)


_server: ContextVar[Server | None] = ContextVar("server", default=None)


def choose(known: Server | None) -> None:
    """Let commands call this server; None: let them work on the store."""
    _server.set(known)


def server() -> Server | None:
    """The server that `--url` names; None without it."""
    return _server.get()


def run[T](use: Callable[[wiring.Application], Awaitable[T]]) -> T:
    """Run something on the application; print errors that an operator can mend in one line. This
    works on the store only: a command that also works by `--url` uses `commands.operation`."""
    if server() is not None:
        refuse(
            "This command, or this option, works on the store alone: run it beside the server, "
            "without --url and MUSTER_OPERATOR_URL. docs/commands.md says which work by --url."
        )
    return on_store(use)


def on_store[T](use: Callable[[wiring.Application], Awaitable[T]]) -> T:
    """Like `run`, but allowed with `--url`."""

    async def with_application() -> T:
        application = wiring.Application(Settings())
        try:
            return await use(application)
        finally:
            await application.close()

    return reported(lambda: asyncio.run(with_application()))


def refuse(text: str, command: str = "") -> NoReturn:
    """End the command, and say why; `command` is what to type instead."""

    def never() -> NoReturn:
        raise AdministrationError(text, command)

    reported(never)


def reported[T](do: Callable[[], T]) -> T:
    """The result of `do`; prints errors that an operator can mend in one line, and ends the
    command."""
    try:
        return do()
    except (AdministrationError, QueueError, StoreError, UnusableFile) as error:
        command = getattr(error, "command", "")
        hint = f" Try 'manage.py {command}'." if command else ""
        typer.secho(f"{error}{hint}", fg="red", err=True)
        raise typer.Exit(1) from None


@contextmanager
def begun_here() -> Iterator[None]:
    """Turns BadContinuation into an error of the option `--after`."""
    try:
        yield
    except BadContinuation:
        raise AdministrationError(
            "--after does not belong to this list: leave it out to begin anew, then take what each "
            "page ends with."
        ) from None


def plain(value: Any) -> Any:
    """A use case's result as JSON: dataclasses, models and times, with names in camelCase."""
    match value:
        case BaseModel():
            return value.model_dump(mode="json", by_alias=True, exclude_none=True)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case EntitlementKey(kind, key):
            return {"kind": kind, "key": key}
        case list() | tuple():
            return [plain(one) for one in value]
    if is_dataclass(value):
        return {to_camel(f.name): plain(getattr(value, f.name)) for f in fields(value)}
    return value


def moment_text(text: str | None) -> str:
    """A time in an answer, shortened to the second; empty for None."""
    return f"{text[:19]}+00:00" if text else ""


def show_once(row: dict[str, str], name: str, what: str, as_json: bool) -> None:
    """Show a secret that cannot be shown again: the value of that name, alone on standard
    output."""
    if as_json:
        show(row, as_json, ())
        return
    out.print(f"Keep {what} now; Muster stores its digest only and cannot show it again.")
    sys.stdout.write(row[name] + "\n")


def show(value: Any, as_json: bool, columns: Sequence[str], title: str = "") -> None:
    """Print a dict, or a list of them, as JSON or as a table of these columns."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        return
    # nothing is cut off, and ids stay in one line, so that they can be copied
    headers = [Column(name, overflow="fold", no_wrap=name.endswith("Id")) for name in columns]
    table = Table(*headers, title=title or None, title_justify="left")
    for row in value if isinstance(value, list) else [value]:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    out.print(table)


def keys_named(entitlements: list[str]) -> tuple[EntitlementKey, ...]:
    """Entitlements from texts KIND:KEY, such as `role:owner`. Raises BadParameter."""
    pairs = [entitlement.partition(":") for entitlement in entitlements]
    wrong = [kind for kind, separator, key in pairs if not (kind and separator and key)]
    if wrong:
        raise typer.BadParameter(f"An entitlement is named KIND:KEY, not {wrong[0]!r}.")
    return tuple(EntitlementKey(kind=kind, key=key) for kind, _, key in pairs)
