"""shadow: a candidate scores copies of what was answered, in a process of its own; no answer waits for it.

A request leaves its rows and answers in a bounded queue and goes on. A thread hands them over in batches, and a process
of low priority scores each with one call of the candidate and counts on the board where both agree. One row of each
batch is then answered alone, by the candidate and by the version that serves: what it took them is counted too. When it
cannot keep up, copies are dropped.
"""

from __future__ import annotations

import logging
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
from modelyard.bundle.runtimes.runtime import Row
from modelyard.core.errors import BundleError, ModelyardError, RowError
from modelyard.serving.answerer import score_of
from modelyard.serving.metrics import Metrics
from modelyard.serving.prediction import Prediction
from modelyard.serving.predictor import Unanswered
from modelyard.serving.rollout.board import (
    ARM,
    BESIDE,
    CANDIDATE,
    DIFFERENCE,
    ERRORS,
    LATENCY,
    MILLION,
    PAIRS,
    REQUESTS,
    WRONG,
    Board,
)
from modelyard.serving.rollout.rollout import Rollout
from modelyard.serving.rollout.router import latency_bin
from modelyard.serving.version import Version, version

_WAITING = 4_096
_BATCH = 256
_EVERY = 0.02
_AGAIN = 10.0
"""Seconds between two starts of the process: what it needs may be gone."""
_OF_ONE = 32
"""Rows copied of one request at most."""
_NEAR = 0.01
"""Numbers agree when they differ by no more than this share of the label's range."""
_SPARED = 9.0
"""Times as long as timing a row took, until the next one: of a slow model, too, most of the time is for scoring."""
_SECONDS = 10.0
"""What a batch may take: nobody waits for it, and a model that is stopped for being slow would count as failing."""

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
    bundle, stable : path
        Where the candidate and the version that serves lie.
    """

    def __init__(self, rollout: Rollout, folder: Path, bundle: Path, stable: Path) -> None:
        self._arguments = (str(bundle), str(stable), rollout.name, str(folder))
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


def _score(path: str, stable_path: str, name: str, folder: str, reads: Connection) -> None:
    """Score copies until nobody sends any; the process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer: it closes the pipe
    os.nice(10)
    try:
        scorer = Scorer(_loaded(path, name), Board(folder, name))
    except ModelyardError as error:
        _LOGGER.error("the shadow cannot score: %s", error)
        sys.exit(1)
    try:
        scorer.stable = _loaded(stable_path, name)
    except ModelyardError as error:  # what it answered is known; only its times are not
        _LOGGER.warning("the shadow compares no times: %s", error)
    while True:
        try:
            sent = msgspec.json.decode(reads.recv_bytes())
        except (EOFError, OSError):
            return
        copied = [pair for rows, answers in sent for pair in zip(rows, answers, strict=True)]
        pairs = [pair for pair in copied if pair[1]["served_by"] == "model"]
        for first in range(0, len(pairs), _BATCH):
            scorer.compare(pairs[first : first + _BATCH])


def _loaded(path: str, name: str) -> Version:
    found = version(load_bundle(path), Metrics(name), variant="shadow", seconds=_SECONDS)
    with suppress(BundleError):  # what it cannot answer is counted
        found.warm()
    return found


class Scorer:
    """Scores copies with the candidate and counts on the board what comes of it.

    Parameters
    ----------
    candidate : Version
        What scores.
    board : Board
        Where it counts.

    Attributes
    ----------
    stable : Version or None
        The version that serves, whose times the candidate's are compared with.
    """

    def __init__(self, candidate: Version, board: Board) -> None:
        self.stable: Version | None = None
        self._candidate, self._next = candidate, 0.0
        self._words, self._at = board.words, board.claim() + CANDIDATE * ARM
        self._classes = bool(candidate.bundle.schema.classes)
        self._apart = _distance(candidate)

    def compare(self, pairs: Sequence[tuple[Any, dict[str, Any]]]) -> None:
        """Score rows in one call, and count where the answers they were given are others.

        Parameters
        ----------
        pairs : sequence of (row, answer)
            As they were sent, and as the model that serves answered them.
        """
        words, at = self._words, self._at
        words[at + REQUESTS] += len(pairs)
        checked = [(row, answer) for sent, answer in pairs if (row := _checked(self._candidate, sent)) is not None]
        found = _predicted(self._candidate, [row for row, _ in checked])
        both = [(a.plain(), b) for a, (_, b) in zip(found, checked, strict=True) if a and a.served_by == "model"]
        words[at + ERRORS] += len(pairs) - len(both)
        words[at + PAIRS] += len(both)
        for here, there in both:
            apart = self._apart(score_of(here), score_of(there))
            same = here["prediction"] == there["prediction"] if self._classes else apart <= _NEAR
            words[at + WRONG] += not same
            words[at + DIFFERENCE] += int(apart * MILLION)
        self._time(pairs[0][0])

    def _time(self, row: Any) -> None:
        """Count how long both take for a row, one of a batch at most: it costs little however many there are."""
        began = time.monotonic()
        if self.stable is None or began < self._next:
            return
        here, there = _seconds(self._candidate, row), _seconds(self.stable, row)
        if here is not None and there is not None:
            self._words[self._at + LATENCY + latency_bin(here)] += 1
            self._words[self._at + BESIDE + latency_bin(there)] += 1
        now = time.monotonic()
        self._next = now + _SPARED * (now - began)


def _checked(version: Version, row: Any) -> Row | None:
    try:
        return version.bundle.schema.check_row(row, unknown="ignore")
    except RowError:
        return None


def _predicted(version: Version, rows: Sequence[Row]) -> list[Prediction | None]:
    """Answer rows in one call; where one of them spoils it, the halves by themselves."""
    if not rows:
        return []
    try:
        return list(version.predictor.predict(rows))
    except (RowError, Unanswered):
        half = len(rows) // 2
        return [None] if not half else _predicted(version, rows[:half]) + _predicted(version, rows[half:])


def _seconds(version: Version, row: Any) -> float | None:
    """Return the processor's time that a version takes for one row: how long it waits for its turn says nothing."""
    checked = _checked(version, row)
    if checked is None:
        return None
    try:
        version.predictor.predict([checked])  # so that of neither the trees are further from the processor
        began = time.thread_time()
        version.predictor.predict([checked])
        return time.thread_time() - began
    except (RowError, Unanswered):
        return None


def _distance(candidate: Version) -> Callable[[float | None, float | None], float]:
    """Return what says how far apart two scores are: chances as they are, values as a share of the label's range.

    Where the range is not known it is a share of the larger of both. Whatever a candidate answers, such as 1e30, counts
    as 1 at most: so sums stay within a word of the board.
    """
    schema = candidate.bundle.schema
    label = schema.label
    wide = 1.0 if schema.classes else 0.0
    if not wide and label is not None and label.low is not None and label.high is not None:
        wide = label.high - label.low

    def apart(a: float | None, b: float | None) -> float:
        if a is None or b is None or a == b:
            return 0.0
        share = abs(a - b) / (wide if wide > 0 else max(abs(a), abs(b)))
        return share if share < 1.0 else 1.0  # in this order what is no number is 1, too

    return apart
