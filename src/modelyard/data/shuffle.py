"""Random divisions: by class, and by entity, so that no class is lost and no entity stands on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def share_out(classes: Ints, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose the same share of every class; a class of one row is never chosen.

    Returns
    -------
    bool array of shape [n]
        True for the rows chosen.
    """
    chosen = np.zeros(classes.size, dtype=np.bool_)
    for code in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == code))
        take = min(round(fraction * rows.size), rows.size - 1)
        chosen[rows[:take]] = True
    return chosen


def deal(classes: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """Deal rows to folds, class by class; a class of one row is dealt to none (-1) and so always learnt from."""
    fold = np.full(classes.size, -1, dtype=np.int64)
    next_fold = 0
    for code in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == code))
        if rows.size == 1 and np.unique(classes).size > 1:
            continue
        fold[rows] = (next_fold + np.arange(rows.size)) % folds
        next_fold = (next_fold + rows.size) % folds
    return fold


def share_out_groups(groups: Ints, classes: Ints, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose whole entities holding about the share of the rows, evenly over classes.

    Entities are taken class by class (an entity counts for the rarest class it holds); one that would overshoot is
    passed over, and of the others half at most are taken: what such a one leaves is all that folds can score. No class
    and not every entity is taken away whole.
    """
    sizes, kinds = _entities(groups, classes)
    order = rng.permutation(sizes.size)
    taken = np.zeros(sizes.size, dtype=np.bool_)
    for kind in np.unique(kinds):
        of_kind = order[kinds[order] == kind]
        room = fraction * float(sizes[of_kind].sum())
        room = min(room, max(fraction, 0.5) * float(sizes[of_kind][sizes[of_kind] <= room].sum()))
        for entity in of_kind:
            if sizes[entity] <= room:
                taken[entity] = True
                room -= float(sizes[entity])
    if not taken.any() and sizes.size > 1:
        taken[order[np.argmin(sizes[order], keepdims=True)]] = True
    chosen = taken[groups]
    for code in np.setdiff1d(np.unique(classes), np.unique(classes[~chosen])):
        chosen[np.isin(groups, groups[chosen & (classes == code)])] = False
    return chosen


def deal_groups(groups: Ints, classes: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """Deal whole entities to folds, even in rows and in classes.

    Every fold's learning rows hold every class: an entity that alone holds a class is dealt to none (-1).
    """
    sizes, kinds = _entities(groups, classes)
    shuffled = rng.permutation(sizes.size)
    order = shuffled[np.lexsort((-sizes[shuffled], kinds[shuffled]))]
    # There and back again, so that the first fold does not get the largest of every round.
    there = np.arange(folds)
    snake = np.concatenate([there, there[::-1]])
    fold = np.empty(sizes.size, dtype=np.int64)
    fold[order] = snake[np.arange(order.size) % snake.size]
    several = np.unique(classes).size > 1
    pairs = np.unique(np.stack([classes, groups]), axis=1)
    for code in np.unique(classes) if several else ():
        holders = pairs[1][pairs[0] == code]
        if np.unique(fold[holders]).size > 1 or -1 in fold[holders]:
            continue
        if holders.size == 1:
            fold[holders] = -1
        else:
            smallest = holders[np.argmin(sizes[holders])]
            fold[smallest] = (fold[smallest] + 1) % folds
    return np.asarray(fold[groups], dtype=np.int64)


def _entities(groups: Ints, classes: Ints) -> tuple[Ints, Ints]:
    """Return for each entity its number of rows, and the rarest class it holds (as a rank, rarest first)."""
    sizes = np.bincount(groups)
    counts = np.bincount(classes)
    rank = np.empty(counts.size, dtype=np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(counts.size)
    kinds = np.full(sizes.size, counts.size, dtype=np.int64)
    np.minimum.at(kinds, groups, rank[classes])
    return sizes.astype(np.int64), kinds
