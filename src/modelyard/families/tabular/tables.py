"""Category tables: what one fold's training part teaches about each level of a category, as numbers.

Each level becomes its frequency rank, its count (in columns of many levels) and a smoothed mean of the target, or for
many classes, which have no one mean, its place among the levels by name. The rows that teach the mean never see their
own label in it: they get means of the other blocks of rows.

References
----------
Micci-Barreca, D. (2001). A preprocessing scheme for high-cardinality categorical attributes in classification and
prediction problems. SIGKDD Explorations 3(1).
Searle, S. R., Casella, G. and McCulloch, C. E. (1992). Variance components, chapter 3: levels of unequal rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.inputs import Codes, Inputs, Singles

FEW_LEVELS = 12
SMOOTHING, LEAST = 10.0, 0.5
"""Rows that the mean of all is worth beside those of a level, at most and at least."""
TOLD = 100
"""Levels from which on a column says how far its levels lie apart."""
MOST_CLASSES = 6
BLOCKS = 5
_NOTHING = 1e-9


def targets(truth: Ints | Floats, classes: int, most: int = MOST_CLASSES) -> Floats:
    """Return what is averaged for each level: [n, t], one column for two classes or a number, none for many classes.

    Parameters
    ----------
    truth : array of shape [n]
        Class codes, or standardised values.
    classes : int
        Number of classes; 0 for a number.
    most : int
        Of more classes than these none is averaged.
    """
    if classes > most:
        return np.zeros((len(truth), 0))
    if classes > 2:
        return np.eye(classes)[truth.astype(np.int64)]
    return truth.astype(np.float64)[:, None]


def blocks(rows: int, seed: int, groups: Ints | None) -> Ints:
    """Deal rows into blocks for cross-fitting, whole groups together.

    Not by time, even where the split is: all these rows come before those that are scored, and means that each block
    takes from another span, or from the few rows before it, tell trees which block a row is in, and so its level. On
    rows to come such means have no like.
    """
    rng = np.random.default_rng(seed)
    if groups is not None:
        names, place = np.unique(groups, return_inverse=True)
        return (rng.permutation(len(names)) % BLOCKS)[place].astype(np.int64)
    return (rng.permutation(rows) % BLOCKS).astype(np.int64)


def fit_tables(codes: Codes, sizes: Sequence[int], target: Floats, weights: Floats) -> tuple[Singles, ...]:
    """Return for each column a float32 table [L + 2, width]: a row for each level, one for unseen, one for missing."""
    prior = np.average(target, axis=0, weights=weights) if len(target) else np.zeros(target.shape[1])
    found = []
    for column, size in zip(codes.T, sizes, strict=True):
        count = np.bincount(column, minlength=size + 2).astype(np.float64)
        rank = np.full(size + 2, float(size))
        rank[np.argsort(-count[:size], kind="stable")] = np.arange(size)
        rank[:size][count[:size] == 0] = size
        rank[size + 1] = -1.0
        total, mass = _sums(column, size + 2, target, weights)
        worth = _worth(total, mass, weights @ np.square(target))
        mean = (total + worth * prior) / (mass[:, None] + worth)
        # Without a mean, what the names order (ranks of a scale, letters of a board) is all there is to split on.
        named = [] if target.shape[1] else [np.arange(size + 2, dtype=np.float64)[:, None]]
        parts = [rank[:, None], *named, *([count[:, None]] if size > FEW_LEVELS else []), mean]
        found.append(np.concatenate(parts, axis=1).astype(np.float32))
    return tuple(found)


def look_up(inputs: Inputs, tables: Sequence[Singles]) -> Singles:
    """Return the feature matrix [n, p + sum of widths] of rows the tables did not learn from."""
    return np.concatenate([inputs.numbers, *(t[c] for t, c in zip(tables, inputs.codes.T, strict=True))], axis=1)


def cross_fit(
    inputs: Inputs,
    tables: Sequence[Singles],
    target: Floats,
    weights: Floats,
    block: Ints,
) -> Singles:
    """Return the feature matrix of the rows the tables learnt from, target means taken from other rows only.

    Parameters
    ----------
    block : int array of shape [n]
        Block of each row; a row sees the other blocks.
    """
    features = look_up(inputs, tables)
    width = target.shape[1]
    if width == 0 or not len(tables):
        return features
    end = inputs.numbers.shape[1]
    sums, count = _others(block, 1, target, weights)
    squares = _others(block, 1, np.square(target), weights)[0][:, 0]
    overall = np.average(target, axis=0, weights=weights)
    prior = np.where(count[:, :, None] > 0, sums / np.maximum(count, 1e-12)[:, :, None], overall)
    for column, table in zip(inputs.codes.T, tables, strict=True):
        end += table.shape[1]
        size = table.shape[0]
        total, mass = _others(column + size * block, size, target, weights)
        worth = _worth(total, mass, squares)[:, None]
        mean = (total + worth * prior) / (mass[:, :, None] + worth)
        features[:, end - width : end] = mean[block, column].astype(np.float32)
    return features


def _worth(total: Floats, mass: Floats, squares: Floats) -> Floats:
    """Return how many rows of a level the mean of all rows is worth: variance within levels over that between them.

    Under as many the mean of a level is off by least on average. Never more than `SMOOTHING`, though where levels say
    little that were more. Of few levels nobody can tell how far they lie apart.

    Parameters
    ----------
    total, mass : float64 arrays of shape [..., L, t] and [..., L]
        Sums of the target, and of weights, by level.
    squares : float64 array of shape [..., t]
        Sums of the target's squares over all levels.
    """
    held = mass > _NOTHING
    rows, levels = mass.sum(axis=-1)[..., None], held.sum(axis=-1)[..., None]
    explained = (np.square(total) / np.where(held, mass, np.inf)[..., None]).sum(axis=-2)
    within = (squares - explained) / np.maximum(rows - levels, _NOTHING)
    spread = explained - np.square(total.sum(axis=-2)) / np.maximum(rows, _NOTHING)
    even = rows - np.square(mass).sum(axis=-1)[..., None] / np.maximum(rows, _NOTHING)
    between = (spread - (levels - 1) * within) / np.maximum(even, _NOTHING)
    worth = np.clip(within / np.maximum(between, _NOTHING), LEAST, SMOOTHING)
    return np.asarray(np.where((levels >= TOLD) & (rows > levels + 1), worth, SMOOTHING), dtype=np.float64)


def _sums(column: NDArray[np.integer], size: int, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    total = [np.bincount(column, weights * t, size) for t in target.T]
    stacked = np.stack(total, axis=1) if total else np.zeros((size, 0))
    mass: Floats = np.bincount(column, weights, size).astype(np.float64)
    return np.asarray(stacked, dtype=np.float64), mass


def _others(cell: NDArray[np.integer], size: int, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    total, mass = _sums(cell, size * BLOCKS, target, weights)
    total, mass = total.reshape(BLOCKS, size, -1), mass.reshape(BLOCKS, size)
    return total.sum(axis=0) - total, np.maximum(mass.sum(axis=0) - mass, 0.0)
