"""shadow: a candidate scores copies of what was answered, in a process of its own; no answer waits for it.

A request leaves its rows and answers in a bounded queue and goes on. A thread hands them over in batches, and a process
of low priority scores them with the candidate and counts on the board where both agree. When it cannot keep up, copies
are dropped.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from modelyard.bundle.load import load_bundle
from modelyard.core.errors import BundleError, ModelyardError, RowError
from modelyard.serving.answerer import score_of
from modelyard.serving.metrics import Metrics
from modelyard.serving.predictor import Unanswered
from modelyard.serving.rollout.board import (
    ARM,
    CANDIDATE,
    DIFFERENCE,
    ERRORS,
    MILLION,
    PAIRS,
    REQUESTS,
    WRONG,
    Board,
)
from modelyard.serving.rollout.rollout import Rollout
from modelyard.serving.version import Version, version

_WAITING = 4_096
_BATCH = 256
_EVERY = 0.02
_AGAIN = 10.0
"""Seconds between two starts of the process: what it needs may be gone."""
_OF_ONE = 32
"""Rows copied of one request at most."""
_NEAR = 0.01
"""Numbers agree when they differ by less than this share of the label's range."""

_encode = msgspec.json.Encoder().encode  # MessagePack has no numbers over 64 bits, and JSON that is sent may
_LOGGER = logging.getLogger("modelyard.serving")


class Shadow:
    """What takes copies of answered rows to the candidate.

    Parameters
    ----------
    rollout : Rollout
        Whose candidate is to be scored.
    folder : path
        Where boards lie.
    bundle : path
        Where the candidate lies.
    """

    def __init__(self, rollout: Rollout, folder: Path, bundle: Path) -> None:
        self._arguments = (str(bundle), rollout.name, str(folder))
        self._queue: deque[tuple[Sequence[Any], Sequence[Any]]] = deque()
        self._ends = False
        self._start()
        threading.Thread(target=self._feed, daemon=True).start()

    def copy(self, rows: Sequence[Any], answers: Sequence[dict[str, Any]]) -> None:
        """Leave a copy of an answered request, unless too many wait; called on the request path."""
        if len(self._queue) < _WAITING:
            if len(rows) > _OF_ONE:  # now, or the queue would hold all of as many large bodies
                rows, answers = rows[:_OF_ONE], answers[:_OF_ONE]
            self._queue.append((rows, answers))

    def keep_alive(self) -> None:
        """Start the process again where it has died, unless that was a moment ago."""
        if not self._process.is_alive() and time.monotonic() >= self._again:
            self._start()

    def close(self) -> None:
        """End the process."""
        self._ends = True
        self._pipe.close()
        self._process.join(5)
        self._process.kill()

    def _start(self) -> None:
        self._again = time.monotonic() + _AGAIN
        context = multiprocessing.get_context("spawn")
        reads, self._pipe = context.Pipe(duplex=False)
        self._process = context.Process(target=_score, args=(*self._arguments, reads), daemon=True)
        self._process.start()
        reads.close()

    def _feed(self) -> None:
        while not self._ends:
            time.sleep(_EVERY)
            while self._queue:
                some = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
                try:
                    self._pipe.send_bytes(_encode(some))
                except OSError:
                    break  # it has died, or is ended: `keep_alive` sees to it


def _score(path: str, name: str, folder: str, reads: Connection) -> None:
    """Score copies until nobody sends any; the process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer: it closes the pipe
    os.nice(10)
    try:
        candidate = version(load_bundle(path), Metrics(name), variant="shadow")
        board = Board(folder, name)
        at = board.claim() + CANDIDATE * ARM
    except ModelyardError as error:
        _LOGGER.error("the shadow cannot score: %s", error)
        sys.exit(1)
    with suppress(BundleError):  # what it cannot answer is counted
        candidate.warm()
    agrees = _agreement(candidate)
    while True:
        try:
            sent = msgspec.json.decode(reads.recv_bytes())
        except (EOFError, OSError):
            return
        for rows, answers in sent:
            for row, answer in zip(rows, answers, strict=True):
                if answer["served_by"] == "model":
                    _compare(candidate, row, answer, board.words, at, agrees)


def _compare(
    candidate: Version,
    row: Any,
    answer: dict[str, Any],
    words: memoryview,
    at: int,
    agrees: Callable[[Any, Any], bool],
) -> None:
    words[at + REQUESTS] += 1
    try:
        checked = candidate.bundle.schema.check_row(row, unknown="ignore")
        found = candidate.predictor.predict([checked])[0].plain()
    except (RowError, Unanswered):
        words[at + ERRORS] += 1
        return
    if found["served_by"] != "model":
        words[at + ERRORS] += 1
        return
    words[at + PAIRS] += 1
    if not agrees(found["prediction"], answer["prediction"]):
        words[at + WRONG] += 1
    here, there = score_of(found), score_of(answer)
    if here is not None and there is not None and math.isfinite(here - there):
        words[at + DIFFERENCE] += int(abs(here - there) * MILLION)


def _agreement(candidate: Version) -> Callable[[Any, Any], bool]:
    if candidate.bundle.schema.classes:
        return lambda a, b: bool(a == b)
    label = candidate.bundle.schema.label
    if label is not None and label.low is not None and label.high is not None and label.high > label.low:
        near = _NEAR * (label.high - label.low)
        return lambda a, b: abs(a - b) <= near
    return lambda a, b: abs(a - b) <= _NEAR * max(abs(a), abs(b))
