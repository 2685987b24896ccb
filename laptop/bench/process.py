"""Processor time and memory that a server's processes have used."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

LOOK_SECONDS = 0.25
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float | None:
    """User and system time so far of a process and of the processes that it started; None where the
    system has no /proc."""
    return _sum(pid, lambda each: _ticks(_after_name(each)) / _TICKS)


def memory_bytes(pid: int) -> int | None:
    """Memory that a process and the processes that it started hold now (PSS of
    /proc/<pid>/smaps_rollup: what several processes share is divided among them); None where the
    system does not tell."""
    return _sum(pid, _memory)


class Peak:
    """The most memory that was seen, in bytes; None where the system does not tell."""

    def __init__(self) -> None:
        self.bytes: int | None = None

    async def watch(self, pid: int) -> None:
        """Look again and again at a process and the processes that it started."""
        while (now := memory_bytes(pid)) is not None:
            self.bytes = max(now, self.bytes or 0)
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def peak_memory(pid: int) -> AsyncIterator[Peak]:
    """Watches a process until the end of the block."""
    peak = Peak()
    watching = asyncio.create_task(peak.watch(pid))
    try:
        yield peak
    finally:
        watching.cancel()


def _sum[N: (int, float)](pid: int, figure: Callable[[int], N]) -> N | None:
    try:
        return sum((figure(each) for each in started_by(pid)), start=figure(pid))
    except (OSError, IndexError):
        return None


def started_by(pid: int) -> list[int]:
    """The running processes that a process started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):  # the process ended meanwhile
            each = int(stat.parent.name)
            found += [each] if int(_after_name(each)[1]) == pid else []
    return found


def _ticks(fields: list[str]) -> int:
    return int(fields[11]) + int(fields[12])


def _memory(pid: int) -> int:
    found = re.search(
        r"^Pss:\s*(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
    )
    return int(found[1]) * 1024 if found else 0


def _after_name(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on (`man 5 proc`): the second is the
    program's name in parentheses, and may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
