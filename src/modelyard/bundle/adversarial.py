"""Adversarial rows: values on which a packed model and the trained one are likeliest to part, if they ever do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.column import Column
from modelyard.data.dataset import Dataset, Floats

Thresholds = Mapping[str, NDArray[np.float32]]
"""Split points by name of the encoding's numbers: of a column, or ``column.days`` of a date."""

UNSEEN = "\u2205 never seen"
_LARGEST = float(np.finfo(np.float32).max)
_SIZES = (
    0.0,
    5e-324,  # nothing in float32
    1e-45,  # the least there is in it
    1e-40,
    1e-38,
    1e-35,  # nearer to zero LightGBM reads zero
    1.0,
    2.0**24 + 1,  # whole numbers that float32 lacks
    2.0**53 + 2,
    2.0**63,
    2.0**64,
    1e30,
    _LARGEST,
    float(np.nextafter(_LARGEST, np.inf)),
    1e39,  # infinite in float32
    float(np.finfo(np.float64).max),
)
_MOMENTS = (
    datetime(1, 1, 1),
    datetime(1900, 2, 28, 23, 59, 59, 999_999),
    datetime(1969, 12, 31, 23, 59, 59, 999_999),
    datetime(1970, 1, 1),
    datetime(2000, 2, 29, 12),
    datetime(2038, 1, 19, 3, 14, 8),
    datetime(9999, 12, 31, 23, 59, 59, 999_999),
)
_STRINGS = (UNSEEN, "", " ", "\0", "nan", "None", "0", "1.0", "True", "\u00c5\U0001f642\u0301", "x" * 5_000)
_DAY = timedelta(days=1)
_CHANGED = (0.0, 0.2, 0.6)
"""Chance that a cell of a row is changed, beside the one that always is."""


def adversarial(rows: Dataset, thresholds: Thresholds, count: int, random: np.random.Generator) -> Dataset:
    """Return rows that are real but for some cells, which hold what is hardest to answer alike.

    Numbers stand exactly at a split's threshold, one float32 or one float64 beside it, are denormal, negative zero,
    larger than an integer or a float32 can be, or missing; categories were never seen, belong to another column, differ
    by a blank or in case, or are missing; dates lie at the ends of the calendar or within a microsecond of a
    threshold. Infinities and NaN are not among them: the schema refuses the first and reads the second as missing.

    Parameters
    ----------
    rows : Dataset
        Real rows to change, at least one.
    thresholds : mapping of str to float32 array
        See `modelyard.bundle.parity.graph_thresholds`.
    count : int
        Rows to return.
    random : numpy.random.Generator
        Makes the choices.
    """
    base = rows.take(random.integers(len(rows), size=count))
    held = set(rows.frame.columns)
    columns = [c for c in rows.schema.features if c.name in held]
    chance = random.choice(_CHANGED, size=(count, 1))
    changed = random.random((count, len(columns))) < chance
    changed[np.arange(count), random.integers(len(columns), size=count)] = True
    levels = sorted({level for c in columns for level in c.levels})
    made, types = [], base.frame.schema
    for column, put in zip(columns, changed.T, strict=True):
        wanted = int(put.sum())
        values = base.frame[column.name].to_list()
        found = iter(_values(column, thresholds, levels, wanted, random))
        kept = [next(found) if new else value for new, value in zip(put, values, strict=True)]
        made.append(pl.Series(column.name, kept, dtype=types[column.name]))
    return Dataset(base.frame.with_columns(made), rows.schema, rows.fingerprint)


def _values(
    column: Column, thresholds: Thresholds, levels: list[str], count: int, random: np.random.Generator
) -> list[Any]:
    """Return hard values of one column, a quarter of them missing."""
    if column.kind == "number":
        found = _numbers(thresholds.get(column.name), count, random)
    elif column.kind == "date":
        found = _dates(thresholds.get(f"{column.name}.days"), count, random)
    elif column.kind == "boolean":
        found = random.choice([True, False], size=count).tolist()
    else:
        own = column.levels or (UNSEEN,)
        near = [f"{own[0]} ", f"{own[0]}\0", own[0].swapcase(), own[0][:-1] or UNSEEN]
        pool = [*_STRINGS, *near, *(random.choice(levels, size=8).tolist() if levels else [])]
        found = [pool[i] for i in random.integers(len(pool), size=count)]
    gone = random.random(count) < 0.25
    return [None if missing else value for missing, value in zip(gone, found, strict=True)]


def _numbers(points: NDArray[np.float32] | None, count: int, random: np.random.Generator) -> list[Any]:
    sizes = random.choice(_SIZES, size=count) * random.choice([-1.0, 1.0], size=count)
    if points is None:
        return sizes.tolist()  # type: ignore[no-any-return]
    return np.where(random.random(count) < 0.5, sizes, _beside(points, count, random)).tolist()  # type: ignore[no-any-return]


def _beside(points: NDArray[np.float32], count: int, random: np.random.Generator) -> Floats:
    """Return thresholds, and what lies next to them in float32 and in float64."""
    at = random.choice(points, size=count)
    side = random.choice(np.array([-np.inf, np.inf], dtype=np.float32), size=count)
    kinds = [
        at.astype(np.float64),
        np.nextafter(at, side).astype(np.float64),
        np.nextafter(at.astype(np.float64), side),
    ]
    return np.asarray(np.choose(random.integers(3, size=count), kinds), dtype=np.float64)


def _dates(points: NDArray[np.float32] | None, count: int, random: np.random.Generator) -> list[Any]:
    found: list[datetime] = [_MOMENTS[i] for i in random.integers(len(_MOMENTS), size=count)]
    if points is None:
        return found
    first, last = (float((moment - datetime(1970, 1, 1)) / _DAY) for moment in (_MOMENTS[0], _MOMENTS[-1]))
    near = np.clip(_beside(points, count, random), first + 1, last - 1)
    for i in np.flatnonzero(random.random(count) < 0.5):
        found[i] = datetime(1970, 1, 1) + float(near[i]) * _DAY
    return found
