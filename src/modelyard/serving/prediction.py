"""Prediction: the answer to one row, and which source gave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one row.

    Attributes
    ----------
    prediction : str, int, float or bool
        The class in the label's own type, or the value.
    served_by : str
        Which source answered: "model", or "cached", "previous" or "rule" when the model could not.
    probabilities : dict of str to float or None
        By class; None for numbers, and for a rule, which has none.
    interval : dict of str to float or None
        ``low``, ``high`` and ``coverage``: of a forecast, and of other numbers where they were asked for.
    classes : dict or None
        ``classes`` and ``coverage`` of the set that may hold the true class, where it was asked for.
    ood : float or None
        How unusual the row is, where that was asked for.
    """

    prediction: Any
    served_by: str
    probabilities: dict[str, float] | None = None
    interval: dict[str, float] | None = None
    classes: dict[str, Any] | None = None
    ood: float | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as the server sends it, without the fields that have no value."""
        plain: dict[str, Any] = {"prediction": self.prediction}
        if self.probabilities is not None:
            plain["probabilities"] = self.probabilities
        if self.interval is not None:
            plain["interval"] = self.interval
        if self.classes is not None:
            plain["set"] = self.classes
        if self.ood is not None:
            plain["ood"] = self.ood
        plain["served_by"] = self.served_by
        return plain
