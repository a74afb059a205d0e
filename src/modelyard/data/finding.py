"""Finding: something seen in the data, what it means and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something seen in the data before training.

    Attributes
    ----------
    kind : str
        leak, entity, duplicates, constant, id, label_missing, drift, text, ...
    severity : {"stop", "warn", "note"}
        ``stop`` ends the run with exit code 2 until the brief says drop or keep.
    column : str or None
        The column it speaks of.
    what, means, do : str
        What was seen (with its figure), what it means, and the line to write or the step to take.
    """

    kind: str
    severity: Literal["stop", "warn", "note"]
    column: str | None
    what: str
    means: str
    do: str
