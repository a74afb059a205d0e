"""LabelCheck: labels as people send them, typed by the schema's label."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import Problem, RowError, listed
from modelyard.data.check import RowCheck
from modelyard.data.column import Column
from modelyard.data.dates import ALLOWED, parse_date
from modelyard.serving.predictions.record import Label

FIELDS = ("id", "label", "row", "at")
MOST_ROWS = 10_000_000
MOST_CHARACTERS_OF_ID = 200
_SHOWN = 200
_EPOCH = parse_date("1970-01-01")


class LabelCheck:
    """Checks labels against what a bundle predicts.

    Parameters
    ----------
    bundle : Bundle
        Whose classes, or numbers, the labels are.
    """

    def __init__(self, bundle: Bundle) -> None:
        label = bundle.schema.label
        column = Column("label", "number", "label", "float") if label is None else replace(label, name="label")
        self._classes = dict(zip(bundle.schema.classes, bundle.classes, strict=True))
        if self._classes:  # read as text, as the training data printed it
            column = replace(column, kind="category", levels=tuple(self._classes))
        self._value = RowCheck((column,), (replace(column, missing=0.0),))

    def __call__(self, sent: object, pointer: str, *, received: float, key: str = "") -> Label:
        """Return a label as it may be written.

        Parameters
        ----------
        sent : object
            ``{"id": ..., "label": ...}``, with ``row`` where a request had many, and with ``at``, when it came true.
        pointer : str
            JSON pointer of it.
        received : float
            Seconds since 1970 (UTC).
        key : str
            Id of the sender's key.

        Raises
        ------
        RowError
            Naming every bad field.
        """
        if not isinstance(sent, dict):
            raise RowError([Problem(pointer, "This label is no JSON object", 'Such as {"id": "...", "label": ...}.')])
        strange = {str(name): str(name).replace("~", "~0").replace("/", "~1") for name in sent if name not in FIELDS}
        problems = [
            Problem(f"{pointer}/{at}", f"A label has no '{name}'", "Leave it out.") for name, at in strange.items()
        ]
        name, row, at = sent.get("id"), sent.get("row", 0), sent.get("at")
        if not isinstance(name, str) or not 0 < len(name) <= MOST_CHARACTERS_OF_ID:
            problems.append(Problem(f"{pointer}/id", "'id' names no prediction", "The id of the prediction's answer."))
        if type(row) is not int or not 0 <= row < MOST_ROWS:
            problems.append(Problem(f"{pointer}/row", "'row' is no row's number", "A whole number, from 0."))
        moment = parse_date(at) if isinstance(at, str) else None
        if at is not None and moment is None:
            problems.append(Problem(f"{pointer}/at", "'at' is not a date", ALLOWED))
        value: Any = None
        try:
            value = self._typed(sent, pointer)
        except RowError as error:
            problems += error.problems
        if problems:
            raise RowError(problems)
        seconds = None if moment is None or _EPOCH is None else (moment - _EPOCH).total_seconds()
        return Label(str(name), value, int(row), seconds, received, key)

    def _typed(self, sent: dict[str, Any], pointer: str) -> Any:
        found = sent.get("label")
        if isinstance(found, float) and math.isnan(found):
            found = None
        value = self._value({} if found is None else {"label": found}, False, pointer)["label"]
        if not self._classes:
            return value
        if value not in self._classes:
            what = f"'label': {str(value)[:_SHOWN]!r} is no class of this model"
            raise RowError([Problem(f"{pointer}/label", what, f"One of: {listed(list(self._classes), 20)}.")])
        return self._classes[str(value)]
