"""What this machine lends to this process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TOUCHED = 0.75
"""Part of the addresses it asks for that a process touches, about."""


def usable_cores() -> int:
    """Return the cores this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> float:
    """Return the bytes of memory this process may still take; infinite where the system does not say.

    The least of what is free on the machine, what its control groups leave (version 2 or 1), and three quarters of what
    is left of the process's own limits of addresses and data, as libraries ask for more than they touch.
    """
    left = [_free_on_machine(), *_left_by_groups(), *_left_of_limits()]
    return max(0.0, min(left))


def _free_on_machine() -> float:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024.0 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
    return float("inf")


def _left_by_groups() -> list[float]:
    found = []
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, name = line.split(":", 2)
            if kinds and "memory" not in kinds.split(","):
                continue
            root = Path("/sys/fs/cgroup/memory" if kinds else "/sys/fs/cgroup")
            limit, used = (
                ("memory.limit_in_bytes", "memory.usage_in_bytes") if kinds else ("memory.max", "memory.current")
            )
            own = root / name.lstrip("/")
            for group in (own, *own.parents):
                with suppress(OSError, ValueError):  # no limit is written "max"
                    found.append(float(int((group / limit).read_text()) - int((group / used).read_text())))
                if group == root:
                    break
    return found


def _left_of_limits() -> list[float]:
    """Return what the process's own limits leave, of addresses and of data."""
    found = []
    with suppress(ImportError, OSError, ValueError):
        import resource

        pages = Path("/proc/self/statm").read_text().split()
        for limit, used in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
            most = resource.getrlimit(limit)[0]
            if most != resource.RLIM_INFINITY:
                found.append(_TOUCHED * (most - int(used) * resource.getpagesize()))
    return found
