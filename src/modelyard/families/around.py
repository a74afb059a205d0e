"""around: the seconds of a run that go to other things than fitting, reckoned from the size of the table."""

from __future__ import annotations

LEAST_SHARE = 0.5
"""Part of the budget that fitting has at least, however long the rest takes."""
_BEFORE, _BEFORE_A_CELL = 3.0, 1e-6
"""Starting the libraries and the probe; reading, splitting and examining a cell."""
_AFTER, _AFTER_A_COLUMN, _AFTER_A_CELL, _AFTER_AN_OUTPUT = 8.0, 0.04, 1.5e-6, 1e-5
"""What any model takes (timing it, serving it for a moment, writing six documents); what a column adds (importance,
slices, false alarms of its drift), a cell (parity, what is usual) and an output of a row (intervals)."""


def before_seconds(rows: int, columns: int) -> float:
    """Return what reading the table and making the plan take, about."""
    return _BEFORE + _BEFORE_A_CELL * rows * columns


def after_seconds(rows: int, columns: int, outputs: int) -> float:
    """Return what evaluating, packing and documenting a model take, about.

    Parameters
    ----------
    rows : int
        Development rows.
    columns : int
        Features.
    outputs : int
        Raw scores a row gets: one for each class of several, else 1.

    Notes
    -----
    Set from runs of 30 and 60 s on two cores that others used too, tables of 3,000 to 100,000 rows: on the long side.
    """
    cells = rows * columns
    return _AFTER + _AFTER_A_COLUMN * columns + _AFTER_A_CELL * cells + _AFTER_AN_OUTPUT * rows * outputs


def fitting_seconds(budget: float, rows: int, columns: int, outputs: int) -> float:
    """Return what a budget leaves for fitting."""
    return left_of(budget, before_seconds(rows, columns) + after_seconds(rows, columns, outputs))


def left_of(budget: float, around: float) -> float:
    """Return what is left of a budget beside so many seconds, but half of it at least."""
    return max(LEAST_SHARE * budget, budget - around)
