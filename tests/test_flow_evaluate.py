"""evaluate: a bundle measured on a file of labelled rows, and what it refuses to measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles import bundle, table
from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import DataError
from modelyard.flow.evaluate import evaluate_file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle(tmp_path_factory.mktemp("measured") / "bundle")


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_a_file_without_rows_is_refused(made: Bundle, tmp_path: Path, end: str) -> None:
    frame = table("binary").frame.head(0)
    path = tmp_path / f"none.{end}"
    frame.write_csv(path) if end == "csv" else frame.write_parquet(path)
    with pytest.raises(DataError, match="The file has no rows"):
        evaluate_file(made, path)
