"""Packing: the same content gives the same bytes, and a model that answers otherwise is not packed."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import LINKS, ROW, Stumps, make, report, trained
from modelyard.bundle.adversarial import UNSEEN
from modelyard.bundle.examples import plain_rows, synthetic
from modelyard.bundle.load import load_bundle
from modelyard.bundle.manifest import identity
from modelyard.bundle.pack import pack
from modelyard.bundle.parity import check_parity, graph_thresholds
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.core.canonical import file_hash
from modelyard.core.errors import GateFailed, WorkspaceError
from modelyard.data.dataset import Dataset, Floats
from modelyard.data.schema import Column, Schema
from modelyard.encoding.encoding import Encoding
from modelyard.evaluation.answers import answers
from modelyard.families.find import BUILT_IN

pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver is deprecated:DeprecationWarning")


@pytest.fixture(autouse=True)
def _stumps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, "stumps", "bundles:Stumps")


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_hash(p) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("task", list(LINKS))
def test_a_run_becomes_a_bundle(tmp_path: Path, task: str) -> None:
    run, parts = trained(task)
    b = pack(run, report(run), parts, tmp_path / "bundle", created="2024-03-09T12:00:00Z")
    assert b.path == tmp_path / "bundle"
    assert b.hash == load_bundle(tmp_path / "bundle.tar.gz").hash
    assert b.manifest.name == "who-leaves"
    assert b.manifest.brief.data.path == "churn.csv"
    assert b.manifest.lineage.run == run.name
    assert b.threshold == (0.37 if task == "binary" else None)
    assert b.manifest.estimate["target_met"] == "yes"
    parity = b.manifest.facts["parity"]
    assert (parity["rows"], parity["missing"], parity["at_thresholds"], parity["adversarial"]) == (60, 60, 60, 1024)
    assert parity["largest"] <= parity["limit"]
    examples = json.loads((b.path / "examples.json").read_bytes())
    assert len(b.predict(examples)) == 5
    assert all(set(row) == {c.name for c in b.schema.features} for row in examples)


def test_two_packs_are_equal_but_for_their_lineage(tmp_path: Path) -> None:
    bundles = []
    for name, moment in (("first", "2024-01-01T00:00:00Z"), ("second", "2025-12-31T23:59:59Z")):
        run, parts = trained("binary", name=name)
        bundles.append(pack(run, report(run), parts, tmp_path / name / "bundle", created=moment, commit=name))
    one, other = bundles
    assert one.hash == other.hash
    different = {n for n, h in files(one.path).items() if files(other.path)[n] != h}
    assert different == {"manifest.json", "manifest.sha256"}
    assert one.manifest.lineage != other.manifest.lineage
    assert b"/home/" not in (one.path / "manifest.json").read_bytes()


def test_two_archives_of_one_content_are_equal_byte_for_byte(tmp_path: Path) -> None:
    one, other = make(tmp_path / "a" / "one"), make(tmp_path / "b" / "other")
    assert files(one) == files(other)
    archives = [one.with_name("one.tar.gz"), other.with_name("other.tar.gz")]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        entries = tar.getmembers()
    assert [e.name for e in entries] == sorted(e.name for e in entries)
    assert {(e.mtime, e.uid, e.gid, e.uname, e.mode) for e in entries} == {(0, 0, 0, "", 0o644)}


@pytest.mark.parametrize(
    "change",
    [{"threshold": 0.41}, {"name": "other"}, {"facts": {"trees": 9}}, {"estimate": {"value": 0.1}}],
    ids=lambda c: next(iter(c)),
)
def test_whatever_the_bundle_is_changes_its_hash(tmp_path: Path, change: dict[str, object]) -> None:
    manifest = json.loads((make(tmp_path / "b") / "manifest.json").read_bytes())
    assert identity({**manifest, **change}) != identity(manifest)
    lineage = manifest["lineage"]
    environment = lineage["environment"]
    moved = {**lineage, "run": "x", "created": "y", "commit": "z", "environment": {**environment, "platform": "w"}}
    assert identity({**manifest, "lineage": moved}) == identity(manifest)
    packages = {**environment, "lightgbm": "9.9"}
    assert identity({**manifest, "lineage": {**lineage, "environment": packages}}) != identity(manifest)


def test_packing_again_replaces_what_was_there(tmp_path: Path) -> None:
    folder = make(tmp_path / "bundle")
    (folder / "stray.txt").write_text("left over")
    make(tmp_path / "bundle", "multiclass")
    assert load_bundle(folder).schema.task == "multiclass"
    assert not (folder / "stray.txt").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "bundle.tar.gz"]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError):
        make(tmp_path / "file" / "bundle")


@pytest.mark.parametrize("task", list(LINKS))
def test_thresholds_one_float_too_high_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """The fault of rounding a threshold to the nearest float32: no random row shows it, rows at thresholds do."""
    run, parts = trained(task)
    monkeypatch.setitem(BUILT_IN, "stumps", "bundles:Nudged")
    with pytest.raises(GateFailed, match="does not answer as the trained one") as caught:
        pack(run, report(run), parts, tmp_path / "bundle")
    assert "threshold" in caught.value.what or "real row" in caught.value.what
    assert not (tmp_path / "bundle").exists()


def test_rows_that_parity_is_checked_on() -> None:
    run, parts = trained("multiclass", rows=200)
    seen: list[pl.DataFrame] = []

    def spy(rows: Dataset) -> Floats:
        seen.append(rows.frame)
        return answers(run, rows)

    export = Stumps().export(run.blend, parts.development)
    encoding = Encoding.of(parts.development.schema)
    points = graph_thresholds(export.files["model.onnx"], encoding)
    assert set(points) == {"age", "income", "member", "joined.days"}
    runtime = OnnxRuntime(export.files["model.onnx"], encoding, 3)
    check_parity(runtime, spy, parts.test, 1.0, points, seed=0)
    real, at, gaps, hard = seen
    assert real.equals(parts.test.frame)
    for name in ("age", "income"):
        (t,) = points[name].tolist()
        near = {t, *(float(np.nextafter(np.float32(t), np.float32(s))) for s in (-np.inf, np.inf))}
        assert set(at[name].to_list()) == near
    assert UNSEEN in gaps["city"].to_list()
    assert all(gaps[c.name].null_count() for c in parts.test.schema.features)
    assert hard.height == 1_024


@pytest.mark.parametrize("edge", [-np.finfo(np.float32).max, np.finfo(np.float32).max, np.inf])
def test_splits_that_ask_for_missing_values_make_no_infinite_rows(tmp_path: Path, edge: float) -> None:
    run, parts = trained("binary")
    ((fitted, _),) = run.blend.members
    thresholds = np.full_like(fitted.arrays["thresholds"], edge)
    asks = replace(fitted, arrays={**fitted.arrays, "thresholds": thresholds})
    moved = replace(run, blend=replace(run.blend, members=((asks, 1.0),)))
    b = pack(moved, report(run), parts, tmp_path / "bundle")
    assert b.manifest.facts["parity"]["at_thresholds"] == 0


def test_without_a_test_part_parity_is_checked_on_development(tmp_path: Path) -> None:
    run, parts = trained("binary")
    b = pack(run, report(run), replace(parts, test=None), tmp_path / "bundle")
    assert b.manifest.facts["parity"]["rows"] == len(parts.development)


def test_a_model_that_answers_nan_is_not_packed(tmp_path: Path) -> None:
    run, parts = trained("regression")
    ((fitted, _),) = run.blend.members
    broken = replace(fitted, arrays={**fitted.arrays, "cities": fitted.arrays["cities"] * np.float32(np.nan)})
    with pytest.raises(GateFailed, match="nan"):
        pack(
            replace(run, blend=replace(run.blend, members=((broken, 1.0),))),
            report(run),
            parts,
            tmp_path / "bundle",
        )


def test_large_values_are_compared_in_what_float32_can_hold(tmp_path: Path) -> None:
    run, parts = trained("regression")
    shifted = replace(run, blend=replace(run.blend, offset=(0.0,)))
    ((fitted, _),) = shifted.blend.members
    far = replace(fitted, arrays={**fitted.arrays, "cities": fitted.arrays["cities"] + np.float32(3e8)})
    moved = replace(shifted, blend=replace(shifted.blend, members=((far, 1.0),)))
    assert pack(moved, report(run), parts, tmp_path / "b").predict(ROW) > 2.9e8


@pytest.mark.parametrize("task", [*LINKS, "forecast"])
def test_bill_of_materials_is_valid(tmp_path: Path, task: str) -> None:
    folder = make(tmp_path / "bundle", task)
    text = (folder / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    model = bill["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    graph = "forecast.npz" if task == "forecast" else "model.onnx"
    assert model["hashes"] == [{"alg": "SHA-256", "content": file_hash(folder / graph)}]
    kinds = {c["type"] for c in bill["components"]}
    assert kinds == {"data", "library"}
    libraries = {c["name"]: c["version"] for c in bill["components"] if c["type"] == "library"}
    assert libraries["lightgbm"] == "4.7.0"
    assert libraries["numpy"] == np.__version__
    assert "timestamp" not in bill["metadata"]
    assert "python" not in libraries


def test_bill_of_materials_of_a_packed_run_holds_its_figures(tmp_path: Path) -> None:
    run, parts = trained("binary")
    b = pack(run, report(run), parts, tmp_path / "bundle")
    text = (b.path / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    (first, second) = json.loads(text)["metadata"]["component"]["modelCard"]["quantitativeAnalysis"][
        "performanceMetrics"
    ]
    assert (first["type"], first["value"]) == ("roc_auc", "0.8")
    assert first["confidenceInterval"] == {"lowerBound": "0.75", "upperBound": "0.85"}
    assert (second["type"], "confidenceInterval" in second) == ("accuracy", False)


def test_use_cases_of_one_script_keep_their_own_names(tmp_path: Path) -> None:
    names = []
    for use_case in ("\u53ce\u5165", "\u60a3\u8005"):
        run, parts = trained("binary")
        brief = replace(run.plan.brief, use_case=use_case)
        run = replace(run, plan=replace(run.plan, brief=brief))
        names.append(pack(run, report(run), parts, tmp_path / str(len(names)) / "bundle").manifest.name)
    assert len(set(names)) == 2


def test_reference_profile_holds_predictions_of_scored_rows_alone(tmp_path: Path) -> None:
    run, parts = trained("binary")
    answers = run.answers.copy()
    answers[:40] = np.nan
    b = pack(replace(run, answers=answers), report(run), parts, tmp_path / "bundle")
    profile = json.loads((b.path / "profile.json").read_bytes())
    prediction = next(c for c in profile["columns"] if c["name"] == "prediction")
    assert prediction["missing"] == 0
    assert profile["rows"] == len(answers) - 40


def test_example_rows_never_hold_the_label(tmp_path: Path) -> None:
    run, parts = trained("multiclass")
    b = pack(run, report(run), parts, tmp_path / "bundle")
    assert "plan" not in (b.path / "examples.json").read_text()
    assert isinstance(json.loads((b.path / "examples.json").read_bytes())[0]["age"], int)


def test_no_row_of_the_table_leaves_as_an_example(tmp_path: Path) -> None:
    run, parts = trained("binary")
    b = pack(run, report(run), parts, tmp_path / "bundle")
    examples = json.loads((b.path / "examples.json").read_bytes())
    assert len(examples) == 5
    real = plain_rows(pl.concat([parts.development.frame, parts.test.frame]), b.schema)
    assert not [row for row in examples if row in real]
    held = {name: {row[name] for row in real} for name in ("age", "city")}
    assert all(row[name] in values for row in examples for name, values in held.items())
    for row in examples:
        b.schema.check_row(row)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-5, 5)),
            st.one_of(st.none(), st.sampled_from("abcdef")),
            st.one_of(st.none(), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_examples_are_usual_values_whatever_the_table(rows: list[tuple[object, ...]], seed: int) -> None:
    kinds = {"n": pl.Float64, "c": pl.String, "d": pl.Datetime("us")}
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    schema = Schema(
        (
            Column("n", "number", "feature", "float"),
            Column("c", "category", "feature", "string"),
            Column("d", "date", "feature", "datetime"),
        ),
        "binary",
    )
    made = synthetic(frame, schema, seed)
    assert made.schema == frame.schema
    assert made.height == 5
    assert made.equals(synthetic(frame, schema, seed))
    for name in ("n", "c"):
        seen = frame[name].drop_nulls()
        assert set(made[name]) <= (set(seen) if len(seen) else {None})
    for day in made["d"].drop_nulls():
        assert day.time() == time(0)
