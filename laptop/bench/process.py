"""A server's process: how much processor time and memory it has used."""

import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float | None:
    """User and system time of all its threads so far; None where the system has no /proc."""
    fields = _after_name(pid, "stat")
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else None


def memory_bytes(pid: int) -> int | None:
    """What it holds in memory now (resident set); None where the system has no /proc."""
    fields = _after_name(pid, "stat")
    return int(fields[21]) * _PAGE if fields else None


def peak_memory_bytes(pid: int) -> int | None:
    """The most that it ever held (`VmHWM` of /proc/<pid>/status); None as above."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return None
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) * 1024 if found else None


def _after_name(pid: int, file: str) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on (`man 5 proc`): the second is the
    program's name in parentheses, and may hold spaces."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return []
