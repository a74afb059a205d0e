"""board: one small file in memory that every worker of a server reads, and each writes its own part of.

It holds how many requests the candidate gets and what every worker counted. Workers never wait for each other: each
adds to words that no other process writes, and reads the rest. The file outlives every process, so that a killed worker
takes nothing along; what must outlive the machine is in the store.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelyard.core.errors import ServingError
from modelyard.core.files import guarded
from modelyard.serving.rollout.eprocess import Evidence, Floats, nothing, rate_test

Ints = NDArray[np.int64]

SLOTS = 128
"""One for each of 64 workers, and for the process that scores shadows beside each."""
LATENCIES = 192
"""Bins of response times, eight for each doubling from a microsecond on."""
SCORES = 64
REQUESTS, ERRORS, TIMED, SLOW, PAIRS, WRONG, DIFFERENCE, SCORE = range(8)
"""Words of an arm. Three are a shadow's: rows that both answered, how many of them otherwise, and the sum of the
scores' differences in millionths. Scores' bins begin at the last."""
MILLION = 1_000_000
BESIDE = SCORE + SCORES
"""Bins of what rows took the version that serves, where a shadow timed both; those of the candidate lie behind them."""
LATENCY = BESIDE + LATENCIES
ARM = LATENCY + LATENCIES
STABLE, CANDIDATE = 0, 1

_HEADER = 128
_FORMAT = 2
_NONCE, _ID, _SHARE, _SLOW_FROM, _TRIPPED, _SEQUENCE = 1, 2, 3, 4, 5, 6
_NEEDED, _DISPERSION, _LOOKS, _REQUESTS, _ERRORS, _LIMIT = 8, 9, 10, 11, 12, 13
_WEIGHTS = 16
_WORDS = _HEADER + SLOTS * 2 * ARM


class Board:
    """The board of one use case.

    Parameters
    ----------
    folder : path
        Where its file lies; made if it is not there.
    name : str
        The use case.

    Raises
    ------
    WorkspaceError
        If it cannot be written.
    """

    def __init__(self, folder: Path | str, name: str) -> None:
        self.folder, self.stem = Path(folder), re.sub(r"[^\w.-]", "_", name)
        path = self.folder / f"{self.stem}.board"
        with guarded(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                new = os.fstat(handle).st_size != 8 * _WORDS
                if new:
                    # Written, not only sized: a hole in a file on a full disk would kill who writes to it.
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, bytes(8 * _WORDS), 0)
                self._map = mmap.mmap(handle, 8 * _WORDS)
                self.words = memoryview(self._map).cast("q")
                self.reals = memoryview(self._map).cast("d")
                if new or self.words[0] != _FORMAT:
                    self._map[:] = bytes(8 * _WORDS)
                    self.words[_NONCE] = int.from_bytes(os.urandom(7))
                    self.reals[_SLOW_FROM] = math.inf
                    self.words[0] = _FORMAT
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)  # the map keeps the file open, and with it the lock
                os.close(handle)
        self._locks: dict[str, int] = {}

    @property
    def nonce(self) -> int:
        """A number that tells this board from one that lay here before."""
        return self.words[_NONCE]

    @property
    def rollout(self) -> int:
        """The rollout it stands for, 0 before the first."""
        return self.words[_ID]

    @property
    def share(self) -> float:
        """The candidate's share of requests."""
        return self.reals[_SHARE]

    @share.setter
    def share(self, share: float) -> None:
        self.reals[_SHARE] = share
        # Who stopped the candidate in this moment goes before everybody else.
        if self.words[_TRIPPED]:
            self.reals[_SHARE] = 0.0

    @property
    def slow_from(self) -> float:
        """Seconds from which a request is slow; infinite where nothing is known of the baseline."""
        return self.reals[_SLOW_FROM]

    @property
    def tripped(self) -> bool:
        """Whether the candidate was stopped on evidence: it gets no request then, whatever share is set."""
        return bool(self.words[_TRIPPED])

    @tripped.setter
    def tripped(self, tripped: bool) -> None:
        self.words[_TRIPPED] = tripped
        if tripped:
            self.reals[_SHARE] = 0.0

    def claim(self) -> int:
        """Take a slot that no living process holds; return its first word.

        Raises
        ------
        ServingError
            If all are taken.
        """
        for slot in range(SLOTS):
            if self.hold(f"slot-{slot}"):
                return _HEADER + slot * 2 * ARM
        raise ServingError("The board has no slot left.", allowed=f"{SLOTS} processes.", do="Start fewer workers.")

    def hold(self, what: str) -> bool:
        """Take a lock unless another process has it; the operating system lets go when its holder dies."""
        if what in self._locks:
            return True
        folder = self.folder / f"{self.stem}.locks"
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / what, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._locks[what] = handle
        return True

    def release(self, what: str) -> None:
        """Let go of a lock, if it is held."""
        handle = self._locks.pop(what, None)
        if handle is not None:
            os.close(handle)

    def close(self) -> None:
        """Let go of locks and memory."""
        for handle in self._locks.values():
            os.close(handle)
        self._locks.clear()
        self.words.release()
        self.reals.release()
        self._map.close()

    def sums(self) -> Ints:
        """Return what all workers counted since the board was made, shape [2, ARM]."""
        content = np.frombuffer(self._map, np.int64, offset=8 * _HEADER).reshape(SLOTS, 2, ARM)
        return np.asarray(content.sum(axis=0))

    def publish(
        self,
        rollout: int,
        share: float,
        slow_from: float,
        *,
        limit: float,
        needed: float,
        dispersion: float,
        evidence: Evidence,
        sums: Ints,
    ) -> None:
        """Put up what a look decided, and what workers need to judge errors until the next one."""
        words, reals = self.words, self.reals
        words[_SEQUENCE] += 1  # odd: who reads now waits for the next time
        if words[_ID] != rollout:
            words[_TRIPPED] = 0
        words[_ID], words[_LOOKS] = rollout, evidence.looks
        words[_REQUESTS], words[_ERRORS] = int(sums[CANDIDATE, REQUESTS]), int(sums[CANDIDATE, ERRORS])
        reals[_SLOW_FROM], reals[_NEEDED], reals[_DISPERSION], reals[_LIMIT] = slow_from, needed, dispersion, limit
        for at, weight in enumerate(evidence.weights.tolist(), _WEIGHTS):
            reals[at] = weight
        words[_SEQUENCE] += 1
        self.share = share

    def alarm(self) -> bool:
        """Judge the candidate's errors since the last look; stop it, and return True, where the evidence is there.

        Called after each of its failures, by whoever saw it. A test of a rate against a limit may be looked at after
        every request; that against the baseline holds at looks alone.
        """
        words, reals = self.words, self.reals
        before = words[_SEQUENCE]
        if before % 2 or words[_TRIPPED] or reals[_SHARE] == 0:
            return False
        test = rate_test(reals[_LIMIT], "above")
        weights: Floats = np.array(reals[_WEIGHTS : _WEIGHTS + len(test.prior)])
        counted = [-words[_REQUESTS], -words[_ERRORS]]
        for slot in range(_HEADER + ARM, _WORDS, 2 * ARM):
            counted[0] += words[slot + REQUESTS]
            counted[1] += words[slot + ERRORS]
        looks, spread, needed = words[_LOOKS], reals[_DISPERSION], reals[_NEEDED]
        if words[_SEQUENCE] != before:
            return False
        evidence = Evidence(looks, weights).after(test.log_ratio(counted[1], counted[0]), spread)
        if evidence.log_e(test.prior) < needed:
            return False
        self.tripped = True
        return True


def no_evidence(limit: float) -> Evidence:
    """Return an e-process of errors before its first look."""
    return nothing(len(rate_test(limit, "above").prior))
