"""Files in, files out: in batches, in order, whole or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from bundles import bundle, make, table
from modelyard.bundle import stream
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.stream import predict_file
from modelyard.core.errors import DataError, WorkspaceError


@pytest.fixture(scope="module")
def b(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle(tmp_path_factory.mktemp("stream") / "bundle", "multiclass")


def write(frame: pl.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.write_csv(path)
    elif path.suffix == ".parquet":
        frame.write_parquet(path, row_group_size=64)
    else:
        frame.write_ipc(path)
    return path


def read(path: Path) -> pl.DataFrame:
    if path.suffix == ".csv":
        return pl.read_csv(path)
    return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ipc(path)


def rows() -> pl.DataFrame:
    return table("multiclass").frame.drop("plan").with_columns(pl.lit("kept").alias("note"))


class Watch:
    def __init__(self) -> None:
        self.seen: list[float] = []

    def stage(self, name: str) -> None: ...

    def say(self, text: str) -> None: ...

    def step(self, done: float, total: float, note: str = "") -> None:
        self.seen.append(done)


@pytest.mark.parametrize("target", ["out.csv", "out.parquet", "out.arrow", "out.feather"])
@pytest.mark.parametrize("source", ["in.csv", "in.parquet", "in.arrow"])
def test_every_format_in_batches(
    b: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    monkeypatch.setattr(stream, "BATCH", 64)
    watch = Watch()
    count = predict_file(b, write(rows(), tmp_path / source), tmp_path / target, progress=watch)
    assert count == 300
    assert watch.seen == [64, 128, 192, 256, 300]
    out = read(tmp_path / target)
    names = [f"p_{c}" for c in b.schema.classes]
    assert out.columns == [*rows().columns, "prediction", *names]
    assert out["id"].cast(pl.String).to_list() == rows()["id"].to_list()
    assert out["prediction"].to_list() == b.predict(rows()).tolist()
    np.testing.assert_allclose(out.select(names).to_numpy(), b.predict_proba(rows()), atol=1e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source, target])


def test_forecast_brings_its_interval(tmp_path: Path) -> None:
    made = bundle(tmp_path / "bundle", "forecast")
    (tmp_path / "in.csv").write_text("shop,day\nsouth,2024-01-02\nnorth,2024-01-01\n")
    assert predict_file(made, tmp_path / "in.csv", tmp_path / "out.csv") == 2
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "shop,day,prediction,low,high",
        "south,2024-01-02,51.0,48.0,54.0",
        "north,2024-01-01,10.0,7.0,13.0",
    ]
    (tmp_path / "bad.csv").write_text("shop,day\nsouth,2024-01-02\nnorth,2026-01-01\n")
    with pytest.raises(DataError, match=r"bad\.csv, row 2, column 'day'"):
        predict_file(made, tmp_path / "bad.csv", tmp_path / "out2.csv")


def test_bad_row_is_named_and_nothing_is_left(b: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BATCH", 64)
    frame = rows().with_columns(pl.col("age").cast(pl.Int64).cast(pl.String))
    frame[199, "age"] = "old"
    source = write(frame, tmp_path / "in.csv")
    (tmp_path / "out.csv").write_text("what was here before")
    with pytest.raises(DataError, match=r"in\.csv.*row 200"):
        predict_file(b, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "what was here before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_stopped_in_the_middle_nothing_is_left(
    b: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    monkeypatch.setattr(stream, "BATCH", 64)

    class Stops(Watch):
        def step(self, done: float, total: float, note: str = "") -> None:
            if done > 100:
                raise stop

    with pytest.raises(stop):
        predict_file(b, write(rows(), tmp_path / "in.parquet"), tmp_path / "out.parquet", progress=Stops())
    assert [p.name for p in tmp_path.iterdir()] == ["in.parquet"]


def test_full_disk_is_said_and_nothing_is_left(b: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, stack: object) -> object:
        def write_nothing(frame: pl.DataFrame) -> None:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        return write_nothing

    monkeypatch.setattr(stream, "_csv", full)
    with pytest.raises(WorkspaceError, match="disk is full"):
        predict_file(b, write(rows(), tmp_path / "in.parquet"), tmp_path / "out.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["in.parquet"]


@pytest.mark.parametrize("target", ["out.csv", "out.parquet", "out.arrow"])
def test_header_without_rows(b: Bundle, tmp_path: Path, target: str) -> None:
    source = write(rows().clear(), tmp_path / "in.csv")
    assert predict_file(b, source, tmp_path / target) == 0
    assert read(tmp_path / target).columns[-4:] == ["prediction", "p_basic", "p_family", "p_pro"]


def test_refusals(b: Bundle, tmp_path: Path) -> None:
    source = write(rows(), tmp_path / "in.csv")
    with pytest.raises(DataError, match="own rows"):
        predict_file(b, source, source)
    with pytest.raises(DataError, match=r"\.xlsx"):
        predict_file(b, source, tmp_path / "out.xlsx")
    with pytest.raises(DataError, match="no such file"):
        predict_file(b, tmp_path / "none.csv", tmp_path / "out.csv")
    with pytest.raises(DataError, match=r"absent.*'age'"):
        predict_file(b, write(rows().drop("age"), tmp_path / "few.csv"), tmp_path / "out.csv")
    taken = write(rows().with_columns(pl.lit(1).alias("prediction")), tmp_path / "taken.csv")
    with pytest.raises(DataError, match="'prediction' already"):
        predict_file(b, taken, tmp_path / "out.csv")
    with pytest.raises(WorkspaceError, match=r"There is no folder '.*nodir'"):
        predict_file(b, source, tmp_path / "nodir" / "out.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError):
        predict_file(b, source, tmp_path / "file" / "out.csv")


def test_file_larger_than_what_may_be_held(tmp_path: Path) -> None:
    """Score a file whose table would take several times the memory the process may add."""
    folder = make(tmp_path / "bundle", "multiclass")
    block = rows().with_columns(pl.lit("x" * 2000).alias("note"))
    block = pl.concat([block] * 20)
    source = tmp_path / "in.parquet"
    with pq.ParquetWriter(source, block.to_arrow().schema, use_dictionary=False, compression="none") as writer:
        for _ in range(40):
            writer.write_table(block.to_arrow(), row_group_size=6000)
    assert source.stat().st_size > 400e6
    few = write(block.head(5_000), tmp_path / "few.parquet")
    code = f"""
import resource
from modelyard.bundle import stream
from modelyard.bundle.load import load_bundle
stream.BATCH = 5_000
b = load_bundle({str(folder)!r})
stream.predict_file(b, {str(few)!r}, {str(tmp_path / "few-out.parquet")!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert stream.predict_file(b, {str(source)!r}, {str(tmp_path / "out.parquet")!r}) == 240_000
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert grown < 200, grown
"""
    subprocess.run([sys.executable, "-c", code], check=True)
