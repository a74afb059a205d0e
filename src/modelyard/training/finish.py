"""Finish: choose the members of the blend, and fit them once more on every row their folds may learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.data.dataset import Floats
from modelyard.families.fitted import Fitted
from modelyard.training.attempts import AGAIN, Attempts, scored_rows
from modelyard.training.ensemble import greedy_weights


def finish(attempts: Attempts) -> tuple[Sequence[Fitted], Floats]:
    """Choose the members, fit the drafts among them on every row, and weigh what came of it.

    A draft held rows back to know when to stop. Its rounds known, the same fit learns from those rows too: its
    out-of-fold scores are as honest as before, for a fold's own rows take no part in either. Members are chosen so that
    these fits end within the budget; the largest shares are fitted first, and whatever the clock says one is.

    Returns
    -------
    (sequence of Fitted, float64 array)
        Members, none of them a draft, and their weights.
    """
    drafts = attempts.fitted
    weights = weigh(drafts, attempts, [AGAIN * one.seconds if one.draft else 0.0 for one in drafts])
    order = [i for i in np.argsort(-weights, kind="stable") if weights[i] > 0]
    attempts.planned = len(attempts.entries)
    members: list[Fitted] = []
    for i in order:
        draft = drafts[i]
        if not draft.draft:
            members.append(draft)
        elif not members or AGAIN * draft.seconds <= attempts.clock.left:
            fitted = attempts.again(draft)
            members += [] if fitted is None else [fitted]
    # Where every last fit failed, the drafts still answer.
    members = members or [drafts[i] for i in order]
    return members, weigh(members, attempts)


def weigh(fitted: Sequence[Fitted], attempts: Attempts, seconds: Sequence[float] | None = None) -> Floats:
    """Return the weights of the best blend of what was fitted, whose further `seconds` the clock can pay for."""
    rows = scored_rows(fitted)
    if not len(rows):  # candidates that score different rows cannot be weighed against each other
        return np.asarray(np.eye(1, len(fitted))[0], dtype=np.float64)
    costs = None if seconds is None else np.array(seconds)[:, None]
    return greedy_weights(
        [one.scores[rows] for one in fitted],
        attempts.loss.take(rows),
        costs=costs,
        limits=np.array([attempts.clock.left]),
        seed=attempts.plan.brief.seed,
    )
