"""Bundles with a true reference profile, and rows to hold against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bundles import ROW, Stumps, blend, draft, forecast_export, make, table
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import write_bundle
from modelyard.data.profile import profile

__all__ = ["ROW", "forecast_export", "make", "monitored", "rows"]


def monitored(folder: Path, task: str = "binary", reference_rows: int = 4_000, **changes: Any) -> Bundle:
    """Return a bundle whose profile is that of real rows and of what the model says of them."""
    data = table(task, reference_rows, seed=1)
    family = Stumps()
    mix = blend(task, data)
    raw = sum(weight * family.predict(fitted, data) for fitted, weight in mix.members)
    export = family.export(mix, data)
    card = draft(data.schema, export, **changes)
    reference = profile(data, np.asarray(mix.answer(raw)))
    return load_bundle(write_bundle(folder, card, export, profile=reference, card="# Card\n", examples=[ROW]))


def rows(count: int = 1_000, seed: int = 2, task: str = "binary") -> Any:
    """Return new rows from the same source, as a frame."""
    return table(task, count, seed).frame
