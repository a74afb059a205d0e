"""One column cut into levels: what single-feature baselines, screens and slices are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from modelyard.data.dataset import Floats, Ints
from modelyard.metrics.objective import quantile

_SHRINK = 10.0  # a level's mean leans on the overall mean as if that many rows of it had been seen


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """How a column is cut: at quantiles for numbers and dates, by value for the rest; what is missing stands alone.

    Attributes
    ----------
    edges : float64 array or None
        Inner edges of the bins of a number, increasing: bin i holds edges[i-1] < x <= edges[i].
    names : tuple of str
        Values that are levels of their own; every other value shares one level.
    """

    edges: Floats | None
    names: tuple[str, ...]

    @classmethod
    def of(cls, column: pl.Series, bins: int, most: int) -> Levels:
        """Cut a column into about `bins` bins of equal counts, or its `most` most frequent values."""
        if column.dtype in (pl.String, pl.Boolean):
            counts = column.cast(pl.String).drop_nulls().rename("level").value_counts(name="rows")
            ordered = counts.sort(["rows", "level"], descending=[True, False])
            return cls(None, tuple(ordered["level"].head(most).to_list()))
        values = numbers(column)
        values = values[~np.isnan(values)]
        if len(values) == 0:
            return cls(np.empty(0), ())
        inner = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
        edges = np.unique(inner)
        return cls(edges[edges < values.max()], ())

    def merged(self, column: pl.Series, least: int) -> Levels:
        """Return the levels with every bin of fewer rows joined to the smaller of its neighbours: ties make such."""
        if self.edges is None:
            return self
        edges = list(self.edges)
        counts = list(np.bincount(self.codes(column), minlength=len(self))[:-1])
        while edges and min(counts) < least:
            at = int(np.argmin(counts))
            ahead = at == 0 or (at < len(edges) and counts[at + 1] < counts[at - 1])
            at -= not ahead
            counts[at] += counts.pop(at + 1)
            del edges[at]
        return Levels(np.array(edges), ())

    def __len__(self) -> int:
        return len(self.names) + 2 if self.edges is None else len(self.edges) + 2

    def codes(self, column: pl.Series) -> Ints:
        """Return the level of each row; the last is for missing values, of texts the one before for other values."""
        if self.edges is not None:
            values = numbers(column)
            found = np.searchsorted(self.edges, values, side="left").astype(np.int64)
            found[np.isnan(values)] = len(self) - 1
            return found
        text = column.cast(pl.String)
        order = {name: i for i, name in enumerate(self.names)}
        known = text.replace_strict(order, default=len(self.names), return_dtype=pl.Int64)
        return np.where(text.is_null().to_numpy(), len(self) - 1, known.fill_null(len(self) - 1).to_numpy())


def numbers(column: pl.Series) -> Floats:
    """Return a number or a date (microseconds since 1970) as float64, NaN where missing."""
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).dt.epoch("us")
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.asarray(values, dtype=np.float64)


def level_means(codes: Ints, count: int, wanted: Floats, weights: Floats | None) -> Floats:
    """Return the mean of what is wanted on each level, leaning on the overall mean where rows are few.

    Parameters
    ----------
    codes : int array of shape [n]
        Level of each row.
    count : int
        Number of levels.
    wanted : float64 array of shape [n, k]
        What is averaged.
    weights : float64 array of shape [n], optional
        Sample weights.

    Returns
    -------
    float64 array of shape [count, k]
    """
    w = np.ones(len(codes)) if weights is None else weights
    overall = np.average(wanted, axis=0, weights=w) if w.sum() > 0 else wanted.mean(axis=0)
    rows = np.bincount(codes, w, minlength=count)
    sums = np.stack([np.bincount(codes, w * wanted[:, j], minlength=count) for j in range(wanted.shape[1])], axis=1)
    return np.asarray((sums + _SHRINK * overall) / (rows + _SHRINK)[:, None], dtype=np.float64)


def level_quantiles(codes: Ints, count: int, truth: Floats, weights: Floats | None, level: float) -> Floats:
    """Return the quantile of the truth on each level of a column, of shape [count]; of all rows where it has few."""
    found = np.full(count, quantile(truth, weights, level))
    for code in np.flatnonzero(np.bincount(codes, minlength=count) >= _SHRINK):
        own = codes == code
        some = None if weights is None else weights[own]
        if some is None or some.sum() > 0:
            found[code] = quantile(truth[own], some, level)
    return found


def explained(codes: Ints, count: int, wanted: Floats) -> float:
    """Return the share of variance that levels explain, less what as many random levels would (0 or more)."""
    rows = np.bincount(codes, minlength=count).astype(np.float64)
    centred = wanted - wanted.mean(axis=0)
    total = float((centred**2).sum())
    if total == 0:
        return 0.0
    between = 0.0
    for j in range(wanted.shape[1]):
        sums = np.bincount(codes, centred[:, j], minlength=count)
        between += float((sums[rows > 0] ** 2 / rows[rows > 0]).sum())
    used = int((rows > 0).sum())
    return max(0.0, between / total - (used - 1) / max(1, len(codes) - 1))
