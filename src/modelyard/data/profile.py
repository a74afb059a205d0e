"""Profile: what a table looks like, small enough to ship in a bundle and to add up across workers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from modelyard.core.errors import DataError
from modelyard.data.dataset import Dataset, Floats

PREDICTION = "prediction"
_BINS = 20
_MOST_LEVELS = 1000
"""Far more than drift can tell apart (each has at least 0.5 % of the rows), so that the cut itself favours no level."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Counts of one column: additive, so two profiles over the same bins can be summed.

    Attributes
    ----------
    name, kind : str
        As in the schema.
    edges : tuple of float
        Inner bin edges of a number, of a date, or of the words a text has, increasing; ``len(edges) + 1`` bins, bin i
        holding edges[i-1] < x <= edges[i].
    levels : tuple of str
        Levels of a category or boolean; one more count stands for every other level.
    counts : tuple of int
        Rows in each bin or level (for levels, ``len(levels) + 1`` of them).
    missing : int
        Rows without a value.
    mean, deviation, low, high : float or None
        Of a number, or of a text's words: no text is kept.
    """

    name: str
    kind: str
    edges: tuple[float, ...]
    levels: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a table looks like.

    Attributes
    ----------
    rows : int
        Rows it was made from.
    columns : tuple of ColumnProfile
        One for each feature, and one for the prediction (named ``"prediction"``) once there is a model.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile:
        """Return the profile of one column.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        found = next((c for c in self.columns if c.name == name), None)
        if found is None:
            raise KeyError(name)
        return found


def profile(data: Dataset, answers: Floats | None = None, like: Profile | None = None) -> Profile:
    """Count what a table looks like.

    Parameters
    ----------
    data : Dataset
        Its features are profiled; a time column is not, as it never stands still.
    answers : float64 array, optional
        What a model said of the rows: P(positive) or values ``[n]``, or probabilities ``[n, k]``, of which the
        likeliest class is counted.
    like : Profile, optional
        Take the bins of this one, so that the two can be compared or summed; a column it does not have is passed over.

    Returns
    -------
    Profile
        In each column, counts and missing add up to the rows. Bins of a number hold about equally many rows.
    """
    held = {} if like is None else {c.name: c for c in like.columns}
    columns = []
    present = {series.name: series for series in data.frame.iter_columns()}
    for column in data.schema.features:
        if column.role == "time" or column.name not in present or (like is not None and column.name not in held):
            continue
        columns.append(_column(present[column.name], column.name, column.kind, held.get(column.name)))
    if answers is not None and (like is None or PREDICTION in held):
        columns.append(_column(_said(answers, data), PREDICTION, _said_kind(answers), held.get(PREDICTION)))
    return Profile(len(data), tuple(columns))


def add(one: Profile, other: Profile) -> Profile:
    """Sum two profiles over the same bins, as if their rows had been one table.

    Raises
    ------
    DataError
        If their columns or bins differ.
    """
    bins = [[(c.name, c.edges, c.levels) for c in p.columns] for p in (one, other)]
    if bins[0] != bins[1]:
        raise DataError("Two profiles over different bins cannot be summed.", do="Make the second one like the first.")
    pairs = zip(one.columns, other.columns, strict=True)
    return Profile(one.rows + other.rows, tuple(_sum(a, b) for a, b in pairs))


def _said(answers: Floats, data: Dataset) -> pl.Series:
    if answers.ndim == 1:
        return pl.Series(PREDICTION, answers, dtype=pl.Float64)
    names = np.array(data.schema.classes, dtype=object)
    return pl.Series(PREDICTION, names[answers.argmax(axis=1)].tolist(), dtype=pl.String)


def _said_kind(answers: Floats) -> str:
    return "number" if answers.ndim == 1 else "category"


