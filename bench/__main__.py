"""`python -m bench`: measure the pure core and the server, and print the tables."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from bench import micro, server
from bench.report import Table, group_table, machine, micro_table, save, server_table

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
MICRO_ROUNDS = 100
DEFAULT = server.Plan(rounds=5, seconds=1.5, large_group=10_000)
FULL = server.Plan(rounds=15, seconds=2.0, large_group=100_000)


def main(
    full: Annotated[bool, typer.Option(help="100,000 members and more rounds.")] = False,
    keep: Annotated[bool, typer.Option("--save", help=f"Write {DOCUMENT.name}, too.")] = False,
) -> None:
    """Measure the hot paths. The default takes less than three minutes on two cores."""
    console = Console()
    progress = Console(stderr=True)
    tables = [
        micro_table(micro.measure(MICRO_ROUNDS)),
        *_server(FULL if full else DEFAULT, progress),
    ]
    for table in tables:
        table.show(console)
    console.print(machine())
    if keep:
        save(tables, DOCUMENT)


def _server(plan: server.Plan, progress: Console) -> list[Table]:
    # uvloop, as in the server: the client must not be what is slow.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured, small, large = runner.run(
            server.measure(plan, lambda step: progress.print(f"[dim]{step}[/]"))
        )
    return [server_table(measured, plan), group_table(measured, small, large)]


if __name__ == "__main__":
    typer.run(main)
