"""Reasons: a reviewed table and the rows it is compared with, added to a bundle."""

from __future__ import annotations

from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.bundle.reasons import FILE, compared, read_reasons
from modelyard.bundle.write import with_file
from modelyard.core.canonical import pretty_json
from modelyard.core.errors import DataError
from modelyard.data.read import read_batches

MOST_ROWS = 10_000
"""Rows explained to find what answers are compared with; more say little more, and take minutes."""


def add_reasons(path: Path, table: Path, rows: Path, out: Path | None = None) -> Bundle:
    """Write a bundle again with its table of reasons.

    Parameters
    ----------
    path : Path
        The bundle's folder or archive.
    table : Path
        The table, as YAML.
    rows : Path
        Rows of which those answered favourably are what adverse answers are compared with; the first 10,000 are read.
    out : Path, optional
        Folder of the new bundle; default the same.

    Raises
    ------
    DataError
        If table or rows cannot be used.
    BundleError
        If the bundle is damaged or holds nothing to explain by.
    """
    bundle = load_bundle(path)
    read = read_reasons(table, bundle)
    frame = next(iter(read_batches(rows, bundle.schema, rows=MOST_ROWS)), None)
    if frame is None:
        raise DataError("The file holds no row.", where=str(rows), do="Name one with rows the model may answer.")
    made = compared(read, bundle, frame.head(MOST_ROWS))
    target = out or (path if path.is_dir() else path.with_name(path.name.removesuffix(".gz").removesuffix(".tar")))
    return load_bundle(with_file(bundle.path, FILE, pretty_json(made), target))
