"""data_size: would more rows help? The score of one candidate learnt from all rows, a half, a quarter, an eighth."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np

from modelyard.core.machine import usable_cores
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Fold, Ints
from modelyard.data.forward import latest
from modelyard.data.inner import inner
from modelyard.families.fitted import Blend, Fitted
from modelyard.metrics.intervals import bootstrap, paired
from modelyard.metrics.reading import reading
from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.run import DataSize, Size

SHARE, OF_SPENT = 0.05, 0.1
"""Part of the budget that the curve may take, or of the time spent before it where that is more, if so much is left."""
KEPT_FROM, KEPT = 30.0, 0.03
"""Budgets, in seconds, from which a part is kept for the curve; a smaller one has no time to give away."""
_HALVINGS = 3
_LEAST_ROWS = 60
_NEAR = 0.05
_ENDS = 0.01
_MARGIN = 1.25
_ROWS = 50_000
_RESAMPLES = 200


def kept_seconds(budget: float) -> float:
    """Return the seconds of a budget that are kept for the curve."""
    return KEPT * budget if budget >= KEPT_FROM else 0.0


def data_size(attempts: Attempts) -> DataSize:
    """Fit the best candidate again on a half, a quarter and an eighth of the rows of its folds, as far as time allows.

    Settings, seed and scored rows stay the same, and so does the way a fit stops; the score on all rows is the one it
    has. Fewer rows are a part of the more: whole entities where there are groups, the latest rows where folds go
    forward in time, else as many of each class. Of the best candidate, and those whose loss is at most a twentieth
    larger, the first that there is time for is taken, on all folds or fewer. Intervals resample the scored rows, or
    their entities; how the points would move with another draw of rows to learn from is not in them.

    Returns
    -------
    DataSize
        Says why, where nothing was measured.
    """
    split = attempts.parts.split
    if split.strategy == "rolling":
        return DataSize(missing="a series that is cut short is another series")
    if min(len(fold.train) for fold in split.folds) < 2 * _LEAST_ROWS:
        return DataSize(missing="there are too few rows to learn from a half of them")
    clock = attempts.clock
    room = min(max(SHARE * clock.budget, OF_SPENT * clock.spent), clock.left - _ENDS * clock.budget)
    room -= _judging(attempts) if room > 0 else 0.0
    best = attempts.out_of_fold_loss(attempts.fitted[0])
    near = [one for one in attempts.fitted if attempts.out_of_fold_loss(one) <= best + _NEAR * abs(best)]
    counts = sorted({len(split.folds), min(usable_cores(), len(split.folds)), 1}, reverse=True)
    # The whole curve where there is time; else its first half, which is what the answer needs.
    for fitted, halvings, count in itertools.product(near, (_HALVINGS, 1), counts):
        if _seconds(fitted, count, halvings, attempts) <= room:
            folds = split.folds[-count:] if split.forward else split.folds[:count]
            return _measure(fitted, folds, halvings, attempts, time.monotonic() + room)
    least = min(_seconds(one, 1, 1, attempts) for one in near)
    return DataSize(missing=f"no time was left: it takes about {least:.1f} s, and there were {max(room, 0.0):.1f} s")


def _seconds(fitted: Fitted, folds: int, halvings: int, attempts: Attempts) -> float:
    """Reckon the fits on a half of the rows of some folds, and less, by the one on all rows of all.

    What candidates share is worked out anew: these are other rows.
    """
    split, cores = attempts.parts.split, usable_cores()
    sizes = [len(fold.train) for fold in split.folds]
    larger = max(sizes) / (sum(sizes) / len(sizes))
    one = fitted.seconds / math.ceil(len(sizes) / cores) * larger + attempts.shared_seconds
    return _MARGIN * one * math.ceil(folds / cores) * sum(0.5**k for k in range(1, halvings + 1))


def _judging(attempts: Attempts) -> float:
    """Reckon the intervals and gains by one score of the most rows there may be."""
    rows = scored_rows(attempts.fitted[:1])[:_ROWS]
    judge = _Judge(attempts, rows)
    one = judge.seconds(judge.answers(attempts.fitted[0].scores[rows]))
    return one * _RESAMPLES * (_HALVINGS + 1 + 2 * 2)


def _measure(fitted: Fitted, folds: Sequence[Fold], halvings: int, attempts: Attempts, until: float) -> DataSize:
    name = fitted.candidate.name
    scored = np.concatenate([fold.score for fold in folds])
    learnt, raws = [folds], [fitted.scores[scored]]
    for halving in range(1, halvings + 1):
        fewer = [_halved(fold, number, attempts) for number, fold in enumerate(learnt[-1])]
        if min(len(fold.train) for fold in fewer) < _LEAST_ROWS:
            break
        began = time.monotonic()
        attempts.tell(f"{name} on 1/{2**halving} of the rows")
        try:
            made = attempts.again(fitted.candidate, fewer)
        except Exception as error:
            return DataSize(missing=f"a fit on fewer rows failed: {error}")
        learnt.append(fewer)
        raws.append(made.scores[scored])
        if time.monotonic() + 0.5 * (time.monotonic() - began) > until:
            break
    if len(raws) < 2:
        return DataSize(missing="there are too few rows to learn from a half of them")
    rows = _sample(scored, raws, attempts)
    judge = _Judge(attempts, scored[rows])
    answers = [judge.answers(raw[rows]) for raw in raws]
    half, whole = (judge.gain(answers[0], other) for other in (answers[1], answers[-1]))
    sizes = tuple(
        Size(round(float(np.mean([len(fold.train) for fold in used]))), *judge.interval(one))
        for used, one in zip(learnt, answers, strict=True)
    )
    figures = (*half, whole[0], whole[1])
    if not all(math.isfinite(v) for v in (*figures, *(v for s in sizes for v in (s.score, s.low, s.high)))):
        return DataSize(missing="the score is not defined on the rows of these folds, or has no interval")
    return DataSize(name, len(folds), sizes, *figures)


def _halved(fold: Fold, number: int, attempts: Attempts) -> Fold:
    """Return a fold that learns from half the rows."""
    data, rows = attempts.parts.development, fold.train
    times = data.times() if attempts.parts.split.forward else None
    if times is not None and np.unique(times[rows]).size > 1:
        return Fold(rows[times[rows] >= latest(times[rows], 0.5)], fold.score)
    seed = derive_seed(attempts.plan.brief.seed, "data_size", number)
    return Fold(inner(data, rows, 0.5, seed)[1], fold.score)


def _sample(scored: Ints, raws: Sequence[Floats], attempts: Attempts) -> Ints:
    """Return positions in `scored` of the rows judged: those every size scored, at most `_ROWS`."""
    rows = np.flatnonzero(np.logical_and.reduce([np.isfinite(raw).all(axis=1) for raw in raws]))
    if len(rows) <= _ROWS:
        return rows
    random = np.random.default_rng(derive_seed(attempts.plan.brief.seed, "data_size"))
    return np.sort(random.choice(rows, _ROWS, replace=False))


class _Judge:
    """Scores, intervals and gains on some of the development rows."""

    def __init__(self, attempts: Attempts, rows: Ints) -> None:
        self._attempts = attempts
        self._data: Dataset = attempts.parts.development.take(rows)
        self._truth = self._data.truth()

    def answers(self, raw: Floats) -> Floats:
        """Return what the metric reads of raw scores."""
        attempts = self._attempts
        return reading(attempts.metric, Blend((), attempts.link, 1.0, (0.0,) * raw.shape[1]).answer(raw))

    def seconds(self, answers: Floats) -> float:
        """Return how long one score of one resample takes."""
        score, weights = self._attempts.metric.scorer(self._truth, answers, self._data.extras), np.ones(len(answers))
        score(weights)
        began = time.monotonic()
        score(weights)
        return time.monotonic() - began

    def interval(self, answers: Floats) -> tuple[float, float, float]:
        """Return the score and its bounds."""
        found = bootstrap(
            self._attempts.metric, self._truth, answers,
            weights=self._data.weights(), groups=self._data.groups(), context=self._data.extras,
            resamples=_RESAMPLES, seed=self._attempts.plan.brief.seed,
        )  # fmt: skip
        return found.value, found.low, found.high

    def gain(self, one: Floats, other: Floats) -> tuple[float, float, float]:
        """Return how much better one is than the other, and the bounds of that."""
        found = paired(
            self._attempts.metric, self._truth, one, other,
            weights=self._data.weights(), groups=self._data.groups(), context=self._data.extras,
            resamples=_RESAMPLES, seed=self._attempts.plan.brief.seed,
        )  # fmt: skip
        return found.gain, found.low, found.high
