"""The loader beside a server: a process of its own that moves the prediction log into its store."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import msgspec

from modelyard.core.errors import WorkspaceError
from modelyard.serving.predictions.load import Keep, follow
from modelyard.serving.predictions.predictions import Predictions

_SHORT, _LONG = 1.0, 60.0
"""Seconds before a loader that ended is started again."""
_LOGGER = logging.getLogger("modelyard.serving")
_SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def parse_keep(text: str) -> Keep:
    """Read how much is kept: "90 days", "10 GB", both with a comma between, or "all".

    Raises
    ------
    WorkspaceError
        If it is none of these.
    """
    days: float | None = None
    most: int | None = None
    for part in text.split(","):
        number, _, unit = part.strip().partition(" ")
        try:
            if part.strip() == "all":
                continue
            if unit in ("day", "days"):
                days = _positive(number)
            else:
                most = int(_positive(number) * _SIZES[unit.upper()])
        except (ValueError, KeyError):
            raise WorkspaceError(
                f"'{text}' does not say how much of the prediction log is kept.",
                allowed='"90 days", "10 GB", "90 days, 10 GB" or "all".',
            ) from None
    return Keep(days, most)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


@contextmanager
def loading(log: Predictions, keep: Keep) -> Iterator[None]:
    """Load a prediction log in a process of its own meanwhile, and once more at the end.

    A loader that is killed is started again. One whose parent is gone loads what is there, and ends.
    """
    ending = threading.Event()
    thread = threading.Thread(target=_keep_up, args=(log, keep, ending), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _keep_up(log: Predictions, keep: Keep, ending: threading.Event) -> None:
    pause = _SHORT
    while True:
        began = time.monotonic()
        try:
            _run(log, keep, ending)
        except OSError as error:  # it ended before it was told what to do, or there is no process to be had
            _LOGGER.error("the prediction log's loader could not be started: %s", error)
        if ending.is_set():
            return
        pause = _SHORT if time.monotonic() - began > _LONG else min(2 * pause, _LONG)
        if ending.wait(pause):
            return


def _run(log: Predictions, keep: Keep, ending: threading.Event) -> None:
    """Start a loader, and wait until it has ended."""
    # What it needs goes through its standard input: a store's password is nobody else's. The pipe's end, which comes
    # whenever this process ends, tells it to stop.
    with Popen([sys.executable, "-P", "-m", "modelyard.flow.loader"], stdin=PIPE, start_new_session=True) as loader:
        assert loader.stdin is not None  # noqa: S101  # a pipe was asked for
        loader.stdin.write(msgspec.json.encode([str(log.folder), log.store, keep]) + b"\n")
        loader.stdin.flush()
        while loader.poll() is None and not ending.wait(0.2):
            pass


def _main() -> None:
    """Be the loader that `loading` starts."""
    folder, where, keep = msgspec.json.decode(sys.stdin.buffer.readline(), type=tuple[str, str | None, Keep])
    os.nice(10)  # answers go first
    gc.set_threshold(50_000)  # thousands of entries are held at a time, and are in no cycles
    stop = threading.Event()

    def wait() -> None:
        while sys.stdin.buffer.read(1):
            pass
        stop.set()

    threading.Thread(target=wait, daemon=True).start()
    follow(Predictions(Path(folder), where), keep, stop)


if __name__ == "__main__":
    _main()
