"""Backtest: origins to forecast from again, and how far ahead is far enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.data.dataset import Fold
from modelyard.families.forecast.series import Series

_ORIGINS = 3
_FARTHEST = 10  # horizons: a hole of years is no reason to forecast for years
_LEAST = 3  # rows a series must keep before an origin


def origins(series: Sequence[Series]) -> tuple[Fold, ...]:
    """Return folds that score the last horizons of every series long enough, oldest first."""
    folds = []
    for back in range(_ORIGINS, 0, -1):
        train, score = [], []
        for one in series:
            cut = len(one.values) - back * one.horizon
            if cut >= _LEAST:
                train.append(one.rows[:cut])
                score.append(one.rows[cut : cut + one.horizon])
        if train:
            folds.append(Fold(np.concatenate(train), np.concatenate(score)))
    return tuple(folds)


def longest_reach(series: Sequence[Series]) -> int:
    """Return how many steps a horizon of observations ever took: where rows are missing, it reaches further."""
    reach = 1
    for one in series:
        reach = max(reach, one.horizon)
        if len(one.times) > one.horizon:
            if one.frequency.kind == "irregular":
                span = (one.times[one.horizon :] - one.times[: -one.horizon]) / one.frequency.size
            else:
                steps = one.frequency.steps(int(one.times[0]), one.times)
                span = (steps[one.horizon :] - steps[: -one.horizon]).astype(np.float64)
            reach = max(reach, min(int(np.ceil(span.max())), _FARTHEST * one.horizon))
    return reach
