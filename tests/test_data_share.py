"""Tables larger than memory: the share of rows kept, what it says, and a process that has no more than it was given."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.core import machine
from modelyard.core.machine import free_memory
from modelyard.data import share
from modelyard.data.read import read_data
from modelyard.data.share import COPIES, load_within

SUFFIXES = ("csv", "csv.gz", "parquet", "arrow")


def table(rows: int = 40_000, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": rng.normal(size=rows),
            "z": rng.normal(size=rows),
            "g": [f"g{i}" for i in rng.integers(0, rows // 5, rows)],
            "y": rng.choice(["no", "yes"], rows, p=[0.9, 0.1]),
        }
    )


def written(frame: pl.DataFrame, folder: Path, suffix: str) -> Path:
    path = folder / f"t.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path)
    elif suffix == "arrow":
        frame.write_ipc(path)
    else:
        frame.write_csv(path, compression="gzip" if suffix.endswith("gz") else "uncompressed")
    return path


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "FIXED", 0.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_share_that_fits_is_kept_of_every_format(tmp_path: Path, suffix: str) -> None:
    whole = table()
    path = written(whole, tmp_path, suffix)
    size = load_within(path, 1e12, None).frame.estimated_size()
    loaded = load_within(path, COPIES * size / 3, None)
    assert loaded.frame.estimated_size() <= size / 3
    assert loaded.frame.height == pytest.approx(whole.height / 4, rel=0.05)
    (note,) = [n for n in loaded.notes if n.kind == "sampled"]
    assert "1 in 4" in note.what
    assert f"{loaded.frame.height:,}" in note.what
    share_of_yes = (loaded.frame["y"] == "yes").mean()
    assert share_of_yes == pytest.approx(0.1, abs=0.015)
    assert load_within(path, COPIES * size * 1.1, None).frame.equals(load_within(path, 1e12, None).frame)


def test_the_same_rows_are_kept_of_a_shuffled_table_and_entities_stay_whole(tmp_path: Path) -> None:
    whole = table()
    size = whole.estimated_size()
    kept = []
    for number, frame in enumerate((whole, whole.sample(fraction=1.0, shuffle=True, seed=1))):
        (tmp_path / str(number)).mkdir()
        path = written(frame, tmp_path / str(number), "parquet")
        kept.append(load_within(path, COPIES * size / 3, "g").frame.sort("x"))
    assert kept[0].equals(kept[1])
    of_group = whole.group_by("g").len()
    still = kept[0].group_by("g").len()
    assert 0 < still.height < of_group.height
    assert still.join(of_group, on=["g", "len"]).height == still.height


def test_the_brief_says_how_much_memory_there_is_and_the_data_what_was_kept(tmp_path: Path) -> None:
    path = written(table(), tmp_path, "parquet")
    brief = Brief(data=DataBrief(label="y", drop=("g",)), budget=Budget(memory=0.01))
    data = read_data(path, brief)
    assert 0 < len(data) < 40_000
    assert [n.kind for n in data.notes if n.severity == "warn"] == ["sampled"]
    assert data.fingerprint == read_data(path, brief).fingerprint
    assert len(read_data(path, replace(brief, budget=Budget()))) == 40_000


def test_free_memory_is_the_least_that_anything_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_left_by_groups", lambda: [5e9, 2e9])
    monkeypatch.setattr(machine, "_left_of_limits", lambda: [3e9])
    monkeypatch.setattr(machine, "_free_on_machine", lambda: 8e9)
    assert free_memory() == 2e9
    monkeypatch.setattr(machine, "_left_by_groups", list)
    assert free_memory() == 3e9


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are read from /proc")
@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_is_seen(limit: str) -> None:
    code = (
        "import resource; from modelyard.core.machine import free_memory, _left_of_limits as left\n"
        f"resource.setrlimit(resource.{limit}, (2_000_000_000,) * 2); print(min(left()), free_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    left, free = map(float, done.stdout.split())
    assert 0 < free <= left < 2e9


LIMITED = """
import resource, sys
from pathlib import Path
import catboost, lightgbm, onnx, onnxruntime, optuna, scipy.optimize, xgboost
import modelyard as my
used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 2_000_000_000,) * 2)
done = my.develop(my.read_brief(sys.argv[1]), workspace=sys.argv[2])
print(len(done.run.development), *(n.what for n in done.run.development.notes if n.kind == "sampled"))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of data are read from /proc")
def test_a_process_without_the_memory_for_its_table_ends_well_and_says_what_it_did(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1_000_000, 12))
    y = np.where(x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=len(x)) > 0, "yes", "no")
    pl.DataFrame({f"x{i}": x[:, i] for i in range(12)} | {"y": y}).write_parquet(tmp_path / "t.parquet")
    brief = "use_case: big\ndata: {path: t.parquet, label: y}\nvalidation: {folds: 2, test_fraction: 0.1}\n"
    ended = {}
    for name, memory in (("as it is", ""), ("told of more than there is", ", memory: 100")):
        (tmp_path / "brief.yaml").write_text(f"{brief}budget: {{seconds: 4, trials: 0{memory}}}\n")
        given = [sys.executable, "-c", LIMITED, str(tmp_path / "brief.yaml"), str(tmp_path / name.replace(" ", ""))]
        ended[name] = subprocess.run(given, capture_output=True, text=True, check=False)
    assert ended["as it is"].returncode == 0, ended["as it is"].stderr
    assert "1 in 4 was kept" in ended["as it is"].stdout
    assert ended["told of more than there is"].returncode != 0
