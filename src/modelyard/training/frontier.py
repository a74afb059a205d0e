"""frontier: what this run could have answered with under other limits of latency."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from modelyard.families.fitted import Fitted
from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.ensemble import GLANCE
from modelyard.training.finish import weigh
from modelyard.training.limits import of_one, room, spread
from modelyard.training.run import Frontier, Point

STEPS = 6
"""Times the limit is halved, and at most doubled."""
SHARE = 0.01
"""Part of the budget after which no further limit is tried."""


def frontier(attempts: Attempts, members: Sequence[tuple[Fitted, float]], *, left: float = math.inf) -> Frontier | None:
    """Choose the blend again under a ladder of latency limits; None where answers are not reckoned to take any time.

    Parameters
    ----------
    attempts : Attempts
        Its best fits are what is blended.
    members : sequence of (Fitted, float)
        What was chosen.
    left : float
        Seconds there were to fit members on every row, which bound the other blends as well.

    Returns
    -------
    Frontier or None
        Blends are chosen on a sample of the rows and scored on all of them; those that are slower than another and no
        better are left out. Where rows are many, limits far from the one that held may be left out for time.
    """
    fitted = of_one(attempts.fitted)
    rows = scored_rows([*fitted, *(one for one, _ in members)])
    if len(fitted) < 2 or not len(rows) or not any(one.microseconds > 0 for one in fitted):
        return None
    scores = {entry.name: entry.score for entry in attempts.entries if np.isfinite(entry.score)}

    def point(blended: Sequence[tuple[Fitted, float]]) -> Point:
        raw = np.sum([weight * one.scores[rows] for one, weight in blended], axis=0)
        names = tuple(one.candidate.name for one, _ in blended)
        return Point(sum(one.microseconds for one, _ in blended), attempts.score(raw, rows), names)

    limit, chosen = room(attempts.plan, best=fitted[0].microseconds)[0], point(members)
    tried: dict[tuple[float, ...], Point] = {}
    until = attempts.clock.spent + SHARE * attempts.clock.budget
    for quick in _ladder(limit, chosen.microseconds, sum(one.microseconds for one in fitted)):
        if attempts.clock.spent > until:
            break
        weights = weigh(fitted, attempts, quick=quick, left=left, cells=GLANCE)
        if tuple(weights) not in tried:
            blended = [(one, w) for one, w in zip(attempts.fitted, weights, strict=True) if w > 0]
            more = spread(blended, attempts.plan, left, quick)
            tried[tuple(weights)] = point([(one, w) for one, (_, w) in zip(more, blended, strict=True)])
    singles = tuple(
        Point(one.microseconds, scores[one.candidate.name], (one.candidate.name,))
        for one in fitted
        if one.candidate.name in scores
    )
    if not all(np.isfinite(p.score) for p in (*tried.values(), *singles, chosen)):
        return None
    best = _best(attempts, [*tried.values(), *singles, chosen])
    return Frontier(limit, singles, best, chosen, attempts.loss.title)


def _ladder(limit: float, chosen: float, whole: float) -> list[float]:
    """Return limits in microseconds, the nearest first: half of what was chosen and less, and more than the limit.

    `whole` is what all fits together take: a limit beyond it lets in no more.
    """
    start = min(limit, chosen) if chosen > 0 else limit
    less = [start / 2**step for step in range(1, STEPS + 1)]
    more = [limit * 2**step for step in range(1, STEPS + 1) if limit * 2 ** (step - 1) < whole]
    pairs = itertools.zip_longest(less, more)
    return [quick for pair in pairs for quick in pair if quick is not None]


def _best(attempts: Attempts, points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points that no other is both quicker and better than, quickest first."""
    kept: list[Point] = []
    for one in sorted(points, key=lambda p: (p.microseconds, attempts.metric.loss(p.score))):
        if not kept or attempts.metric.better(one.score, kept[-1].score):
            kept.append(one)
    return tuple(kept)
