"""Whether bounds hold what they promise: on untouched rows, or each part of the out-of-fold rows by the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Floats, Ints
from modelyard.data.forward import latest, windows
from modelyard.evaluation.answers import out_of_fold
from modelyard.evaluation.bounds import bounds, bounds_of, decided, goes_forward, of_all_classes
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import Bounded, BoundedPart, Coverage
from modelyard.metrics.intervals import wilson
from modelyard.training.run import Run
from modelyard.uncertainty.conformal import unit_weights
from modelyard.uncertainty.uncertainty import COVERAGES, Bounds

_PARTS = 5
_FIFTHS = ("second fifth", "third fifth", "fourth fifth", "last fifth")
_THIRDS = ("first third", "second third", "last third")


def coverage(run: Run, evidence: Evidence, held_out: bool) -> Bounded | None:
    """Return how often the bounds of each coverage hold what came true; None for a forecast, or without bounds.

    Parameters
    ----------
    run : Run
        Whose out-of-fold answers the bounds are made from.
    evidence : Evidence
        The judged rows: untouched ones, or the out-of-fold rows themselves, in their order.
    held_out : bool
        Whether they are untouched. If not, each fifth of them (whole groups) is judged by bounds made from the others;
        of a split forward in time, the latest third by bounds made from what came before. Of such a split each fifth
        of the out-of-fold rows but the first is judged so too, untouched rows or not: what to expect of times to come.
    """
    if evidence.rows.schema.task == "forecast" or not len(evidence.truth):
        return None
    shipped, forward = bounds(run, evidence.threshold), goes_forward(run)
    trials = [(shipped, np.arange(len(evidence.truth)))] if held_out else list(_crossed(run, evidence, forward))
    judged = _Judged(evidence)
    for made, rows in trials:
        judged.add(made, rows)
    if not judged.rows.any():
        return None
    some = np.flatnonzero(judged.rows)
    figures = _Figures(evidence, some, trials)
    levels, parts = [], []
    for level in COVERAGES:
        held, width = (values[some] for values in judged.of[level])
        if not np.isfinite(held).all():
            continue
        found = Coverage(round(100 * level), *figures.share(held), figures.mean(width), len(some), expected=level)
        if shipped.sets:
            before = [one.held for made, _ in trials for one in made.sets if one.coverage == level]
            alone, expected = figures.mean((width == 1).astype(np.float64)), max(level, float(np.mean(before)))
            found = replace(found, alone=alone, expected=expected)
        levels.append(found)
        for by, name, where in _parts(evidence, some, forward):
            parts.append(BoundedPart(by, name, round(100 * level), *figures.share(held, where), int(where.sum())))
    if forward:
        parts += _past(Evidence.of(*out_of_fold(run), evidence.threshold, 0, 1) if held_out else evidence)
    if not levels:
        return None
    return Bounded(
        "set" if shipped.sets else "interval",
        not held_out,
        forward,
        shipped.grouped,
        shipped.rows,
        shipped.units,
        tuple(levels),
        tuple(parts),
    )


class _Judged:
    """What bounds held of each row, by coverage: NaN where a row was not judged."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        n = len(evidence.truth)
        self.rows = np.zeros(n, dtype=np.bool_)
        # Whether it was held; width, or number of classes.
        self.of = {level: (np.full(n, np.nan), np.full(n, np.nan)) for level in COVERAGES}

    def add(self, made: Bounds, rows: Ints) -> None:
        """Judge some rows by bounds that were made without them."""
        e = self._evidence
        truth = e.truth[rows]
        for interval in made.intervals:
            low, high = interval(e.answers[rows]).T
            self._note(interval.coverage, rows, (low <= truth) & (truth <= high), high - low)
        for one in made.sets:
            chosen = one(of_all_classes(e.answers)[rows], decided(e.answers, e.threshold)[rows])
            held = chosen[np.arange(len(rows)), truth.astype(np.int64)]
            self._note(one.coverage, rows, held, chosen.sum(axis=1))

    def _note(self, level: float, rows: Ints, held: NDArray[np.bool_], width: Floats | Ints) -> None:
        self.rows[rows] = True
        self.of[level][0][rows] = held
        self.of[level][1][rows] = width


