"""Labels that come as a file."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import DataError, RowError, WorkspaceError
from modelyard.data.printed import as_text
from modelyard.data.source import batches
from modelyard.serving.log import PredictionLog
from modelyard.serving.predictions.label_check import FIELDS, LabelCheck
from modelyard.serving.predictions.load import load
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.record import Label

_PIECE = 1_000
_READ = 50_000


@dataclass(frozen=True, slots=True)
class SentLabels:
    """How many labels a file held, and how many predictions of theirs are not there yet."""

    labels: int
    waiting: int


def send_labels(bundle: Bundle, path: Path, log: Predictions, *, refuse: bool = False) -> SentLabels:
    """Write the labels of a file to the prediction log, all or none, and load them.

    Parameters
    ----------
    bundle : Bundle
        Whose labels they are.
    path : path
        CSV, Parquet or Arrow, with the columns ``id`` and ``label``, and ``row`` and ``at`` where they are needed.
    log : Predictions
        Where to.
    refuse : bool
        Whether labels whose id no prediction has are an error; else they are kept until it comes.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or holds a bad label.
    WorkspaceError
        If they cannot be written.
    """
    check, now = LabelCheck(bundle), time.time()
    labels: list[Label] = []
    for piece, text in batches(path, _READ):
        absent = {"id", "label"} - set(piece.columns)
        if absent:
            raise DataError(
                f"The file has no column '{min(absent)}'.", where=str(path), allowed="Columns id, label, row and at."
            )
        for line in _natural(piece, bundle, text).to_dicts():
            number = len(labels) + 1
            try:
                labels.append(check({k: v for k, v in line.items() if v is not None}, "", received=now))
            except RowError as error:
                bad = error.problems[0]
                raise DataError(f"{bad.what}.", where=f"{path}, row {number}", allowed=bad.allowed) from None
    ids = list(dict.fromkeys(label.id for label in labels))
    known = log.known(ids)
    strange = [name for name in ids if name not in known]
    if refuse and strange:
        raise DataError(
            f"{len(strange):,} labels are of no prediction, such as '{strange[0]}'.", where=str(path),
            do="Leave them out, or keep them until their prediction comes.",
        )  # fmt: skip
    writer = PredictionLog(log.folder)
    try:
        for first in range(0, len(labels), _PIECE):
            if not writer.append(labels[first : first + _PIECE]):
                raise WorkspaceError("The labels could not be written.", where=str(log.folder), do="Free some space.")
    finally:
        writer.close()
    with closing(log.open()) as store:
        load(log, store)
    return SentLabels(len(labels), len(strange))


def _natural(piece: pl.DataFrame, bundle: Bundle, text: bool) -> pl.DataFrame:
    """Return lines of a file as JSON would have them: classes as text, numbers as numbers, moments as text."""
    found = piece.select([name for name in FIELDS if name in piece.columns])
    label = bundle.schema.label
    columns = [found["id"].cast(pl.String)]
    if label is not None and bundle.schema.classes:
        columns.append(as_text(found["label"], label))
    elif text and bool((found["label"].cast(pl.Float64, strict=False).is_not_null() | found["label"].is_null()).all()):
        columns.append(found["label"].cast(pl.Float64))
    if text and "row" in found.columns and bool(found["row"].str.contains(r"^\d+$").fill_null(True).all()):
        columns.append(found["row"].cast(pl.Int64))
    if "at" in found.columns:
        columns.append(found["at"].cast(pl.String))
    return found.with_columns(columns)
