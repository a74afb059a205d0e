"""Schema: the columns a model was trained on, and the only door that turns outside values into typed ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelyard.brief.brief import ColumnKind, Task

Role = Literal["feature", "label", "group", "time", "weight", "ignored"]
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
    """

    name: str
    kind: ColumnKind
    role: Role
    physical: Literal["integer", "float", "string", "boolean", "date", "datetime"]
    missing: float = 0.0
    distinct: int = 0
    low: float | None = None
    high: float | None = None
    levels: tuple[str, ...] = ()
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a table, their roles, and the classes of its label.

    Attributes
    ----------
    columns : tuple of Column
        In the table's order.
    task : {"binary", "multiclass", "regression", "forecast"}
        What is predicted.
    classes : tuple of str
        Classes of the label as text, in the order of the model's outputs; of a binary label the positive one is
        last. Empty for numbers.
    """

    columns: tuple[Column, ...]
    task: Task
    classes: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns a row must bring: features, a date that is the time column, and for a forecast its series."""
        wanted = {"feature", "time"} | ({"group"} if self.task == "forecast" else set())
        return tuple(
            c
            for c in self.columns
            if c.role in wanted and (c.role != "time" or c.kind == "date" or self.task == "forecast")
        )

    @property
    def label(self) -> Column | None:
        """The column to predict, or None when the table brings none."""
        return next((c for c in self.columns if c.role == "label"), None)

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises
        ------
        KeyError
            If there is none.
        """
        return next(c for c in self.columns if c.name == name)
