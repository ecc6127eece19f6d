"""Memory of a process and its descendants, from /proc: what a cgroup would count, without the permission to create one.

Guarantees
    A tree is counted by its pages: if several processes share a page (as after a fork), it counts once, in proportion
    (Pss).
Caveats
    Processes that live less than one polling interval are missed. RLIMIT_AS is no substitute: numpy, Arrow and threads
    reserve gigabytes of address space that they never touch, so a limit on it kills tasks that are well within their
    memory.
"""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


def descendants(pid: int) -> list[int]:
    """`pid` and every process below it, as far as they are alive at this moment."""
    found = [pid]
    for parent in found:
        try:
            tasks = list((_PROC / str(parent) / "task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def resident_bytes(pid: int) -> int:
    """Resident set of one process; 0 when it is gone."""
    try:
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):
        return 0


def tree_bytes(pid: int, limit: int) -> int:
    """Memory of the tree under `pid`. The exact count costs a millisecond a process, so it is taken only near `limit`
    bytes.
    """
    pids = descendants(pid)
    rough = sum(resident_bytes(one) for one in pids)
    return rough if rough <= limit or len(pids) == 1 else sum(_proportional_bytes(one) for one in pids)


def _proportional_bytes(pid: int) -> int:
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except PermissionError:  # a process that changed its user: only its resident set may be read
        return resident_bytes(pid)
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
