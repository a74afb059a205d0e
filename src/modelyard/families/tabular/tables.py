"""Category tables: what one fold's training part teaches about each level of a category, as numbers.

Each level becomes its frequency rank, its count (in columns of many levels) and a smoothed mean of the target, or for
many classes, which have no one mean, its place among the levels by name. The rows that teach the mean never see their
own label in it: they get means of the other blocks of rows.

References
----------
Micci-Barreca, D. (2001). A preprocessing scheme for high-cardinality categorical attributes in classification and
prediction problems. SIGKDD Explorations 3(1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.inputs import Codes, Inputs, Singles

FEW_LEVELS = 12
SMOOTHING = 10.0
MOST_CLASSES = 6
BLOCKS = 5


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
        mean = (total + SMOOTHING * prior) / (mass + SMOOTHING)[:, None]
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
    overall = np.average(target, axis=0, weights=weights)
    prior = np.where(count[:, :, None] > 0, sums / np.maximum(count, 1e-12)[:, :, None], overall)
    for column, table in zip(inputs.codes.T, tables, strict=True):
        end += table.shape[1]
        size = table.shape[0]
        total, mass = _others(column + size * block, size, target, weights)
        mean = (total + SMOOTHING * prior) / (mass + SMOOTHING)[:, :, None]
        features[:, end - width : end] = mean[block, column].astype(np.float32)
    return features


def _sums(column: NDArray[np.integer], size: int, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    total = [np.bincount(column, weights * t, size) for t in target.T]
    stacked = np.stack(total, axis=1) if total else np.zeros((size, 0))
    mass: Floats = np.bincount(column, weights, size).astype(np.float64)
    return np.asarray(stacked, dtype=np.float64), mass


def _others(cell: NDArray[np.integer], size: int, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    total, mass = _sums(cell, size * BLOCKS, target, weights)
    total, mass = total.reshape(BLOCKS, size, -1), mass.reshape(BLOCKS, size)
    return total.sum(axis=0) - total, np.maximum(mass.sum(axis=0) - mass, 0.0)
