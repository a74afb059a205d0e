"""Series: a long table taken apart into its series, each laid on its calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.core.errors import FamilyError
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.data.season import season_length, seasonal_scale, usual_horizon
from modelyard.families.forecast.calendar import Frequency, frequency

ALONE = ""
"""The name of the only series of a table without a series column."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One series as it was observed.

    Attributes
    ----------
    name : str
        Value of the series column.
    times : int64 array of shape [n]
        Moments, increasing: microseconds since 1970, or millionths of a numeric time's unit.
    values : float64 array of shape [n]
        The label.
    rows : int64 array of shape [n]
        Where they stand in the table.
    frequency : Frequency
        Its rhythm.
    season : int
        Observations in one season; 1 where there is none.
    horizon : int
        Observations to forecast.
    """

    name: str
    times: Ints
    values: Floats
    rows: Ints
    frequency: Frequency
    season: int
    horizon: int

    def where(self, chosen: NDArray[np.bool_]) -> Series | None:
        """Return the observations chosen by a mask over the table's rows, or None when there is none."""
        keep = chosen[self.rows]
        if not keep.any():
            return None
        return replace(self, times=self.times[keep], values=self.values[keep], rows=self.rows[keep])

    def even(self) -> Floats:
        """Return the values at every step from the first to the last; missing steps are drawn as a straight line."""
        steps = self.frequency.steps(int(self.times[0]), self.times)
        return np.interp(np.arange(steps[-1] + 1), steps, self.values)

    def scale(self) -> float:
        """Return what a series' errors are measured in: the error of the seasonal naive forecast within it."""
        return seasonal_scale(self.even(), self.season)


def moments(data: Dataset) -> Ints:
    """Return when each row is, int64 of shape [n]: microseconds since 1970, or millionths of a numeric time's unit.

    Raises
    ------
    FamilyError
        If the table has no time column, or a row has no time.
    """
    column = next((c for c in data.schema.columns if c.role == "time" and c.name in data.frame.columns), None)
    if column is None:
        raise FamilyError("A forecast needs a time column.", do="Name it in the brief as data.time.")
    times = data.frame[column.name]
    if times.null_count():
        raise FamilyError(
            f"{times.null_count()} of {len(times)} rows have no time.",
            where=column.name,
            do="Fill or leave out those rows.",
        )
    if isinstance(times.dtype, pl.Datetime):
        return times.dt.epoch("us").to_numpy().astype(np.int64)
    return np.rint(times.cast(pl.Float64).to_numpy() * 1e6).astype(np.int64)


def names(data: Dataset) -> list[str]:
    """Return the series each row belongs to, as text."""
    column = next((c for c in data.schema.columns if c.role == "group" and c.name in data.frame.columns), None)
    if column is None:
        return [ALONE] * len(data)
    return data.frame[column.name].cast(pl.String).fill_null(ALONE).to_list()


def by_name(data: Dataset) -> Iterator[tuple[str, Ints]]:
    """Yield each series of a table, in order of name, with the positions of its rows."""
    rows = pl.DataFrame({"name": names(data)}).with_row_index("row")
    for (name,), part in rows.group_by(["name"], maintain_order=True):
        yield str(name), part["row"].to_numpy().astype(np.int64)


def take_apart(data: Dataset, season: int | None = None, horizon: int | None = None) -> list[Series]:
    """Take a long table apart into its series, in order of name.

    Parameters
    ----------
    data : Dataset
        With a time, a label and, for several series, a group column.
    season : int, optional
        Observations in one season; default: what the moments suggest.
    horizon : int, optional
        Observations to forecast; default: what is usual for the moments' spacing.

    Raises
    ------
    FamilyError
        If two rows of one series have the same time, or no series has two rows.
    """
    times, values = moments(data), data.truth().astype(np.float64)
    dates = any(c.role == "time" and c.kind == "date" for c in data.schema.columns)
    laid: list[tuple[str, Ints, Frequency | None]] = []
    for name, found in sorted(by_name(data), key=lambda pair: pair[0]):
        rows = found[np.argsort(times[found], kind="stable")]
        if (np.diff(times[rows]) == 0).any():
            raise FamilyError(
                f"Series '{name}' has two rows of the same time." if name else "Two rows have the same time.",
                do="Keep one of them, or name the column that tells the series apart as data.group in the brief.",
            )
        laid.append((name, rows, frequency(times[rows], dates)))
    known = Counter(rhythm for _, _, rhythm in laid if rhythm is not None)
    if not known:
        raise FamilyError("No series has two rows: there is no rhythm to go by.", do="Bring more rows for each series.")
    usual = known.most_common(1)[0][0]
    return [
        Series(
            name,
            times[rows],
            values[rows],
            rows,
            rhythm or usual,
            season or season_length(times[rows] / 1e6),
            horizon or usual_horizon(times[rows] / 1e6),
        )
        for name, rows, rhythm in laid
    ]