def _column(series: pl.Series, name: str, kind: str, like: ColumnProfile | None) -> ColumnProfile:
    if kind in ("number", "date"):
        spots = series.dt.epoch("us").cast(pl.Float64) / 1e6 if series.dtype.is_temporal() else series
        values = spots.cast(pl.Float64).fill_nan(None).drop_nulls().to_numpy()
        return _of_values(name, kind, values, len(series) - values.size, like)
    if kind == "text":
        words = series.str.count_matches(r"\S+").cast(pl.Float64)
        return _of_values(name, kind, words.drop_nulls().to_numpy(), series.null_count(), like)
    texts = series.cast(pl.String) if series.dtype != pl.Boolean else _truths(series)
    counted = texts.drop_nulls().rename("level").value_counts(name="rows")
    counts = dict(zip(counted["level"].to_list(), counted["rows"].to_list(), strict=True))
    ordered = sorted(counts, key=lambda level: (-counts[level], level))
    levels = tuple(ordered[:_MOST_LEVELS]) if like is None else like.levels
    known = [counts.get(level, 0) for level in levels]
    other = sum(counts.values()) - sum(known)
    return ColumnProfile(name, kind, (), levels, (*known, other), series.null_count())


def _truths(series: pl.Series) -> pl.Series:
    return series.replace_strict([False, True], ["False", "True"], default=None, return_dtype=pl.String)


def _of_values(name: str, kind: str, values: Floats, missing: int, like: ColumnProfile | None) -> ColumnProfile:
    edges = _edges(values) if like is None else np.asarray(like.edges, dtype=np.float64)
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=edges.size + 1)
    made = ColumnProfile(name, kind, tuple(edges.tolist()), (), tuple(counts.tolist()), missing)
    if not values.size:
        return made
    low, high = float(values.min()), float(values.max())
    mean, deviation = _moments(values, low, high)
    return replace(made, mean=mean, deviation=deviation, low=low, high=high)


def _moments(values: Floats, low: float, high: float) -> tuple[float, float]:
    """Return mean and standard deviation of anything finite: sums and squares are taken of values scaled below 1."""
    power = math.frexp(max(-low, high))[1]
    scaled = np.ldexp(values, -power)
    mean, deviation = math.ldexp(float(scaled.mean()), power), math.ldexp(float(scaled.std()), power)
    return _within(mean, deviation, low, high)


def _within(mean: float, deviation: float, low: float, high: float) -> tuple[float, float]:
    """Return moments as no rounding leaves them: inside the range, and at most half of it."""
    return min(max(mean, low), high), min(deviation, high / 2 - low / 2)


def _edges(values: Floats) -> Floats:
    """Return inner edges at observed values: every one where they are few, else at equal shares of the rows."""
    if not values.size:
        return np.empty(0)
    distinct = np.unique(values)
    if distinct.size > _BINS + 1:
        places = -(-np.arange(1, _BINS) * values.size // _BINS) - 1  # where so many of the rows are at most as large
        distinct = np.append(np.unique(np.sort(values)[places]), distinct[-1])
    return np.asarray(distinct[distinct < values.max()], dtype=np.float64)


def _sum(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    counts = tuple(x + y for x, y in zip(a.counts, b.counts, strict=True))
    both = replace(a, counts=counts, missing=a.missing + b.missing)
    if b.mean is None or b.deviation is None or b.low is None or b.high is None:
        return both
    if a.mean is None or a.deviation is None or a.low is None or a.high is None:
        return replace(both, mean=b.mean, deviation=b.deviation, low=b.low, high=b.high)
    n, m = sum(a.counts), sum(b.counts)
    share = m / (n + m)
    between = math.sqrt(share * (1 - share))
    # No square and no difference that could overflow is taken.
    mean = (1 - share) * a.mean + share * b.mean
    gap = between * b.mean - between * a.mean
    deviation = math.hypot(math.sqrt(1 - share) * a.deviation, math.sqrt(share) * b.deviation, gap)
    low, high = min(a.low, b.low), max(a.high, b.high)
    mean, deviation = _within(mean, deviation, low, high)
    return replace(both, mean=mean, deviation=deviation, low=low, high=high)
