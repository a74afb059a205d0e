"""router: which arm of a rollout answers a request, and what is counted of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from hashlib import blake2b
from random import random

from modelyard.serving.rollout.board import (
    ARM,
    CANDIDATE,
    ERRORS,
    LATENCIES,
    LATENCY,
    REQUESTS,
    SCORE,
    SCORES,
    SLOW,
    STABLE,
    TIMED,
    Board,
)
from modelyard.serving.version import Version

_WHOLE = 2.0**64
_UPPER_EDGES = [1e-6 * 2.0 ** ((i + 1) / 8) for i in range(LATENCIES - 1)]
_CHANCES = [1 / (1 + math.exp(-(i + 1 - SCORES // 2) / 4)) for i in range(SCORES - 1)]
"""Edges between bins, a quarter of log odds apart: looking one up is quicker than a logarithm."""


class RolloutRouter:
    """Chooses between the version that serves and a candidate, by the share the board names.

    The same key always meets the same arm of a rollout; when the share grows, who had the candidate keeps it.

    Parameters
    ----------
    baseline : Version
        The one that serves. It stays loaded whatever the candidate does, so that going back takes one word of memory.
    board : Board
        Shared with the other workers.

    Attributes
    ----------
    baseline : Version
        The arm that serves.
    candidate : Version or None
        The other arm, once it is loaded.
    promoted : bool
        Whether the candidate has taken the baseline's place.
    """

    def __init__(self, baseline: Version, board: Board) -> None:
        self.baseline = baseline
        self.candidate: Version | None = None
        self.promoted = False
        self._board, self._words = board, board.words
        self._at = board.claim()
        self._salt = b""
        self._bin = score_bin(baseline)

    @property
    def stable(self) -> Version:
        """What health and documents go by: the baseline, or the candidate once it is promoted."""
        candidate = self.candidate
        return candidate if self.promoted and candidate is not None else self.baseline

    @stable.setter
    def stable(self, version: Version) -> None:
        self.baseline = version

    @property
    def compares(self) -> bool:
        """Whether there is a candidate, whose times are compared with those of the baseline."""
        return self.candidate is not None

    def take(self, candidate: Version | None, rollout: int = 0) -> None:
        """Begin to send the board's share of requests to a candidate, or end it."""
        self._salt = b"%d" % rollout
        self.candidate = candidate

    def choose(self, key: bytes) -> Version:
        """Return the version that answers."""
        candidate = self.candidate
        if candidate is None:
            return self.baseline
        share = self._board.share
        if share <= 0.0:
            return self.baseline
        return candidate if share >= 1.0 or place(key, self._salt) < share else self.baseline

    def instead(self, version: Version) -> Version | None:
        """Return the version that answers where this one cannot; None where there is no other."""
        return self.baseline if version is self.candidate else None

    def seen(self, version: Version, ok: bool, seconds: float | None, score: float | None) -> None:
        """Count an answer."""
        if version is self.candidate:
            at = self._at + CANDIDATE * ARM
        elif version is self.baseline:
            at = self._at + STABLE * ARM
        else:
            return  # of a rollout that has ended in the meantime
        count(self._words, at, ok, seconds, None if score is None else self._bin(score), self._board.slow_from)
        if not ok and version is self.candidate:
            self._board.alarm()


def count(words: memoryview, at: int, ok: bool, seconds: float | None, score: int | None, slow_from: float) -> None:
    """Add an answer to the words of an arm, which begin at `at`; one without seconds is not judged by its time."""
    words[at + REQUESTS] += 1
    if not ok:
        words[at + ERRORS] += 1
        return
    if seconds is not None:
        if slow_from < math.inf:
            words[at + TIMED] += 1
            if seconds > slow_from:
                words[at + SLOW] += 1
        words[at + LATENCY + latency_bin(seconds)] += 1
    if score is not None:
        words[at + SCORE + score] += 1


def place(key: bytes, salt: bytes) -> float:
    """Return where a key lies between 0 and 1: the same in every process, and another one in every rollout."""
    if not key:
        return random()  # noqa: S311 -- nothing is secret here
    return int.from_bytes(blake2b(key, digest_size=8, key=salt).digest()) / _WHOLE


def latency_bin(seconds: float) -> int:
    """Return the bin of a response time, whose upper edge is ``2 ** ((bin + 1) / 8)`` microseconds."""
    return bisect_right(_UPPER_EDGES, seconds)


def score_bin(version: Version) -> Callable[[float], int]:
    """Return what finds the bin of a score: of chances by their log odds, of values by the range of the label."""
    schema = version.bundle.schema
    if schema.classes:
        return _bin_of_chance
    label = schema.label
    low = label.low if label is not None and label.low is not None else 0.0
    high = label.high if label is not None and label.high is not None else 1.0
    width = (high - low) / SCORES or 1.0
    return lambda score: min(max(int((score - low) / width), 0), SCORES - 1) if math.isfinite(score) else 0


def _bin_of_chance(score: float) -> int:
    return bisect_right(_CHANCES, score)
