"""Several workers behind one address: processes that share the listening socket and the counters."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from modelyard.core.errors import ServingError
from modelyard.serving.metrics import MULTIPROCESS

_TOO_SOON = 10.0
"""Seconds a worker must have lived to be replaced when it ends with an error: one that ends at once would end again."""
_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a killed worker is replaced, twice as many each time it happens too soon again."""
_LOOK = 0.2
_LOGGER = logging.getLogger("modelyard.serving")


def supervise(workers: int, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Keep processes running until told to stop, then let each finish.

    A worker that is killed is replaced, however young it was: whoever killed it (a person, the kernel short of memory)
    says nothing about the next one. One that ends with an error right after its start has something wrong with it.

    Parameters
    ----------
    workers : int
        How many.
    target, arguments : callable, tuple
        What each runs; pickled, as a new process starts from nothing.

    Raises
    ------
    ServingError
        If a worker ends with an error right after its start.
    """
    stopping: list[int] = []
    before = {s: signal.signal(s, lambda number, _: stopping.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    # Workers count into files of one folder: a scrape that meets any of them sees all.
    counters = tempfile.mkdtemp(prefix="modelyard-metrics-")
    os.environ[MULTIPROCESS] = counters
    running: dict[SpawnProcess, float] = {}
    pause = _PAUSE
    try:
        for _ in range(workers):
            running[_start(target, arguments)] = time.monotonic()
        while not stopping:
            wait([p.sentinel for p in running], timeout=_LOOK)
            for dead in [p for p in running if not p.is_alive()]:
                lived = time.monotonic() - running.pop(dead)
                if stopping:
                    break
                if lived < _TOO_SOON and (dead.exitcode or 0) >= 0:
                    raise ServingError(
                        f"A worker ended with code {dead.exitcode}.", do="Serve with one worker to see why."
                    )
                pause = min(2 * pause, _LONGEST_PAUSE) if lived < _TOO_SOON else _PAUSE
                _LOGGER.error("worker %s ended with code %s; another takes its place", dead.pid, dead.exitcode)
                if dead.pid is not None:
                    mark_process_dead(dead.pid)  # type: ignore[no-untyped-call]  # its gauges count no more
                time.sleep(pause)
                running[_start(target, arguments)] = time.monotonic()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()
        del os.environ[MULTIPROCESS]
        shutil.rmtree(counters, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(target: Callable[..., None], arguments: tuple[Any, ...]) -> SpawnProcess:
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(target, arguments))
    process.start()
    return process


def _work(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_follow, daemon=True).start()
    target(*arguments)


def _follow() -> None:
    """Stop when the parent is gone: a killed server must not go on answering through its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
