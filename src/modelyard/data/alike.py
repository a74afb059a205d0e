"""Rows by what they hold and not by where they stand: one order of every shuffled table, and copies of one row."""

from __future__ import annotations

import numpy as np
import polars as pl

from modelyard.data.dataset import Dataset, Ints

_PLACE = "\0place"
_TELLING = 32
"""Columns that most often tell all rows apart; sorting by thousands of them takes seconds."""


def order_by_content(data: Dataset, rng: np.random.Generator) -> Ints:
    """Return the positions of a table's rows in an order that is the same however its rows and columns were shuffled.

    Rows are sorted by all their columns, taken by name, and then dealt out by the generator, so that neighbours have
    nothing in common. Rows that agree in everything stand in any order: nothing tells them apart.
    """
    held = set(data.frame.columns)
    names = sorted(c.name for c in data.schema.columns if c.name in held)
    if not bool(data.frame.select(pl.struct(names[:_TELLING]).is_duplicated().any()).item()):
        names = names[:_TELLING]
    order = data.frame.select(names).select(pl.arg_sort_by(names, maintain_order=True)).to_series()
    return order.cast(pl.Int64).to_numpy()[rng.permutation(len(data))]


def copies(data: Dataset) -> Ints | None:
    """Return an integer for each row that copies of a row share, or None where no row has one.

    Rows that agree in every feature, whatever their label, are copies where chance would not bring forth two of them:
    where the product of how frequent each of their values is leaves less than one such row to expect. So a table of a
    few columns of a few levels, whose rows repeat as a matter of course, has none.
    """
    names = [c.name for c in data.schema.columns if c.role == "feature"]
    if not names or data.schema.task == "forecast":
        return None
    repeated = data.frame.select(pl.struct(names).is_duplicated()).to_series()
    if not bool(repeated.any()):
        return None
    likely = pl.sum_horizontal([(pl.len().over(name) / data.frame.height).log() for name in names])
    unlikely = data.frame.select(likely + np.log(data.frame.height) < 0).to_series()
    twin = (repeated & unlikely).to_numpy()
    if not twin.any():
        return None
    unit = np.arange(len(data), dtype=np.int64)
    place = data.frame.select(names).with_columns(pl.Series(_PLACE, unit))
    first = place.select(pl.col(_PLACE).min().over(names)).to_series().to_numpy()
    unit[twin] = first[twin]
    return np.unique(unit, return_inverse=True)[1].astype(np.int64)
