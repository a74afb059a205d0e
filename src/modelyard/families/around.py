"""around: the seconds of a run that go to other things than fitting, reckoned from the size of the table."""

from __future__ import annotations

LEAST_SHARE = 0.5
"""Part of the budget that fitting has at least, however long the rest takes."""
_BEFORE, _BEFORE_A_CELL = 3.5, 4e-7
"""Starting the libraries and the probe; reading, splitting and examining a cell."""
_AFTER, _AFTER_A_COLUMN, _AFTER_A_CELL, _AFTER_A_CLASS, _AFTER_AN_OUTPUT = 11.0, 0.1, 7e-7, 0.15, 1.1e-5
"""What any model takes (timing it, serving it for a moment, writing six documents); what a column adds (importance,
slices, false alarms of its drift), a cell (parity, what is usual), one of several classes (its curves), and an output
of a row (intervals)."""


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
    Set from runs on two cores that nobody else used, of twenty tables of 457 to 103,000 rows and 6 to 85 columns;
    what a class adds was set anew from one of 18 classes.
    """
    several = _AFTER_A_CLASS * outputs if outputs > 1 else 0.0
    table = _AFTER_A_COLUMN * columns + _AFTER_A_CELL * rows * columns
    return _AFTER + table + several + _AFTER_AN_OUTPUT * rows * outputs


def fitting_seconds(budget: float, rows: int, columns: int, outputs: int) -> float:
    """Return what a budget leaves for fitting."""
    return left_of(budget, before_seconds(rows, columns) + after_seconds(rows, columns, outputs))


def left_of(budget: float, around: float) -> float:
    """Return what is left of a budget beside so many seconds, but half of it at least."""
    return max(LEAST_SHARE * budget, budget - around)
