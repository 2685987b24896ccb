"""Results as tables, for the terminal and for docs/performance.md."""

import os
import platform
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from bench.micro import Cost
from bench.server import CONCURRENCY, USERS, Measurements, Plan

_MARKED = re.compile(r"(<!-- last run -->\n).*?(<!-- end of last run -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the names of the columns (the first is text, the others are numbers), the rows and
    a sentence below."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def show(self, console: Console) -> None:
        """Print it."""
        table = RichTable(
            title=self.title,
            title_justify="left",
            caption=self.note,
            caption_justify="left",
            min_width=len(self.title) + 2,
        )
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        """The same for a document."""
        lines = [f"**{self.title}**", "", _row(self.columns)]
        lines.append("|---|" + "---:|" * (len(self.columns) - 1))
        lines += [_row(row) for row in self.rows]
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def micro_table(costs: Sequence[Cost]) -> Table:
    """The pure core."""
    return Table(
        "Pure core: times what a hand-declared pydantic model takes to parse the user",
        ("operation", "Muster", "scim2-models", "pydantic"),
        tuple(
            (operation, *(_cell(costs, operation, who) for who in ("Muster", "scim2", "pydantic")))
            for operation in dict.fromkeys(cost.operation for cost in costs)
        ),
    )


def _cell(costs: Sequence[Cost], operation: str, implementation: str) -> str:
    found = [c for c in costs if c.operation == operation and implementation in c.implementation]
    return f"{found[0].ratio:.1f} ({found[0].seconds * 1e6:,.0f} µs)" if found else ""


def server_table(measured: Measurements, plan: Plan) -> Table:
    """The server."""
    memory = measured.memory
    note = f"{CONCURRENCY} connections, {plan.rounds} rounds of {plan.seconds:g} s; medians."
    if memory is not None:
        note += f" The server ends with {memory / 1e6:.0f} MB in memory."
    return Table(
        f"Server: one process, durable SQLite, {USERS:,} users",
        ("operation", "requests/s", "p50 ms", "p99 ms", "CPU ms", "CPU ms, reconciled"),
        tuple((name, *_figures(measured, name)) for name in measured.stretches),
        note,
    )


def _figures(measured: Measurements, case: str) -> list[str]:
    return [
        _number(measured.median(case, lambda s: s.sample.per_second), ",.0f"),
        _number(measured.median(case, lambda s: s.sample.percentile(0.50) * 1000), ".2f"),
        _number(measured.median(case, lambda s: s.sample.percentile(0.99) * 1000), ".1f"),
        _number(_times(measured.median(case, lambda s: s.cpu_per_request), 1000), ".3f"),
        _number(_times(measured.median(case, lambda s: s.whole_cpu_per_request), 1000), ".3f"),
    ]


def group_table(measured: Measurements) -> Table:
    """How much more a large group costs."""
    large, small = measured.large_group, measured.small_group
    figures = (
        ("time per request", measured.ratio(large, small, lambda s: 1 / s.sample.per_second)),
        ("p50", measured.ratio(large, small, lambda s: s.sample.percentile(0.5))),
        ("CPU", measured.ratio(large, small, lambda s: s.cpu_per_request)),
        ("CPU, reconciled", measured.ratio(large, small, lambda s: s.whole_cpu_per_request)),
    )
    return Table(
        "Flatness: one member of the large group against one of the small",
        ("figure", "ratio"),
        tuple((name, _number(ratio, ".2f")) for name, ratio in figures),
        "At most 1.2 is the target.",
    )


def _times(figure: float | None, factor: float) -> float | None:
    return None if figure is None else figure * factor


def _number(figure: float | None, form: str) -> str:
    return "" if figure is None else format(figure, form)


def machine() -> str:
    """One line on what the run was made on."""
    cpu = re.search(r"model name\s*: (.+)", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+) kB", _text("/proc/meminfo"))
    parts = [
        f"{_cores()} cores" + (f" ({cpu[1]})" if cpu else ""),
        f"{int(memory[1]) / 1024**2:.0f} GiB of memory" if memory else "",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
        f"load average {_text('/proc/loadavg').split(' ')[0] or 'unknown'} at the end",
    ]
    return ", ".join(part for part in parts if part)


def save(tables: Sequence[Table], document: Path) -> None:
    """Put them in the document, in the place of the last run. Raises ValueError where it has no
    such place."""
    text = document.read_text()
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    results = f"{day}: {machine()}.\n\n" + "\n".join(table.markdown() for table in tables)
    changed, found = _MARKED.subn(lambda marks: marks[1] + results + marks[2], text)
    if not found:
        raise ValueError(f"{document} has no place for the last run.")
    document.write_text(changed)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
