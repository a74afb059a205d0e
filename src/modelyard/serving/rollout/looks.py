"""looks: reads the board every so often, judges what was counted since, and writes down what follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec.structs import replace

from modelyard.serving.rollout.board import (
    ARM,
    BESIDE,
    CANDIDATE,
    DIFFERENCE,
    ERRORS,
    LATENCY,
    PAIRS,
    REQUESTS,
    SCORE,
    SCORES,
    SLOW,
    STABLE,
    TIMED,
    WRONG,
    Board,
    Ints,
    no_evidence,
)
from modelyard.serving.rollout.decide import after, decide
from modelyard.serving.rollout.eprocess import Evidence, Floats, dispersion
from modelyard.serving.rollout.judge import QUANTILES, Counts, Gathered, Window, begun, judge, needed, readings, stepped
from modelyard.serving.rollout.rollout import Plan, Rollout
from modelyard.serving.rollout.store import Rollouts

_KEPT = 60
_FADES = 0.9
"""What is known of the baseline's response times and scores weighs this much less with each look."""
_ENOUGH = 200
"""Answers of the baseline below which its p99, or its quantiles, are not known."""


class Kept(msgspec.Struct, frozen=True):
    """An e-process as it is written down."""

    looks: int
    shape: list[int]
    weights: list[float]


class Memory(msgspec.Struct):
    """What the next look needs, whoever makes it: the counts of the last one, the baseline's past, the evidence."""

    nonce: int = 0
    at: float = 0.0
    sums: list[list[int]] = []
    history: list[tuple[int, int, int, int]] = []
    latencies: list[float] = []
    scores: list[float] = []
    rollout: int = 0
    against: dict[str, Kept] = {}
    shown: dict[str, Kept] = {}


@dataclass(frozen=True, slots=True)
class _Past:
    """The baseline's past as a look uses it: cut points of scores, dispersion of errors and of slow requests."""

    cuts: Ints | None
    errors: float
    slow: float


class Looks:
    """Makes the looks of one use case. One process at a time does: who holds the board's lock ``decider``.

    Parameters
    ----------
    store : Rollouts
        Where looks and decisions are written down.
    board : Board
        What workers counted.
    name : str
        The use case.
    """

    def __init__(self, store: Rollouts, board: Board, name: str) -> None:
        self._store, self._board, self._name = store, board, name
        self._memory: Memory | None = None
        self._shown: tuple[int, str, int] | None = None

    def tick(self, rollout: Rollout | None, now: float) -> Rollout | None:
        """Do what is due; return where the rollout stands then.

        Parameters
        ----------
        rollout : Rollout or None
            The newest of the use case, as the store has it.
        now : float
            Seconds since 1970.
        """
        memory = self._recalled(now)
        if rollout is None:
            if _due(memory, Plan(), now):
                self._put(self._learn(memory, now), 0, 0.0, Plan(), no_evidence(Plan().error_limit))
            return None
        if rollout.id != memory.rollout:
            fresh = replace(self._since(memory, now)[1], rollout=rollout.id)
            memory = self._remember(_kept(fresh, begun(rollout.plan)))
        if self._shown != (rollout.id, rollout.state, rollout.step):
            self._publish(memory, rollout)
        judged = rollout.state in ("running", "held")
        stopped = judged and self._board.tripped and self._board.rollout == rollout.id
        if not (stopped or _due(memory, rollout.plan, now)):
            return rollout
        if judged:
            memory, rollout = self._look(memory, rollout, now, stopped)
        else:
            memory = self._learn(memory, now)
        self._publish(memory, rollout)
        return rollout

    def _recalled(self, now: float) -> Memory:
        if self._memory is None:
            content = self._store.memory(self._name)
            self._memory = msgspec.msgpack.decode(content, type=Memory) if content else Memory(at=now)
            if self._memory.nonce != self._board.nonce:
                # A board that was made anew counts from zero.
                self._memory.nonce, self._memory.sums = self._board.nonce, np.zeros((2, ARM), np.int64).tolist()
        return self._memory

    def _remember(self, memory: Memory) -> Memory:
        self._store.remember(self._name, msgspec.msgpack.encode(memory))
        self._memory = memory
        return memory

    def _since(self, memory: Memory, now: float) -> tuple[Ints, Memory]:
        """Return what was counted since the last look that was written down, and what is remembered of this one.

        Where this one cannot be written down the next comes in its time, and counts from where this one did.
        """
        memory.at = now
        sums = self._board.sums()
        since = sums - np.array(memory.sums, np.int64)
        return since, _learnt(replace(memory, sums=sums.tolist()), since[STABLE])

    def _learn(self, memory: Memory, now: float) -> Memory:
        return self._remember(self._since(memory, now)[1])

    def _look(self, memory: Memory, rollout: Rollout, now: float, stopped: bool) -> tuple[Memory, Rollout]:
        since, seen = self._since(memory, now)
        past, plan = _past(memory), rollout.plan
        window = Window(_counts(since[CANDIDATE], past, plan), _counts(since[STABLE], past, plan))
        gathered, log_e, log_shown = judge(_gathered(memory), window, plan, errors=past.errors, slow=past.slow)
        found = readings(plan, window, log_e, log_shown)
        decision, why = decide(rollout, found, now)
        if stopped and decision != "ROLLBACK":
            decision, why = "ROLLBACK", "it was stopped before this look, on evidence or by a person"
        if decision == "ROLLBACK":
            self._board.tripped = True  # first of all: writing it down may take its time, or fail
        moved = after(rollout, decision, why, now)
        seen = _kept(seen, gathered if moved.step == rollout.step else stepped(gathered))
        moved = self._store.look(rollout, found, decision, why, moved, msgspec.msgpack.encode(seen), now)
        self._memory = seen
        if moved.state == "promoted":
            self._board.tripped = False  # by a person, who goes before the look that was made meanwhile
        return seen, moved

    def _publish(self, memory: Memory, rollout: Rollout) -> None:
        self._put(memory, rollout.id, rollout.share, rollout.plan, _gathered(memory).against["errors"])
        self._shown = (rollout.id, rollout.state, rollout.step)

    def _put(self, memory: Memory, rollout: int, share: float, plan: Plan, evidence: Evidence) -> None:
        self._board.publish(
            rollout,
            share,
            _slow_from(memory, plan),
            limit=plan.error_limit,
            needed=needed(plan)[0],
            dispersion=_past(memory).errors,
            evidence=evidence,
            sums=np.array(memory.sums, np.int64),
        )


