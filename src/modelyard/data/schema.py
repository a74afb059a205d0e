"""Schema: the columns a model was trained on, and the only door that turns outside values into typed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from modelyard.brief.brief import Task
from modelyard.data.check import RowCheck
from modelyard.data.column import Column, Physical, Role, Value

__all__ = ["Column", "Physical", "Role", "Schema", "Value"]

_CHECKS: dict[int, tuple[object, RowCheck]] = {}
_MOST_CHECKS = 64


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
        """The columns a row must bring: features, and the time column; a forecast's series and time."""
        if self.task == "forecast":
            return tuple(c for c in self.columns if c.role in {"group", "time"})
        return tuple(c for c in self.columns if c.role in ("feature", "time"))

    @property
    def label(self) -> Column | None:
        """The column to predict, or None when the table brings none."""
        return next((c for c in self.columns if c.role == "label"), None)

    @property
    def answers(self) -> tuple[str, ...]:
        """The columns that scoring a file adds to its own."""
        bounds = ("low", "high") if self.task == "forecast" else ()
        return ("prediction", *(f"p_{name}" for name in self.classes), *bounds)

    def column(self, name: str) -> Column:
        """Return the column of that name.

        Raises
        ------
        KeyError
            If there is none.
        """
        found = next((c for c in self.columns if c.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def check_row(
        self, row: Mapping[str, object], *, unknown: Literal["refuse", "ignore"] = "refuse", pointer: str = ""
    ) -> dict[str, Value | datetime]:
        """Turn one row from outside into typed values, or say everything that is wrong with it.

        Parameters
        ----------
        row : mapping of str to value
            As JSON gives it: numbers, strings, true and false, null; dates as ISO 8601 text.
        unknown : {"refuse", "ignore"}
            What to do with a field the schema does not know.
        pointer : str
            JSON pointer of the row itself, such as ``"/instances/3"``.

        Returns
        -------
        dict
            A value for each of `features`: float, str, bool, a naive UTC datetime, or None where missing. A category
            never seen in development is kept: the model has a bucket for it.

        Raises
        ------
        RowError
            With one problem for each bad field.
        """
        return self.row_check()(row, unknown == "refuse", pointer)

    def row_check(self) -> RowCheck:
        """Return the compiled form of this schema, made once."""
        held = _CHECKS.get(id(self))
        if held is None or held[0] is not self:  # an address is used again once its owner is gone
            if len(_CHECKS) >= _MOST_CHECKS:
                _CHECKS.clear()
            held = _CHECKS[id(self)] = (self, RowCheck(self.columns, self.features))
        return held[1]
