"""What one column alone says of the label: cross-fitted, so that a column of many levels is not flattered."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.dataset import Dataset, Floats, Ints

_BINS = 50
_SMOOTH = 5.0
_SMOOTH_VALUES = 1.0


def halves_of(data: Dataset, seed: int) -> Ints:
    """Return 0 or 1 for each row; an entity lies in one half."""
    rng, groups = np.random.default_rng(seed), data.groups()
    if groups is None or int(groups.max()) == 0:
        return rng.permutation(len(data)) % 2
    return np.asarray((rng.permutation(int(groups.max()) + 1) % 2)[groups], dtype=np.int64)


def codes_of(series: pl.Series) -> Ints:
    """Return a bin for each row: levels of a category, equal-frequency bins of a number, one bin for the missing."""
    if series.dtype in (pl.String, pl.Boolean):
        return series.cast(pl.String).fill_null("").rank("dense").cast(pl.Int64).to_numpy() - 1
    values = series.to_physical().cast(pl.Float64).to_numpy()
    missing = np.isnan(values)
    present = values[~missing]
    if not present.size:
        return np.zeros(values.size, dtype=np.int64)
    edges = np.unique(present)
    if edges.size > _BINS:
        edges = np.unique(np.quantile(present, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    codes = np.searchsorted(edges, values, side="left")
    codes[missing] = edges.size + 1
    return np.asarray(codes, dtype=np.int64)


def score_alone(codes: Ints, data: Dataset, truth: Ints | Floats, halves: Ints) -> float:
    """Return how well the bins alone tell the label.

    Each half is guessed by what the other half shows of its bins.

    Returns
    -------
    float
        ROC AUC for two classes; for more, the mean AUC of one class against the rest, weighted by its rows; R2 for
        values. Cross-fitting puts a useless column at 0.5 (or 0).
    """
    count = len(data.schema.classes)
    if not count:
        return _value_score(codes, np.asarray(truth, dtype=np.float64), halves)
    classes = np.asarray(truth, dtype=np.int64)
    seen = int(codes.max()) + 1
    tables = [
        np.bincount(codes[halves == half] * count + classes[halves == half], minlength=seen * count)
        .reshape(seen, count)
        .astype(np.float64)
        for half in (0, 1)
    ]
    scores, weights = [], []
    for one in range(count) if count > 2 else (1,):
        found = [a for fit, said in (tables, tables[::-1]) if (a := _auc(fit, said, one)) is not None]
        if found:
            scores.append(float(np.mean(found)))
            weights.append(float(tables[0][:, one].sum() + tables[1][:, one].sum()))
    return float(np.average(scores, weights=weights)) if scores else 0.5


def order_alone(series: pl.Series, truth: Ints) -> float:
    """Return the ROC AUC of the order of a column's numbers, rising or falling, for two classes.

    Nothing is fitted, so that a column that knows the label reaches 1 in the smallest table, where bins do not. Only
    rows with a number count; 0.5 where these are under half of the rows, or of one class.
    """
    present = series.is_not_null()
    yes = truth[present.to_numpy()] == 1
    ones, rest = int(yes.sum()), int((~yes).sum())
    if not ones or not rest or 2 * yes.size < truth.size:
        return 0.5
    ranks = series.filter(present).rank("average").to_numpy()
    area = float((ranks[yes].sum() - ones * (ones + 1) / 2) / (ones * rest))
    return max(area, 1 - area)


def _auc(fit: Floats, said: Floats, one: int) -> float | None:
    """Return the AUC of one class on one half's bin counts, the bins ordered by its share in the other half."""
    rate = fit[:, one].sum() / max(fit.sum(), 1.0)
    guess = (fit[:, one] + _SMOOTH * rate) / (fit.sum(axis=1) + _SMOOTH)
    levels, at = np.unique(guess, return_inverse=True)
    yes = np.bincount(at, weights=said[:, one], minlength=levels.size)
    no = np.bincount(at, weights=said.sum(axis=1) - said[:, one], minlength=levels.size)
    pairs = yes.sum() * no.sum()
    if not pairs:
        return None
    return float((yes * (np.cumsum(no) - 0.5 * no)).sum() / pairs)


def _value_score(codes: Ints, truth: Floats, halves: Ints) -> float:
    size, guess = int(codes.max()) + 1, np.empty(truth.size)
    for half in (0, 1):
        fit, say = halves != half, halves == half
        if not fit.any():
            return 0.0
        mean = truth[fit].mean()
        total = np.bincount(codes[fit], weights=truth[fit], minlength=size)
        count = np.bincount(codes[fit], minlength=size)
        guess[say] = ((total + _SMOOTH_VALUES * mean) / (count + _SMOOTH_VALUES))[codes[say]]
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - guess) ** 2).sum()) / spread if spread > 0 else 0.0


def rank_agreement(series: pl.Series, truth: Floats, least: int) -> float:
    """Return the squared rank correlation of a number with values: 1 for any rising or falling function of them.

    Fewer than `least` rows with a value give 0.
    """
    both = pl.DataFrame({"x": series.to_physical().cast(pl.Float64), "y": truth}).drop_nulls()
    if both.height < least:
        return 0.0
    found = both.select(pl.corr("x", "y", method="spearman")).item()
    return 0.0 if found is None or found != found else float(found) ** 2


def pure_share(codes: Ints, truth: Ints) -> float:
    """Return the share of rows in bins of one class only where chance would not leave a bin so pure.

    Of a column known only afterwards, one value often rules the outcome out: whoever is alive did not die.
    """
    rate = float(truth.mean())
    rows = np.bincount(codes).astype(np.float64)
    ones = np.bincount(codes, weights=truth.astype(np.float64))
    # A bin of n rows is pure by chance with probability (1 - rate)^n, or rate^n.
    with np.errstate(divide="ignore"):
        none = (ones == 0) & (rows * np.log1p(-rate) < _CHANCE)
        every = (ones == rows) & (rows * np.log(rate) < _CHANCE)
    return float(rows[none | every].sum() / rows.sum())


_CHANCE = float(np.log(1e-9))


def missing_rates(missing: NDArray[np.bool_], truth: Ints, classes: int) -> Floats:
    """Return the share of missing values in each class, of shape [classes]."""
    total = np.bincount(truth, minlength=classes)
    return np.asarray(np.bincount(truth, weights=missing, minlength=classes) / np.maximum(total, 1), dtype=np.float64)
