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
    """The Muster whose operators' interface commands ask, in place of the store."""

    url: str
    """Scheme and host."""
    credential: str = field(repr=False)


_server: ContextVar[Server | None] = ContextVar("server", default=None)


def choose(known: Server | None) -> None:
    """Let commands ask this one; None: let them work on the store."""
    _server.set(known)


def server() -> Server | None:
    """The one that `--url` names."""
    return _server.get()


def run[T](use: Callable[[wiring.Application], Awaitable[T]]) -> T:
    """Run something on the application; what an operator can mend is said in one line. It works on
    the store alone: what works by `--url`, too, is an operation (`commands.operation`)."""
    if server() is not None:
        refuse(
            "This command, or this option, works on the store alone: run it beside the server, "
            "without --url and MUSTER_OPERATOR_URL. docs/commands.md says which work by --url."
        )
    return on_store(use)


def on_store[T](use: Callable[[wiring.Application], Awaitable[T]]) -> T:
    """The same, wherever the command is meant to work."""

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
    """What is done; what an operator can mend is said in one line."""
    try:
        return do()
    except (AdministrationError, QueueError, StoreError, UnusableFile) as error:
        command = getattr(error, "command", "")
        hint = f" Try 'manage.py {command}'." if command else ""
        typer.secho(f"{error}{hint}", fg="red", err=True)
        raise typer.Exit(1) from None


@contextmanager
def begun_here() -> Iterator[None]:
    """Where a list goes on at `--after`: one that is not of this list is the operator's to mend."""
    try:
        yield
    except BadContinuation:
        raise AdministrationError(
            "--after is not a place in this list: leave it out to begin anew, then take what each "
            "page ends with."
        ) from None


def plain(value: Any) -> Any:
    """JSON of what a use case answers: dataclasses, models and moments, names in camelCase."""
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
    """A moment of an answer to the second; empty for none."""
    return f"{text[:19]}+00:00" if text else ""


def show_once(row: dict[str, str], name: str, what: str, as_json: bool) -> None:
    """A secret that nobody can show again: the value of that name, alone on standard output."""
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
    # Nothing is cut off, and ids stay in one line: they are copied.
    headers = [Column(name, overflow="fold", no_wrap=name.endswith("Id")) for name in columns]
    table = Table(*headers, title=title or None, title_justify="left")
    for row in value if isinstance(value, list) else [value]:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    out.print(table)


def keys_named(entitlements: list[str]) -> tuple[EntitlementKey, ...]:
    """Entitlements that are named KIND:KEY. Raises BadParameter."""
    pairs = [entitlement.partition(":") for entitlement in entitlements]
    wrong = [kind for kind, separator, key in pairs if not (kind and separator and key)]
    if wrong:
        raise typer.BadParameter(f"An entitlement is named KIND:KEY, not {wrong[0]!r}.")
    return tuple(EntitlementKey(kind=kind, key=key) for kind, _, key in pairs)
