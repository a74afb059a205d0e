"""Backtest: origins to forecast from again, and how far ahead is far enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.data.dataset import Fold
from modelyard.families.forecast.series import Series

_ORIGINS = 3
_LEAST = 3  # rows a series must keep before an origin


def usual_horizon(series: Sequence[Series]) -> int:
    """Return one season of the middle series, at most a fifth of its rows: the horizon where the brief names none."""
    season = int(np.median([one.season for one in series]))
    rows = int(np.median([len(one.values) for one in series]))
    return max(1, min(max(season, 6), rows // 5))


def origins(series: Sequence[Series], horizon: int) -> tuple[Fold, ...]:
    """Return folds that score the last horizons of every series long enough, oldest first."""
    folds = []
    for back in range(_ORIGINS, 0, -1):
        train, score = [], []
        for one in series:
            cut = len(one.values) - back * horizon
            if cut >= _LEAST:
                train.append(one.rows[:cut])
                score.append(one.rows[cut : cut + horizon])
        if train:
            folds.append(Fold(np.concatenate(train), np.concatenate(score)))
    return tuple(folds)


def longest_reach(series: Sequence[Series], horizon: int) -> int:
    """Return how many steps `horizon` observations ever took: where rows are missing, they reach further ahead."""
    reach = horizon
    for one in series:
        if len(one.times) > horizon:
            if one.frequency.kind == "irregular":
                span = (one.times[horizon:] - one.times[:-horizon]) / one.frequency.size
            else:
                steps = one.frequency.steps(int(one.times[0]), one.times)
                span = (steps[horizon:] - steps[:-horizon]).astype(np.float64)
            reach = max(reach, int(np.ceil(span.max())))
    return min(reach, 10 * horizon)