def _due(memory: Memory, plan: Plan, now: float) -> bool:
    """Say whether the next look is due, or the clock was set back: waiting for it to catch up could take for ever."""
    return not 0.0 <= now - memory.at < plan.look


def _counts(arm: Ints, past: _Past, plan: Plan) -> Counts:
    if plan.kind == "shadow":
        below = np.zeros(len(QUANTILES), np.int64)
        below[:2] = arm[WRONG], arm[DIFFERENCE]
        return Counts(arm[REQUESTS], arm[ERRORS], arm[TIMED], arm[SLOW], arm[PAIRS], below, arm[BESIDE:])
    running = np.cumsum(arm[SCORE : SCORE + SCORES])
    if past.cuts is None:
        scored, below = np.int64(0), np.zeros(len(QUANTILES), np.int64)
    else:
        scored, below = running[-1], running[past.cuts]
    return Counts(arm[REQUESTS], arm[ERRORS], arm[TIMED], arm[SLOW], np.asarray(scored), below)


def _past(memory: Memory) -> _Past:
    cuts = None
    if sum(memory.scores) >= _ENOUGH:
        running = np.cumsum(memory.scores)
        cuts = np.searchsorted(running / running[-1], QUANTILES)
    looks = np.array(memory.history or [(0, 0, 0, 0)], float).T
    return _Past(cuts, float(dispersion(looks[1], looks[0])), float(dispersion(looks[3], looks[2])))


def _learnt(memory: Memory, baseline: Ints) -> Memory:
    """Add a look to what is known of the baseline; one at which it answered nothing teaches nothing."""
    if not baseline[REQUESTS]:
        return memory
    requests, errors, timed, slow = (int(baseline[part]) for part in (REQUESTS, ERRORS, TIMED, SLOW))
    return replace(
        memory,
        history=[*memory.history[1 - _KEPT :], (requests, errors, timed, slow)],
        latencies=_faded(memory.latencies, baseline[LATENCY:]),
        scores=_faded(memory.scores, baseline[SCORE : SCORE + SCORES]),
    )


def _gathered(memory: Memory) -> Gathered:
    against, shown = (
        {m: Evidence(k.looks, np.array(k.weights).reshape(k.shape)) for m, k in kept.items()}
        for kept in (memory.against, memory.shown)
    )
    return Gathered(against, shown)


def _kept(memory: Memory, gathered: Gathered) -> Memory:
    against, shown = (
        {m: Kept(e.looks, list(e.weights.shape), e.weights.ravel().tolist()) for m, e in part.items()}
        for part in (gathered.against, gathered.shown)
    )
    return replace(memory, against=against, shown=shown)


def _faded(before: Sequence[float], now: Ints) -> list[float]:
    kept: Floats = np.array(before) * _FADES if len(before) else np.zeros(len(now))
    return [float(value) for value in kept + now]


def _slow_from(memory: Memory, plan: Plan) -> float:
    """Return the seconds from which a request is slow: a multiple of the upper edge of the bin that holds the p99."""
    total = sum(memory.latencies)
    if total < _ENOUGH:
        return math.inf
    at = int(np.searchsorted(np.cumsum(memory.latencies), 0.99 * total))
    return plan.slow_factor * 1e-6 * float(2.0 ** ((at + 1) / 8))
