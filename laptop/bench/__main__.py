"""`python -m laptop.bench`: measure, and print the tables."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import uvloop
from rich.console import Console

from laptop.bench import (
    bill,
    comparison,
    concurrency,
    console,
    cosmos,
    end_to_end,
    fan_out,
    feed,
    micro,
    muster,
    peer,
    scale,
    tables,
    walks,
)
from laptop.bench.report import Table, machine, save

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
PICTURE = DOCUMENT.with_name("performance.png")
MICRO_ROUNDS = 100
FAN_OUT_USERS = 100_000
FEED = 100_000
"""Changes."""
CONSOLE = (10_000, 500, 100)
"""Users, groups, and how often each page is requested."""
WALKS = (1_000, 10_000, 100_000)
"""Users."""
RATE = 25.0
"""Requests per second of one tenant that Entra ID wants a server to take."""
END_TO_END_SECONDS = 10.0
CONCURRENCY_SECONDS = 6.0

type Blocks = list[Table | str]


class _Bench:
    def __init__(self, quick: bool, keep: bool) -> None:
        self._quick = quick
        self._keep = keep
        self._console, self._errors = Console(width=120), Console(stderr=True, style="dim")

    def core(self) -> None:
        """The pure core."""
        self._errors.print("the pure core")
        costs = micro.measure(3 if self._quick else MICRO_ROUNDS)
        self._show("core", [tables.micro_table(costs)])

    def compare(self) -> None:
        """Muster beside scim2-server."""
        plan = comparison.QUICK if self._quick else comparison.DEFAULT
        measured = _run(comparison.measure(plan, self._errors.print))
        _draw(measured, PICTURE if self._keep else Path(".bench") / PICTURE.name)
        bars = f"```\n{tables.bars(measured)}\n```\n"
        picture = [f"![Requests per second of both]({PICTURE.name})\n"] if self._keep else []
        table = tables.comparison_table(measured)
        self._show("comparison", [table, bars, *picture, tables.flatness_table(measured)])

    def fan_out(self) -> None:
        """One mapping on one large group."""
        users = 1_000 if self._quick else FAN_OUT_USERS
        measured = _run(fan_out.measure(users, self._errors.print))
        self._show("fan-out", [tables.fan_out_table(measured)])

    def end_to_end(self) -> None:
        """From the SCIM answer to the access record."""
        seconds = 1.0 if self._quick else END_TO_END_SECONDS
        measured = _run(end_to_end.measure((RATE,), seconds, self._errors.print))
        self._show("end to end", [tables.end_to_end_table(measured)])

    def concurrency(self) -> None:
        """Requests at once in one instance."""
        seconds = 1.0 if self._quick else CONCURRENCY_SECONDS
        measured = _run(concurrency.measure(seconds, self._errors.print))
        self._show("concurrency", [tables.concurrency_table(measured)])

    def cosmos(self) -> None:
        """The requests to Cosmos DB."""
        self._show("Cosmos DB", [tables.cosmos_table(_run(cosmos.measure(self._errors.print)))])

    def console(self) -> None:
        """The console's pages."""
        size = (200, 10, 5) if self._quick else CONSOLE
        measured = _run(console.measure(*size, self._errors.print))
        self._show("console", [tables.console_table(measured, *size[:2])])

    def bill(self) -> None:
        """What a customer costs."""
        self._show("bill", [tables.bill_table(_run(bill.measure(self._errors.print)))])

    def feed(self) -> None:
        """The feed of changes of access."""
        measured = _run(feed.measure(2_000 if self._quick else FEED, self._errors.print))
        self._show("feed", [tables.feed_table(measured)])

    def walks(self) -> None:
        """Paging by index."""
        sizes = (1_000,) if self._quick else WALKS
        measured = _run(walks.measure(sizes, self._errors.print))
        self._show("walks", [tables.walks_table(measured)])

    def scale(self) -> None:
        """How everything grows."""
        measured = _run(scale.measure(self._errors.print))
        self._show("scale", [*tables.scale_tables(measured)])

    def _show(self, name: str, blocks: Blocks) -> None:
        for block in blocks:
            if isinstance(block, Table):
                block.show(self._console)
            else:
                self._console.print(block.strip("`\n"), highlight=False)
        self._console.print(machine())
        if self._keep:
            save(name, blocks, DOCUMENT)


def main(
    only: Annotated[
        list[str] | None,
        typer.Argument(
            help="core, compare, fan-out, end-to-end, concurrency, cosmos, console, feed, bill, "
            "walks, scale; none: all but scale"
        ),
    ] = None,
    at_scale: Annotated[bool, typer.Option("--scale", help="The same as scale.")] = False,
    quick: Annotated[bool, typer.Option(help="Small and short: to see that it works.")] = False,
    keep: Annotated[bool, typer.Option("--save", help=f"Write {DOCUMENT.name}, too.")] = False,
) -> None:
    """Measure Muster, by default in less than ten minutes on two cores."""
    os.environ["MUSTER_REQUESTS_PER_SECOND"] = "0"  # the rate limit must not limit what is measured
    bench = _Bench(quick, keep)
    parts = {
        "core": bench.core,
        "compare": bench.compare,
        "fan-out": bench.fan_out,
        "end-to-end": bench.end_to_end,
        "concurrency": bench.concurrency,
        "cosmos": bench.cosmos,
        "console": bench.console,
        "feed": bench.feed,
        "bill": bench.bill,
        "walks": bench.walks,
        "scale": bench.scale,
    }
    chosen = [*(only or ()), *(["scale"] if at_scale else ())]
    for name in chosen or [name for name in parts if name != "scale"]:
        if name not in parts:
            raise typer.BadParameter(f"{name} is none of {', '.join(parts)}")
        parts[name]()


def _run[T](measuring: Coroutine[Any, Any, T]) -> T:
    # uvloop, as in the server: the client must not be the slow part.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measuring)


def _draw(measured: comparison.Measurements, path: Path) -> None:
    """Draw the comparison as a PNG."""
    rates = {
        server: [
            measured.median(server, operation, comparison.per_second) or 0.0
            for operation in measured.operations
        ]
        for server in (muster.NAME, peer.NAME)
    }
    content = {
        "title": f"{muster.NAME} (durable) and {peer.NAME} (in memory)",
        "operations": measured.operations,
        "servers": rates,
    }
    peer.draw(orjson.dumps(content), path)


if __name__ == "__main__":
    typer.run(main)