class _Figures:
    """Shares and means over some rows, each group counted once, with what chance allows."""

    def __init__(self, evidence: Evidence, some: Ints, trials: Sequence[tuple[Bounds, Ints]]) -> None:
        self._groups = None if evidence.groups is None else evidence.groups[some]
        self._weights, units = unit_weights(
            len(some), self._groups, None if evidence.weights is None else evidence.weights[some]
        )
        # A promise speaks of bounds made again and again: chance is in the rows they are made from, too.
        self._both = 1 + units / max(1.0, float(np.mean([made.units for made, _ in trials])))

    def mean(self, values: Floats) -> float:
        """Return the mean of values of the rows."""
        return float(np.average(values, weights=self._weights)) if self._weights.sum() > 0 else float("nan")

    def share(self, held: Floats, where: NDArray[np.bool_] | None = None) -> tuple[float, float, float]:
        """Return a share with its 95 % interval: Wilson's, for as many rows as the units are worth.

        References
        ----------
        Liang & Zeger (1986), "Longitudinal data analysis using generalized linear models": how much whole units vary.
        """
        w = self._weights if where is None else self._weights * where
        if w.sum() <= 0:
            return float("nan"), 0.0, 1.0
        share = float(np.average(held, weights=w))
        units = np.arange(len(w)) if self._groups is None else self._groups
        codes = np.unique(units[w > 0], return_inverse=True)[1]
        sums = np.bincount(codes, (w * (held - share))[w > 0])
        count = len(sums)
        variance = float((sums**2).sum()) / float(w.sum()) ** 2 * count / max(1, count - 1)
        worth = share * (1 - share) / variance if variance > 0 else float(count)
        return share, *wilson(share * worth / self._both, worth / self._both)


def _crossed(run: Run, evidence: Evidence, forward: bool) -> Iterator[tuple[Bounds, Ints]]:
    """Yield bounds made from some of the out-of-fold rows, and the rows they may be judged on."""
    rows = evidence.rows
    times = rows.times() if forward else None
    if times is not None and len(np.unique(times)) > 2:
        late = times >= latest(times, 1 / 3)
        sides = [late]
    else:
        alike = rows.units()  # copies of a row, too, stand on one side
        units = np.arange(len(rows)) if alike is None else np.unique(alike, return_inverse=True)[1]
        random = np.random.default_rng(derive_seed(run.plan.brief.seed, "coverage"))
        part = (random.permutation(int(units.max()) + 1) % _PARTS)[units]
        sides = [part == k for k in np.unique(part)]
    for side in sides:
        others, judged = np.flatnonzero(~side), np.flatnonzero(side)
        if len(others):
            yield _made_of(evidence, others, forward), judged


def _made_of(evidence: Evidence, some: Ints, forward: bool) -> Bounds:
    """Return the bounds that some of the out-of-fold rows support."""
    level = evidence.threshold
    level = level[some] if isinstance(level, np.ndarray) else level
    return bounds_of(evidence.rows.take(some), evidence.answers[some], level, forward=forward)


def _past(evidence: Evidence) -> Iterator[BoundedPart]:
    """Yield what bounds of earlier out-of-fold rows held of each fifth of them, made as those that ship are."""
    times = evidence.rows.times()
    if times is None:
        return
    for number, (start, end) in enumerate(windows(times, len(_FIFTHS))):
        before, rows = np.flatnonzero(times < start), np.flatnonzero((times >= start) & (times < end))
        made, judged = _made_of(evidence, before, forward=True), _Judged(evidence)
        judged.add(made, rows)
        figures = _Figures(evidence, rows, [(made, rows)])
        for level in made.coverages:
            held = judged.of[level][0][rows]
            yield BoundedPart("past", _FIFTHS[number], round(100 * level), *figures.share(held), len(rows))


def _parts(evidence: Evidence, some: Ints, forward: bool) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield parts of the judged rows: by time where the split goes forward, and by class."""
    times = evidence.rows.times() if forward else None
    if times is not None and len(np.unique(times[some])) > 3:
        moments = times[some]
        edges = [latest(moments, 2 / 3), latest(moments, 1 / 3)]
        place = np.searchsorted(edges, moments, side="right")
        yield from (("time", name, place == k) for k, name in enumerate(_THIRDS) if (place == k).any())
    for code, name in enumerate(evidence.rows.schema.classes):
        where = np.asarray(evidence.truth[some] == code)
        if where.any():
            yield "class", name, where
