"""Explanations of the rows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.data.read import read_batches


def explain_file(bundle: Bundle, path: Path, limit: int) -> list[dict[str, Any]]:
    """Explain the first rows of a file.

    Returns
    -------
    list of dict
        For each row ``prediction`` and ``contributions`` by column, in raw-score units.
    """
    frame = next(iter(read_batches(path, bundle.schema, rows=limit))).head(limit)
    predictions = bundle.predict(frame).tolist()
    return [
        {"prediction": prediction, "contributions": contributions}
        for prediction, contributions in zip(predictions, bundle.explain(frame), strict=True)
    ]
