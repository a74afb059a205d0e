"""Divisions forward in time: what is scored always comes after what is learnt from, a gap between them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Fold

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_CUTS = 60


def latest(times: Floats, fraction: float) -> float:
    """Return the moment from which on about the share of the rows lies; rows of one moment stay together."""
    moments, first = np.unique(np.sort(times), return_index=True)
    shares = 1.0 - first[1:] / times.size
    return float(moments[1:][np.argmin(np.abs(shares - fraction))])


def latest_of_entities(
    times: Floats, groups: Ints, fraction: float, gap: float, rng: np.random.Generator
) -> tuple[Mask, Mask]:
    """Divide forward in time and by entity at once, and lose as few rows as can be.

    For a moment, the part tested is the later rows of some entities, the part learnt from the earlier rows of the
    others; what is neither is lost. Entities that lose least are tested first, those that only appear late losing
    nothing; of all moments the one that leaves most to learn from is chosen. An entity that alone is more than the
    part tested should be is tested only where the others are too few for it: what is learnt from would go with it.

    Returns
    -------
    (bool array, bool array)
        Rows to learn from, rows to test, each of shape [n].
    """
    wanted = fraction * times.size
    entities = int(groups.max()) + 1
    order = rng.permutation(entities)
    nothing = np.zeros(times.size, dtype=np.bool_)
    best = nothing, nothing
    for most in (wanted, np.inf):
        for moment in _moments(times):
            late, early = times >= moment, times < moment - gap
            after = np.bincount(groups[late], minlength=entities)
            before = np.bincount(groups[early], minlength=entities)
            price = np.where(after > 0, before / np.maximum(after, 1), np.inf)
            ranked = order[np.argsort(price[order], kind="stable")]
            ranked = ranked[after[ranked] <= most]
            enough = int(np.searchsorted(np.cumsum(after[ranked]), wanted))
            if enough >= len(ranked):
                continue
            tested = np.zeros(entities, dtype=np.bool_)
            tested[ranked[: enough + 1]] = True
            learn = early & ~tested[groups]
            if learn.sum() > best[0].sum():
                best = learn, late & tested[groups]
        if best[0].any():
            break
    return best


def _moments(times: Floats) -> Floats:
    moments = np.unique(times)[1:]
    return moments if moments.size <= _CUTS else moments[np.linspace(0, moments.size - 1, _CUTS).astype(np.int64)]


def windows(times: Floats, count: int) -> list[tuple[float, float]]:
    """Return moments [start, end) of up to `count` windows after a first block, all of about as many rows."""
    moments, first = np.unique(np.sort(times), return_index=True)
    count = min(count, moments.size - 1)
    if count < 1:
        return []
    wanted = np.arange(1, count + 1) * times.size / (count + 1)
    starts = np.unique(np.clip(np.searchsorted(first, wanted, side="left"), 1, moments.size - 1))
    edges = [*moments[starts], np.inf]
    return list(pairwise(edges))


def expanding(times: Floats, count: int, gap: float) -> list[Fold]:
    """Return folds that learn from everything before a window, less the gap, and score the window."""
    folds = []
    for start, end in windows(times, count):
        learn, score = np.flatnonzero(times < start - gap), np.flatnonzero((times >= start) & (times < end))
        if learn.size and score.size:
            folds.append(Fold(learn, score))
    return folds


def expanding_by_entity(
    times: Floats, groups: Ints, count: int, gap: float, rng: np.random.Generator, *, twice: bool = False
) -> list[Fold]:
    """Return expanding windows in which no entity is both learnt from and scored.

    Of the entities seen before a window and in it, one half is scored in this window and learnt from in the next,
    the other the other way round; entities new in a window are all scored. Or every window is there `twice`, and the
    other half is scored the second time: more fits, and no row of a window is left out.
    """
    half = rng.permutation(int(groups.max()) + 1) % 2
    folds = []
    for number, (start, end) in enumerate(windows(times, count)):
        early, window = times < start - gap, (times >= start) & (times < end)
        both = np.intersect1d(groups[early], groups[window])
        straddles = np.isin(groups, both)
        for turn in range(2 if twice and len(both) else 1):
            scored = half[groups] == (number + turn) % 2
            learn = early & ~(straddles & scored)
            score = window & (straddles & scored if turn else ~straddles | scored)
            # Rows of the gap belong to neither, and an entity known only from them may be scored.
            if learn.any() and score.any():
                folds.append(Fold(np.flatnonzero(learn), np.flatnonzero(score), number))
    return folds
