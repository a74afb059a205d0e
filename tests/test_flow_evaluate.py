"""evaluate: a bundle measured on a file of labelled rows, and what it refuses to measure."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from bundles import bundle, schema, table
from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import DataError
from modelyard.data.schema import Column, Schema
from modelyard.flow.evaluate import evaluate_file, evaluation_lines


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


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    plain = schema("binary")
    more = (Column("w", "number", "weight", "float"), Column("who", "id", "group", "string"))
    held = Schema((*plain.columns, *more), plain.task, plain.classes)
    return bundle(tmp_path_factory.mktemp("weighted") / "bundle", schema=held)


def with_weights() -> pl.DataFrame:
    rows = pl.int_range(pl.len())
    return table("binary").frame.with_columns(w=(1 + rows % 3).cast(pl.Float64), who=pl.format("p{}", rows // 3))


@pytest.mark.parametrize(("weight", "said"), [(None, "None"), (-1.0, "-1.0")])
def test_a_row_without_a_fair_weight_is_refused(weighted: Bundle, tmp_path: Path, weight: float, said: str) -> None:
    frame = with_weights()
    frame[6, "w"] = weight
    path = tmp_path / "rows.parquet"
    frame.write_parquet(path)
    with pytest.raises(DataError, match=f"The weight is {said}") as refused:
        evaluate_file(weighted, path)
    assert refused.value.where == f"{path}, column 'w', row 7"
    frame[6, "left"] = None
    frame.write_parquet(path)  # a row that is not judged needs none
    assert evaluate_file(weighted, path).rows == 299


def test_what_figures_rest_on_is_said(made: Bundle, weighted: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with_weights().write_parquet(path)
    found = evaluate_file(weighted, path)
    assert found.weighted
    assert {e.unit for e in found.estimates} == {"groups"}
    assert evaluation_lines(found)[0] == (
        "300 labelled rows; weighted by 'w'; intervals by resampling whole entities of 'who'"
    )
    with_weights().drop("who").write_parquet(path)
    found = evaluate_file(weighted, path)
    assert {e.unit for e in found.estimates} == {"rows"}
    assert "'who' is not in the file" in evaluation_lines(found)[0]
    with_weights().drop("w").write_parquet(path)
    with pytest.raises(DataError, match="no weights: column 'w' is missing"):
        evaluate_file(weighted, path)
    found = evaluate_file(made, path)
    assert not found.weighted
    assert evaluation_lines(found)[0] == "300 labelled rows; intervals by resampling rows"
