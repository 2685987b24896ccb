"""Results as tables and pictures, for the terminal and for docs/performance.md."""

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
        """The table in Markdown."""
        lines = [f"**{self.title}**", "", _row(self.columns)]
        lines.append("|---|" + "---:|" * (len(self.columns) - 1))
        lines += [_row(row) for row in self.rows]
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """One line about the machine of the run."""
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


def save(name: str, blocks: Sequence[Table | str], document: Path) -> None:
    """Replace the results of the last run of that name in the document, between its marks. Raises
    ValueError where the document has no such marks."""
    text = document.read_text()
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    parts = [each if isinstance(each, str) else each.markdown() for each in blocks]
    results = f"{day}: {machine()}.\n\n" + "\n".join(parts)
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    changed, found = marked.subn(lambda marks: marks[1] + results + marks[2], text)
    if not found:
        raise ValueError(f"{document} has no place for {name}.")
    document.write_text(changed)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
