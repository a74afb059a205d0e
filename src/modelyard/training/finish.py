"""Finish: choose the members of the blend, and fit them on every row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelyard.core.errors import TrainingError
from modelyard.data.dataset import Floats
from modelyard.families.fitted import Fitted
from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.ensemble import CELLS, greedy_weights
from modelyard.training.limits import of_folds, of_models, of_one, room, spread


def finish(attempts: Attempts) -> tuple[Sequence[Fitted], Floats]:
    """Choose the members by their out-of-fold scores, fit each on every row, and weigh those that got there.

    Members are chosen so that these fits end within the budget, and so that all together stay within the brief's limits
    (see `modelyard.training.limits`): the model's share of the latency, and the size of its file. What they leave of
    these goes to more models of them. The largest share is fitted first, whatever the clock says; a further one only
    where there is time. Where there is none, the models of its folds answer for it, save where the split goes forward:
    there the first of them know little.

    Returns
    -------
    (sequence of Fitted, float64 array)
        Members, and their weights.
    """
    left = list(attempts.fitted)
    while left:
        members, broken = _fit_members(left, attempts)
        if members:
            return members, weigh(members, attempts)
        left = [one for one in left if one.candidate.name not in broken]
    raise TrainingError(
        "No candidate could be fitted on every row.",
        where="\n  ".join(f"{entry.name}: {entry.note}" for entry in attempts.entries if np.isnan(entry.microseconds)),
        do="Correct what the first one says, or name another model in the brief.",
    )


def _fit_members(tried: Sequence[Fitted], attempts: Attempts) -> tuple[list[Fitted], set[str]]:
    """Fit the members of the best blend on every row; return them, and the names of those that failed."""
    tried = [in_time(one, attempts, of_models(one, 1).whole_seconds) for one in tried]
    # Those that their folds can answer for are no burden: there need not be time for all.
    costs = [replace(one, whole_seconds=0.0) if folds_instead(one, attempts) else one for one in of_one(tried)]
    left = max(0.0, attempts.clock.left - attempts.shared_seconds)
    weights = weigh(costs, attempts, left=left)
    largest = [i for i in np.argsort(-weights, kind="stable") if weights[i] > 0]
    chosen = spread([(tried[i], float(weights[i])) for i in largest], attempts.plan, left)
    members: list[Fitted] = []
    broken: set[str] = set()
    pace = 1.0
    for fitted in chosen:
        if members and pace * fitted.whole_seconds > attempts.clock.left:
            fitted = of_models(fitted, 1)
        seconds = pace * fitted.whole_seconds
        if members:
            fitted = in_time(fitted, attempts, seconds)
        if members and fitted.whole and seconds > attempts.clock.left:
            attempts.late.add(fitted.candidate.name)
            continue
        made = attempts.whole(fitted)
        if made is None:
            broken.add(fitted.candidate.name)
            continue
        members.append(made)
        if fitted.whole and seconds > 0:
            pace = max(pace, pace * (made.seconds - fitted.seconds) / seconds)  # without what is worked out once
    return members, broken


def in_time(fitted: Fitted, attempts: Attempts, seconds: float) -> Fitted:
    """Return a candidate, for which the models of its folds answer where there is no time for one on every row."""
    folds = None if seconds <= attempts.clock.left else folds_instead(fitted, attempts)
    return folds or fitted


def folds_instead(fitted: Fitted, attempts: Attempts) -> Fitted | None:
    """Return a candidate for which the models of its folds answer; None where they may not.

    Where the split goes forward the first of them know little. They are several, too: alone, all of them must be quick
    and small enough for the limits.
    """
    if attempts.parts.split.forward:
        return None
    folds = of_folds(fitted)
    best = folds.microseconds if fitted.candidate == attempts.fitted[0].candidate else 0.0
    quick, small = room(attempts.plan, folds.shared_bytes, best)
    return folds if folds.microseconds <= quick and folds.own_bytes <= small else None


def weigh(
    fitted: Sequence[Fitted],
    attempts: Attempts,
    *,
    quick: float | None = None,
    left: float = math.inf,
    cells: int = CELLS,
) -> Floats:
    """Return the weights of the best blend that is quick and small enough and that is fitted on every row in time.

    `quick` microseconds, by default those the plan leaves (see `room`); `left` seconds, by default any number. The
    best fit by its own loss stands first.
    """
    rows = scored_rows(fitted)
    if not len(rows):  # candidates that score different rows cannot be weighed against each other
        return np.asarray(np.eye(1, len(fitted))[0], dtype=np.float64)
    usual, small = room(attempts.plan, max(one.shared_bytes for one in fitted), fitted[0].microseconds)
    costs = [[one.microseconds, one.own_bytes, one.whole_seconds] for one in fitted]
    return greedy_weights(
        [one.scores[rows] for one in fitted],
        attempts.loss.take(rows),
        costs=np.array(costs),
        limits=np.array([usual if quick is None else quick, small, left]),
        seed=attempts.plan.brief.seed,
        cells=cells,
    )
