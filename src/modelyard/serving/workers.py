"""Several workers behind one address: processes that share the listening socket and the counters."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

from modelyard.core.errors import ModelyardError, ServingError
from modelyard.serving.accept import NOBODY, Share
from modelyard.serving.metrics import MULTIPROCESS

_TOO_SOON = 10.0
"""Seconds a worker must have lived to be well: one that ends with an error before has something wrong with it."""
_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker is replaced, twice as many each time it happens too soon again."""
_LOOK = 0.2
_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder of our own is made in it
_LOGGER = logging.getLogger("modelyard.serving")


def supervise(workers: int, target: Callable[..., None], arguments: tuple[Any, ...], told: Any) -> None:
    """Keep processes running until told to stop, then let each finish.

    A worker that is killed is replaced, however young it was: whoever killed it (a person, the kernel short of memory)
    says nothing about the next one. One that ends with an error right after its start has something wrong with it, and
    ends a server that has just been started. Later, when workers have lived for a while, something that they need is
    gone: those there are go on, and others are started again and again until it is back.

    Parameters
    ----------
    workers : int
        How many.
    target, arguments : callable, tuple
        What each runs, ``target(told, tell, share, *arguments)``; pickled, as a new process starts from nothing.
    told : object
        What the first are told. Those that start later are told what any worker gave to `tell` last.

    Raises
    ------
    ServingError
        If a worker cannot be started, or ends with an error right after its start, and none has lived for longer yet.
    """
    stopping: list[int] = []
    before = {s: signal.signal(s, lambda number, _: stopping.append(number)) for s in (signal.SIGTERM, signal.SIGINT)}
    counters = _counters()
    os.environ[MULTIPROCESS] = counters
    context = multiprocessing.get_context("spawn")
    hears, tells = context.Pipe(duplex=False)
    connections = context.RawArray("q", [NOBODY] * workers)
    free = list(range(workers))
    running: dict[SpawnProcess, tuple[float, int]] = {}
    due = [0.0] * workers
    pause, settled = _PAUSE, False
    try:
        while not stopping:
            while due and due[0] <= time.monotonic():
                share = Share(connections, free[-1])
                process = context.Process(target=_work, args=(target, told, tells, share, *arguments))
                try:
                    process.start()
                except OSError as error:  # the system has no process, or no file, for it just now
                    if not settled:
                        raise ServingError("A worker cannot be started.", where=str(error)) from error
                    _LOGGER.error("a worker cannot be started: %s", error)
                    pause = min(2 * pause, _LONGEST_PAUSE)
                    due = sorted([*due[1:], time.monotonic() + pause])
                else:
                    del due[0]
                    running[process] = time.monotonic(), free.pop()
            wait([hears, *(p.sentinel for p in running)], timeout=_LOOK)
            while hears.poll():
                told = hears.recv()
            settled = settled or any(time.monotonic() - began >= _TOO_SOON for began, _ in running.values())
            for dead in [p for p in running if not p.is_alive()]:
                now = time.monotonic()
                began, place = running.pop(dead)
                lived = now - began
                connections[place] = NOBODY
                free.append(place)
                if stopping:
                    break
                if lived < _TOO_SOON and (dead.exitcode or 0) >= 0 and not settled:
                    raise ServingError(
                        f"A worker ended with code {dead.exitcode}.", do="Serve with one worker to see why."
                    )
                pause = min(2 * pause, _LONGEST_PAUSE) if lived < _TOO_SOON else _PAUSE
                due = sorted([*due, now + pause])
                _LOGGER.error("worker %s ended with code %s; another takes its place", dead.pid, dead.exitcode)
                if dead.pid is not None:
                    mark_process_dead(dead.pid)  # type: ignore[no-untyped-call]  # its gauges count no more
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.join()
        del os.environ[MULTIPROCESS]
        shutil.rmtree(counters, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def _counters() -> str:
    """Return a folder that workers count into: a scrape that meets any of them sees all.

    It lies in memory where it can: whoever writes to a file that is mapped from a full disk is killed.
    """
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    return tempfile.mkdtemp(prefix="modelyard-metrics-", dir=memory)


def _work(target: Callable[..., None], told: Any, tells: Connection, share: Share, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the first process too, which stops the others
    threading.Thread(target=_follow, daemon=True).start()
    try:
        target(told, tells.send, share, *arguments)
    except ModelyardError as error:
        _LOGGER.error("a worker cannot serve: %s", error)
        sys.exit(1)
    finally:
        if orphaned():
            shutil.rmtree(os.environ[MULTIPROCESS], ignore_errors=True)  # nobody else will


def orphaned() -> bool:
    """Say whether this is a worker whose server was killed."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _follow() -> None:
    """Stop when the parent is gone: a killed server must not go on answering through its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
