"""ahead: columns that only say how late a row is, found by whether later rows still hold what earlier ones held."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Dataset
from modelyard.encoding.encoding import Encoding
from modelyard.families.tabular.inputs import Inputs

LATER = 0.3
"""Part of the rows, the last ones, that are held against those before them."""
MOST = 0.5
"""Part of their values that may be new before a column says more of the moment than of the row."""


@lru_cache(maxsize=1)  # every candidate asks it of the same rows
def ahead(data: Dataset, inputs: Inputs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the places of numbers and of codes that follow the time column, as that itself does.

    A month seen for the first time, a serial number, the year of a date: rows to come hold values that no row learnt
    from had, so what a model reads from the known ones is not about them. A number follows time where most later rows
    lie outside the range of the earlier ones, a category where most have a level that those never had.

    Parameters
    ----------
    data : Dataset
        Rows of a split that goes forward in time.
    inputs : Inputs
        The same rows, encoded.
    """
    moments = data.times()
    own = Encoding.of(data.schema).elapsed
    if moments is None or len(data) < 2:
        return own, ()
    later = moments > np.quantile(moments, 1 - LATER)
    if not later.any():  # so many rows of the last moment that none comes after
        return own, ()
    numbers = (i for i, column in enumerate(inputs.numbers.T) if _outside(column[~later], column[later]) > MOST)
    codes = (i for i, column in enumerate(inputs.codes.T) if _new(column[~later], column[later]) > MOST)
    return tuple(sorted({*own, *numbers})), tuple(codes)


def _outside(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return the part of later numbers that lie outside the range of earlier ones."""
    known, told = before[~np.isnan(before)], after[~np.isnan(after)]
    if not len(known) or not len(told):
        return 0.0
    return float(((told < known.min()) | (told > known.max())).mean())


def _new(before: NDArray[np.int32], after: NDArray[np.int32]) -> float:
    """Return the part of later rows whose level no earlier row had."""
    return float((~np.isin(after, before)).mean())
