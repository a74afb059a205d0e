"""Records and logs that the tests of the prediction log share."""

from __future__ import annotations

from pathlib import Path

from modelyard.serving.log import Label, PredictionLog, Record
from modelyard.serving.predictions.predictions import Predictions


def record(number: int, **changes: object) -> Record:
    plain = {
        "id": f"r{number}",
        "at": 1e9 + number,
        "model": "m",
        "bundle": "b",
        "rows": [{"x": number, "city": "Ulm"}],
        "answers": [{"prediction": number % 2, "probabilities": {"0": 0.25, "1": 0.75}, "served_by": "model"}],
        "milliseconds": 0.5,
    }
    return Record(**{**plain, **changes})


def label(number: int, value: object = 1, received: float = 2e9, **changes: object) -> Label:
    return Label(**{"id": f"r{number}", "value": value, "received": received, **changes})


def log_of(folder: Path, *written: object, close: bool = True) -> tuple[Predictions, PredictionLog]:
    """Write records and lists of labels; return the log as it is read, and the writer."""
    log = PredictionLog(folder)
    for item in written:
        assert log.append(item)
    if close:
        log.close()
    return Predictions(folder), log
