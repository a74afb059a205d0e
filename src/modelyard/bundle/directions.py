"""Directions: the packed model's answer never falls where the brief asks it to rise, moved over whole columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.adversarial import Thresholds
from modelyard.bundle.parity import coarseness
from modelyard.bundle.runtimes.runtime import Runtime
from modelyard.core.errors import GateFailed
from modelyard.core.seeds import derive_seed
from modelyard.data.column import Column
from modelyard.data.dataset import Dataset, Floats
from modelyard.families.monotone import SIGNS

ROWS, ANSWERS = 256, 60_000
"""Rows that are moved, and answers asked for in all for each column: of many points fewer rows are moved."""
FEWEST = 20
"""Rows that are moved at least, however many the points."""
QUANTILES = 101


def check_directions(
    runtime: Runtime, rows: Dataset, thresholds: Thresholds, seed: int, logarithm: bool = False
) -> dict[str, Any]:
    """Move every column the brief gives a direction over its range, all else equal, and see that answers follow.

    The points are every threshold the graph's trees ask of the column, the value just above the last, quantiles of the
    column's values, and values far beyond either end: between two of them the trees answer alike, and a line moves one
    way. A missing value stands outside the order and is not moved to.

    Parameters
    ----------
    runtime : Runtime
        The packed model.
    rows : Dataset
        Real rows; some are drawn.
    thresholds : mapping of str to float32 array
        Split points of number columns (see `modelyard.bundle.parity.graph_thresholds`).
    seed : int
        Seeds the choice of rows.
    logarithm : bool
        Whether answers are exponentials of what the graph sums; see `modelyard.bundle.parity.coarseness`.

    Returns
    -------
    dict
        Facts for the manifest, by column: its direction, rows moved, points moved to, rows whose answer changed, the
        largest step the wrong way (one digit) and the limit it stays within, which is the rounding of float32. Empty
        where the brief asks for no direction.

    Raises
    ------
    GateFailed
        If an answer goes the wrong way by more than that.
    """
    facts: dict[str, Any] = {}
    for column in (c for c in rows.schema.features if c.monotone is not None):
        points = _points(rows.frame[column.name], column, thresholds)
        count = min(len(rows), max(FEWEST, min(ROWS, ANSWERS // len(points))))
        random = np.random.default_rng(derive_seed(seed, "directions", column.name))
        few = rows.take(np.sort(random.choice(len(rows), size=count, replace=False)))
        answers = _moved(runtime, few, points)
        along = SIGNS[column.monotone] * answers
        falls = np.maximum.accumulate(along, axis=1) - along
        limit = float(coarseness(answers, logarithm).max())
        if not falls.max() <= limit:
            raise _wrong(column, few, points, answers, falls)
        facts[column.name] = {
            "direction": column.monotone,
            "rows": count,
            "points": len(points),
            "changed": int((np.ptp(answers, axis=1) > limit).sum()),
            "largest": float(f"{falls.max():.0e}"),
            "limit": float(f"{limit:.3g}"),
        }
    return facts


def _points(values: pl.Series, column: Column, thresholds: Thresholds) -> pl.Series:
    if column.kind == "boolean":
        return pl.Series(column.name, [False, True], dtype=values.dtype)
    known = values.drop_nulls().to_numpy().astype(np.float64)
    seen = np.quantile(known, np.linspace(0, 1, QUANTILES)) if len(known) else np.zeros(1)
    beyond = 10 * (np.ptp(seen) or 1.0)
    asked = thresholds.get(column.name, np.zeros(0, dtype=np.float32))
    above = np.nextafter(asked[-1:], np.float32(np.inf))
    far = (seen[0] - beyond, seen[-1] + beyond)
    points = np.unique(np.concatenate([seen, asked.astype(np.float64), above.astype(np.float64), far]))
    return pl.Series(column.name, points[np.isfinite(points)], dtype=values.dtype)


def _moved(runtime: Runtime, rows: Dataset, points: pl.Series) -> Floats:
    """Return the answer of each row at each point, [n, points]: the positive class's probability, or the value."""
    n, m = len(rows), len(points)
    frame = rows.frame[np.repeat(np.arange(n), m)].with_columns(pl.concat([points] * n))
    return runtime.frame(frame)[:, -1].astype(np.float64).reshape(n, m)


def _wrong(column: Column, rows: Dataset, points: pl.Series, answers: Floats, falls: NDArray[np.float64]) -> GateFailed:
    row, after = (int(i) for i in np.unravel_index(int(np.argmax(np.nan_to_num(falls, nan=np.inf))), falls.shape))
    before = int(np.argmax(SIGNS[column.monotone] * answers[row, : after + 1]))
    held = {c.name: rows.frame[c.name][row] for c in rows.schema.features if c.name != column.name}
    return GateFailed(
        f"The brief asks for answers {column.monotone} with '{column.name}', and the packed model goes the other way: "
        f"{answers[row, before]:.6g} at {points[before]}, {answers[row, after]:.6g} at {points[after]}.",
        where=f"The row's other values: {held}",
        allowed="A difference of float32's rounding.",
        do="Nothing was packed. Please report this row and the recipe: a member does not hold to its direction.",
    )
