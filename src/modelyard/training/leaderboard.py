"""leaderboard: every attempt with its share, and in plain words why it has none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Floats
from modelyard.families.fitted import Fitted
from modelyard.training import elapsed, link
from modelyard.training.attempts import KEPT, Attempts, learns_log, scored_rows
from modelyard.training.elapsed import MARK
from modelyard.training.ensemble import CELLS, STEPS, WORTH
from modelyard.training.limits import of_models, of_one, room
from modelyard.training.run import Entry

_TRIED = (1 / STEPS, 0.1, 0.2, 0.35, 0.5)
"""Shares of the blend that a fit left out is given, to see what it could add."""


def leaderboard(
    attempts: Attempts, members: Sequence[tuple[Fitted, float]], *, left: float = math.inf
) -> tuple[Entry, ...]:
    """Return every attempt, best first.

    Parameters
    ----------
    attempts : Attempts
        What was tried.
    members : sequence of (Fitted, float)
        What was blended, and its shares.
    left : float
        Seconds there were to fit members on every row when they were chosen.
    """
    shares = {fitted.candidate.name: weight for fitted, weight in members}
    kept = {fitted.candidate.name: fitted for fitted in attempts.fitted}
    fits = [math.isfinite(e.microseconds) for e in attempts.entries]  # a fit may have no score: MAPE of a label with 0
    broken = {e.name: e.note for e, fit in zip(attempts.entries, fits, strict=True) if e.name in kept and not fit}
    entries, logs = [], attempts.link == "log"
    for entry, fit in zip(attempts.entries, fits, strict=True):
        if not fit:
            why = entry.note
        elif entry.name in shares:
            why = ""
        elif entry.name in broken:
            why = broken[entry.name]
        elif entry.name not in kept and entry.name.endswith(MARK) and not any(name.endswith(MARK) for name in kept):
            why = f"put aside: the moment as a feature does not take {elapsed.WORTH:.0%} off the loss"
        elif entry.name not in kept and attempts.loss.name == "squared_error" and logs != learns_log(entry.parameters):
            why = f"put aside: learning the logarithm of the mean takes over {link.WORTH:.1%} off the squared error"
        elif entry.name not in kept:
            why = f"not among the best {KEPT} by {attempts.loss.title}, of which the blend is made"
        else:
            why = _why(of_models(kept[entry.name], 1), members, attempts, left)
        entries.append(replace(entry, weight=shares.get(entry.name, 0.0) if not why else 0.0, why=why))
    return tuple(sorted(entries, key=lambda e: math.inf if math.isnan(e.score) else attempts.metric.loss(e.score)))


def _why(fitted: Fitted, members: Sequence[tuple[Fitted, float]], attempts: Attempts, left: float) -> str:
    """Say why a fit that could have been blended was not: candidates are chosen with one model each."""
    if fitted.candidate.name in attempts.late:
        return f"no time left to fit it on every row: about {fitted.whole_seconds:.0f} s"
    best = of_models(attempts.fitted[0], 1).microseconds
    quick, small = room(attempts.plan, max(one.shared_bytes for one in attempts.fitted), best)
    if fitted.microseconds > quick:
        return f"too slow: {fitted.microseconds:.0f} µs a row, and the limit is {quick:.0f}"
    if fitted.own_bytes > small:
        return f"too large: {_megabytes(fitted.own_bytes)}, and the file has room for {_megabytes(small)}"
    gain = _gain(fitted, members, attempts)
    if gain is None:
        return "it scores other rows than the best fit, so the two cannot be weighed"
    if gain < WORTH:
        return f"adds too little: {gain:.3%} off the blend's loss, under {WORTH:.2%}" if gain > 0 else "adds nothing"
    names = {one.candidate.name for one, _ in members}  # as fitted over the folds: only these say what a refit takes
    beside = [one for one in of_one(attempts.fitted) if one.candidate.name in names]
    taken, held = sum(one.microseconds for one in beside), sum(one.own_bytes for one in beside)
    if fitted.microseconds + taken > quick:
        much = f"{fitted.microseconds:.0f} µs a row beside the members' {taken:.0f}, and the limit is {quick:.0f}"
        return f"too slow: {much}; it would take {gain:.2%} off the loss"
    if fitted.own_bytes + held > small:
        much = f"{_megabytes(fitted.own_bytes)} beside the members' {_megabytes(held)}, and there is room for"
        return f"too large: {much} {_megabytes(small)}; it would take {gain:.2%} off the loss"
    if fitted.whole_seconds + sum(one.whole_seconds for one in beside) > left:
        return f"no time left to fit it on every row: about {fitted.whole_seconds:.0f} s beside the members'"
    return f"others were chosen first, each time taking off more; now it would take {gain:.2%} off the loss"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.2g} MB"


def _gain(fitted: Fitted, members: Sequence[tuple[Fitted, float]], attempts: Attempts) -> float | None:
    """Return the largest part that some share of a fit takes off the blend's loss."""
    rows = scored_rows([fitted, *(one for one, _ in members)])
    if not len(rows):
        return None
    most = max(1, CELLS // fitted.scores.shape[1])
    if len(rows) > most:
        random = np.random.default_rng(derive_seed(attempts.plan.brief.seed, "leaderboard"))
        rows = np.sort(random.choice(rows, most, replace=False))
    loss = attempts.loss.take(rows)
    blend: Floats = np.sum([w * one.scores[rows] for one, w in members], axis=0)
    before = loss(blend)
    after = min(loss((1 - share) * blend + share * fitted.scores[rows]) for share in _TRIED)
    return (before - after) / abs(before) if before else 0.0
