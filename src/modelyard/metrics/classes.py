"""Metrics of class codes, each read off the weighted confusion table.

Those of one class (`recall`, `precision`, `f1`, `specificity`) speak of the positive class, code 1; `of_class` turns
them to another. The others treat all classes alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelyard.metrics.metric import Context, Floats, Prepare, Scorer, Truth

Reading = Callable[[Floats], float]
"""From a confusion table [truth, prediction] of shape [k, k] to one number."""


def from_table(read: Reading) -> Prepare:
    """Return the `prepare` of a metric that needs the confusion table only."""

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        codes, said = truth.astype(np.int64), prediction.astype(np.int64)
        k = max(2, int(max(codes.max(), said.max())) + 1)
        cells = codes * k + said
        return lambda weights: read(np.bincount(cells, weights, k * k).astype(np.float64).reshape(k, k))

    return prepare


def accuracy(table: Floats) -> float:
    """Share of rows given their class."""
    return float(np.trace(table) / table.sum())


def balanced_accuracy(table: Floats) -> float:
    """Recall averaged over the classes that rows hold."""
    held = table.sum(axis=1)
    return float(np.mean((np.diag(table) / held)[held > 0]))


def recall(table: Floats) -> float:
    """Share of the positive rows that are found; NaN when there are none."""
    return float(table[1, 1] / table[1].sum())


def precision(table: Floats) -> float:
    """Share of the rows called positive that are; 0 when none is called so: the pessimistic reading."""
    called = table[:, 1].sum()
    return float(table[1, 1] / called) if called else 0.0


def specificity(table: Floats) -> float:
    """Share of the rows that are not positive and not called so; NaN when all are positive."""
    rest = table.sum() - table[1].sum()
    return float((rest - (table[:, 1].sum() - table[1, 1])) / rest)


def f1(table: Floats) -> float:
    """Harmonic mean of precision and recall; NaN when no row is positive and none is called so."""
    return float(2 * table[1, 1] / (table[1].sum() + table[:, 1].sum()))


def f1_macro(table: Floats) -> float:
    """F1 averaged over the classes that rows hold or are given."""
    total = table.sum(axis=0) + table.sum(axis=1)
    return float(np.mean((2 * np.diag(table) / total)[total > 0]))


def precision_macro(table: Floats) -> float:
    """Precision averaged over the classes that rows hold or are given; 0 for one that is never given."""
    given = table.sum(axis=0)
    each = np.where(given > 0, np.diag(table) / np.where(given > 0, given, 1), 0.0)
    return float(np.mean(each[given + table.sum(axis=1) > 0]))


def mcc(table: Floats) -> float:
    """Matthews correlation of truth and prediction; 0 when one of them is constant.

    References
    ----------
    Gorodkin (2004), "Comparing two K-category assignments by a K-category correlation coefficient".
    """
    held, given, n = table.sum(axis=1), table.sum(axis=0), table.sum()
    across = float(np.trace(table) * n - held @ given)
    spread = float(n * n - held @ held) * float(n * n - given @ given)
    return across / spread**0.5 if spread > 0 else 0.0
