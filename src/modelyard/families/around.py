"""around: the seconds of a run that go to other things than fitting, reckoned from the size of the table."""

from __future__ import annotations

LEAST_SHARE = 0.5
"""Part of the budget that fitting has at least, however long the rest takes."""
_MANY = 100
"""Columns; what they cost grows more slowly from there on, since the dearest looks are at the first or the foremost."""
_BEFORE, _BEFORE_A_CELL, _BEFORE_A_FURTHER = 3.5, 4e-7, 0.005
"""Starting the libraries and the probe; reading, splitting and examining a cell, and a column beyond many."""
_AFTER, _AFTER_A_COLUMN, _AFTER_A_FURTHER = 11.0, 0.04, 0.005
"""What any model takes (timing it, serving it for a moment, writing six documents), what a column adds (importance,
slices, false alarms of its drift), and one beyond many."""
_AFTER_A_CELL, _AFTER_A_CLASS, _AFTER_AN_OUTPUT = 2e-7, 0.15, 3e-6
"""What a cell adds (parity, what is usual), one of several classes (its curves), and an output of a row (intervals)."""


def before_seconds(rows: int, columns: int) -> float:
    """Return what reading the table and making the plan take, about."""
    return _BEFORE + _BEFORE_A_CELL * rows * columns + _BEFORE_A_FURTHER * max(0, columns - _MANY)


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
    Set from runs on two cores that nobody else used, of twelve tables of 2,050 to 103,000 rows and 6 to 74 columns, two
    of them of 8 and 18 classes, and one of 1,503 columns. Forests of many thousand trees take longer.
    """
    several = _AFTER_A_CLASS * outputs if outputs > 1 else 0.0
    wide = _AFTER_A_COLUMN * min(columns, _MANY) + _AFTER_A_FURTHER * max(0, columns - _MANY)
    table = wide + _AFTER_A_CELL * rows * columns
    return _AFTER + table + several + _AFTER_AN_OUTPUT * rows * outputs


def fitting_seconds(budget: float, rows: int, columns: int, outputs: int) -> float:
    """Return what a budget leaves for fitting."""
    return left_of(budget, before_seconds(rows, columns) + after_seconds(rows, columns, outputs))


def left_of(budget: float, around: float) -> float:
    """Return what is left of a budget beside so many seconds, but half of it at least."""
    return max(LEAST_SHARE * budget, budget - around)
