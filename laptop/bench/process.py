"""Processor time and memory that a server's process has used."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float | None:
    """User and system time so far of a process and of the processes that it started; None where the
    system has no /proc."""
    return _sum(pid, lambda each: _ticks(_after_name(each)) / _TICKS)


def memory_bytes(pid: int) -> int | None:
    """Memory that a process and the processes that it started hold now (resident sets, with shared
    memory counted for each); None where the system has no /proc."""
    return _sum(pid, lambda each: int(_after_name(each)[21]) * _PAGE)


def peak_memory_bytes(pid: int) -> int | None:
    """The sum of the most that each of these ever held (`VmHWM` of /proc/<pid>/status); None as in
    `memory_bytes`."""
    return _sum(pid, _peak)


def _sum[N: (int, float)](pid: int, figure: Callable[[int], N]) -> N | None:
    try:
        return sum((figure(each) for each in started_by(pid)), start=figure(pid))
    except (FileNotFoundError, IndexError):
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


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def _after_name(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on (`man 5 proc`): the second is the
    program's name in parentheses, and may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
