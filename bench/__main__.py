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
DEFAULT = server.Plan(rounds=8, seconds=1.0, large_group=10_000)
FULL = server.Plan(rounds=20, seconds=1.5, large_group=100_000)


def main(
    full: Annotated[bool, typer.Option(help="100,000 members and more rounds.")] = False,
    keep: Annotated[bool, typer.Option("--save", help=f"Write {DOCUMENT.name}, too.")] = False,
) -> None:
    """Measure the hot paths. By default it takes less than three minutes on two cores."""
    console, progress = Console(), Console(stderr=True, style="dim")
    progress.print("the pure core")
    tables = [micro_table(micro.measure(MICRO_ROUNDS))]
    tables += _server(FULL if full else DEFAULT, progress)
    for table in tables:
        table.show(console)
    console.print(machine())
    if keep:
        save(tables, DOCUMENT)


def _server(plan: server.Plan, progress: Console) -> list[Table]:
    # uvloop, as in the server: the client must not be what is slow.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(server.measure(plan, progress.print))
    return [server_table(measured, plan), group_table(measured)]


if __name__ == "__main__":
    typer.run(main)
