"""Child processes as tests look at them, any of which may end in the same moment."""

from __future__ import annotations

from contextlib import suppress

import psutil


def command(process: psutil.Process) -> str:
    """Return a process's command line, nothing where it has ended."""
    with suppress(psutil.NoSuchProcess):  # a zombie counts as one
        return " ".join(process.cmdline())
    return ""


def workers_of(pid: int) -> list[psutil.Process]:
    """Return a server's workers that are alive."""
    commands = {child: command(child) for child in psutil.Process(pid).children()}
    return [child for child, words in commands.items() if words and "resource_tracker" not in words]
