"""Column: one column of a table, as the rows it was learnt from showed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelyard.brief.brief import ColumnKind, Direction

Role = Literal["feature", "label", "group", "time", "weight", "ignored"]
Physical = Literal["integer", "float", "string", "boolean", "date", "datetime"]
Value = float | str | bool | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the development rows showed it.

    Attributes
    ----------
    name : str
        As in the table.
    kind : {"number", "category", "boolean", "date", "text", "id"}
        What its values mean.
    role : {"feature", "label", "group", "time", "weight", "ignored"}
        What it is used for; only features reach the model. A date that is the time column gives the model its
        parts (month, weekday, hour), never its absolute place in time.
    physical : {"integer", "float", "string", "boolean", "date", "datetime"}
        How its values are written.
    missing : float
        Share of missing values, 0 to 1.
    distinct : int
        Number of distinct values.
    low, high : float or None
        Range of a number; of a date, in seconds since 1970 (UTC).
    levels : tuple of str
        Levels of a category or boolean, most frequent first, at most 1,000.
    sensitive : bool
        Named by the brief for fairness slices.
    monotone : {"increasing", "decreasing"} or None
        How the answer may move with it, all else equal; None both ways.
    minimum, maximum : float or None
        Least and largest value the brief allows; of a date, in seconds since 1970 (UTC). None where it says nothing,
        as in every schema made before it could.
    allowed : tuple of str
        The only levels the brief allows of a category, as `levels` are written; empty where it says nothing.
    phrases : bool
        Whether many levels of few rows are made of words that other levels share ("oil on canvas"): then its words are
        read as well. False in every schema made before they were.
    """

    name: str
    kind: ColumnKind
    role: Role
    physical: Physical
    missing: float = 0.0
    distinct: int = 0
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    sensitive: bool = False
    monotone: Direction | None = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    phrases: bool = False
