"""Findings and profiles: leaks stop, honest tables do not, and histograms add up."""

from __future__ import annotations

import math
import sys
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.metrics import roc_auc_score

from data_sets import load
from modelyard.brief.brief import Brief, DataBrief
from modelyard.core.errors import DataError
from modelyard.data.alone import order_alone
from modelyard.data.column import Column
from modelyard.data.dataset import Dataset
from modelyard.data.finding import Finding
from modelyard.data.findings import findings
from modelyard.data.profile import PREDICTION, Profile, add, profile
from modelyard.data.read import read_data
from modelyard.data.schema import Schema
from modelyard.data.splitting import split

AFTER = (
    "sno death d.time slos sfdm2 charges totcst totmcst dnr dnrday adlp adls surv2m surv6m prg2m prg6m aps sps "
    "avtisst hday"
).split()


def found(frame: pl.DataFrame, label: str = "y", **data: object) -> tuple[Finding, ...]:
    brief = Brief(data=DataBrief(label=label, **data))  # type: ignore[arg-type]
    return findings(split(read_data(frame, brief), brief), brief)


def stops(frame: pl.DataFrame, label: str = "y", **data: object) -> list[str | None]:
    return [f.column for f in found(frame, label, **data) if f.severity == "stop"]


def table(rows: int = 2000, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    y = (x + rng.normal(size=rows) > 0).astype(int)
    return pl.DataFrame({"x": x, "z": rng.normal(size=rows), "c": rng.choice(list("abcd"), rows), "y": y})


HONEST: dict[str, tuple[str, dict[str, object]]] = {
    "adult": ("income", {}),
    "california_housing": ("MedHouseVal", {}),
    "framingham": ("chd_10y", {"group": "RANDID"}),
    "bikeshare": ("bikers", {"time": "day"}),
    "caravan": ("Purchase", {}),
    "wage_panel": ("lwage", {"group": "nr"}),
    "fars": ("INJURY_SEVERITY", {}),
    "m4_sample": ("value", {"group": "series", "time": "date"}),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_tables_are_not_stopped(name: str) -> None:
    label, data = HONEST[name]
    assert stops(load(name), label, **data) == []


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "wine", "digits", "diabetes"])
def test_measures_that_tell_much_are_not_stopped(name: str) -> None:
    held = getattr(datasets, f"load_{name}")()
    columns = {f"measure {i}": column for i, column in enumerate(held.data.T)}
    assert stops(pl.DataFrame(columns | {"y": held.target})) == []


@given(st.lists(st.tuples(st.integers(-9, 9) | st.none(), st.booleans()), min_size=1, max_size=40))
def test_the_order_of_a_column_is_judged_as_its_roc_curve_is(rows: list[tuple[int | None, bool]]) -> None:
    values, truth = [v for v, _ in rows], np.array([y for _, y in rows], dtype=np.int64)
    kept = np.array([v is not None for v in values])
    expected = 0.5
    if 2 * kept.sum() >= kept.size and len(set(truth[kept])) == 2:
        area = float(roc_auc_score(truth[kept], np.array([v for v in values if v is not None])))
        expected = max(area, 1 - area)
    assert order_alone(pl.Series(values, dtype=pl.Int64), truth) == pytest.approx(expected)


def test_support2_stops_until_the_brief_says_drop_or_keep() -> None:
    frame = load("support2")
    leaking = stops(frame, "hospdead")
    assert set(leaking) == {"death", "d.time", "surv2m", "surv6m"}
    assert set(leaking) < set(AFTER)
    assert stops(frame, "hospdead", drop=tuple(AFTER)) == []
    kept = found(frame, "hospdead", keep=tuple(leaking))
    assert not [f for f in kept if f.severity == "stop"]
    assert {f.column for f in kept if f.kind == "leak" and f.severity == "note"} == set(leaking)
    careful = next(f for f in found(frame, "hospdead") if f.column == "adlp")
    assert careful.severity == "warn"
    assert "is filled for" in careful.what


@pytest.mark.parametrize("form", ["copy", "noisy", "text", "curve", "missing"])
def test_a_column_that_knows_the_label_stops_the_run(form: str) -> None:
    rng = np.random.default_rng(1)
    y = table()["y"].to_numpy()
    leak = {
        "copy": pl.Series(y),
        "noisy": pl.Series(y + rng.normal(0, 0.2, y.size)),
        "text": pl.Series([f"{'p' if v else 'q'}{i % 40}" for i, v in enumerate(y)]),
        "curve": pl.Series(np.where(y == 1, 0, rng.choice([-2, 2], y.size)) + rng.uniform(-1, 1, y.size)),
        "missing": pl.Series([rng.normal() if v else None for v in y]),
    }[form]  # fmt: skip
    frame = table().with_columns(leak.alias("leak"))
    assert stops(frame) == ["leak"]
    assert stops(frame, drop=("leak",)) == []
    assert stops(frame, keep=("leak",)) == []


def test_numbers_and_classes_leak_as_well() -> None:
    rng = np.random.default_rng(5)
    value = rng.normal(size=1000)
    frame = table(1000).with_columns(y=pl.Series(value), leak=pl.Series(value**3))
    assert stops(frame) == ["leak"]
    code = rng.integers(0, 5, 1000)
    many = table(1000).with_columns(y=pl.Series(code), leak=pl.Series([f"k{(v * 3) % 5}" for v in code]))
    assert stops(many) == ["leak"]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 400))
def test_chance_does_not_stop_a_run(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {f"x{i}": rng.normal(size=rows) for i in range(10)}
        | {"many": [f"k{v}" for v in rng.integers(0, rows // 2, rows)]}
    ).with_columns(death=pl.Series(rng.random(rows) < 0.5), y=pl.Series(rng.integers(0, 2, rows)))
    assert stops(frame) == []


def test_an_entity_that_was_not_named_is_found() -> None:
    seen = [f for f in found(load("framingham"), "chd_10y") if f.kind == "entity"]
    assert [f.column for f in seen] == ["RANDID"]
    assert "SEX" in seen[0].what
    assert [f.column for f in found(load("wage_panel"), "lwage") if f.kind == "entity"] == ["nr"]
    assert not [f for f in found(load("wage_panel"), "lwage", group="nr") if f.kind == "entity"]
    for name in ("adult", "caravan", "california_housing"):
        assert not [f for f in found(load(name), HONEST[name][0]) if f.kind == "entity"]


def test_copies_across_the_split_are_found_and_chance_twins_are_not_blamed() -> None:
    frame = table(600)
    copied = pl.concat([frame, frame[:150]])
    # Under an entity's other name a copy may be divided from its row; without entities it never is.
    named = copied.with_columns(g=pl.int_range(750) // 5)
    assert [f.severity for f in found(named, group="g") if f.kind == "duplicates"] == ["warn"]
    assert not [f for f in found(copied) if f.kind == "duplicates"]
    assert not [f for f in found(frame) if f.kind == "duplicates"]
    coarse = frame.select(pl.col("x", "z").round(0), "c", "y")
    assert [f.severity for f in found(coarse) if f.kind == "duplicates"] == ["note"]


def test_drift_between_the_parts_is_found_and_worst_first() -> None:
    frame = table(2000).with_columns(t=pl.int_range(2000) * 1.0)
    moved = frame.with_columns(pl.when(pl.col("t") > 1500).then(pl.col("z") + 3).otherwise("z").alias("z"))
    drift = [f for f in found(moved, time="t") if f.kind == "drift"]
    assert [(f.column, f.severity) for f in drift] == [("z", "warn")]
    assert not [f for f in found(frame, time="t") if f.kind == "drift"]


def test_values_that_go_missing_in_the_test_part_are_found() -> None:
    frame = table(2000).with_columns(t=pl.int_range(2000) * 1.0)
    gone = frame.with_columns(
        pl.when((pl.col("t") > 1500) & (pl.col("t") % 2 == 0)).then(None).otherwise("c").alias("c")
    )
    (drift,) = [f for f in found(gone, time="t") if f.kind == "drift"]
    assert (drift.column, drift.severity) == ("c", "warn")
    assert "is missing in 50.0 % of the test part, and in" in drift.what


def test_thousands_of_like_findings_are_counted_not_listed() -> None:
    frame = table(100).with_columns([pl.lit(i).alias(f"k{i}") for i in range(50)])
    constant = [f for f in found(frame) if f.kind == "constant"]
    assert len(constant) == 6
    assert "45 more columns" in constant[-1].what


def test_findings_about_one_column_are_not_called_columns() -> None:
    names = [f"k{i % 100 if i < 1900 else i}" for i in range(2000)]
    rare = [f for f in found(table().with_columns(y=pl.Series(names))) if f.kind == "rare_class"]
    assert len(rare) == 6
    assert "95 more" in rare[-1].what
    assert "columns" not in rare[-1].what
    assert rare[-1].what.count("y.") == 1


def test_the_worst_comes_first() -> None:
    frame = table().with_columns(leak=pl.col("y") * 2.0, one=pl.lit(1))
    order = [f.severity for f in found(frame)]
    assert order == sorted(order, key=["stop", "warn", "note"].index)
    assert order[0] == "stop"


# Profiles


def dataset(frame: pl.DataFrame) -> Dataset:
    return read_data(frame, Brief(data=DataBrief(label="y", types={"n": "number", "c": "category"})))


rows_of = st.lists(
    st.tuples(
        st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 2.0]),
        st.none() | st.sampled_from([f"k{i}" for i in range(70)]),
        st.none() | st.booleans(),
    ),
    min_size=4,
    max_size=120,
)


def framed(rows: list[tuple[float | None, str | None, bool | None]]) -> pl.DataFrame:
    n, c, b = zip(*rows, strict=True)
    kinds = {"n": pl.Float64, "c": pl.String, "b": pl.Boolean, "v": pl.Float64, "y": pl.Int64}
    counted = range(len(rows))
    return pl.DataFrame({"n": n, "c": c, "b": b, "v": counted, "y": [i % 2 for i in counted]}, schema=kinds)


@settings(max_examples=80, deadline=None)
@given(rows_of, st.integers(1, 3))
def test_profiles_add_up(rows: list[tuple[float | None, str | None, bool | None]], cut: int) -> None:
    whole = dataset(framed(rows))
    first, rest = whole.take(np.arange(cut)), whole.take(np.arange(cut, len(whole)))
    reference = profile(whole)
    for column in reference.columns:
        assert sum(column.counts) + column.missing == reference.rows == len(rows)
        assert len(column.counts) == len(column.edges or column.levels) + 1 or not column.edges
        assert list(column.edges) == sorted(set(column.edges))
        assert len(column.edges) <= 20
        assert len(column.levels) <= 1000
        values = whole.frame[column.name].drop_nulls()
        if column.kind == "number" and values.len():
            for i, count in enumerate(column.counts):
                low = column.edges[i - 1] if i else -math.inf
                high = column.edges[i] if i < len(column.edges) else math.inf
                assert count == int(((values > low) & (values <= high)).sum())
    summed = add(profile(first, like=reference), profile(rest, like=reference))
    assert summed.rows == reference.rows
    for one, other in zip(summed.columns, reference.columns, strict=True):
        assert (one.counts, one.missing, one.low, one.high) == (other.counts, other.missing, other.low, other.high)
        if other.mean is not None and one.mean is not None and one.deviation is not None:
            assert one.mean == pytest.approx(other.mean, rel=1e-9, abs=1e-6)
            assert one.deviation == pytest.approx(other.deviation, rel=1e-6, abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=60), st.integers(1, 59))
@example([sys.float_info.max] * 30 + [-sys.float_info.max] * 30, 30)
@example([sys.float_info.max] * 7, 3)
@example([1e154, -1e154, 3e200, 0.0, 5e-324], 2)
@example([5e-324, 0.0, 5e-324], 1)
def test_moments_of_any_finite_numbers(values: list[float], cut: int) -> None:
    frame = pl.DataFrame({"n": values}, schema={"n": pl.Float64})
    data = Dataset(frame, Schema((Column("n", "number", "feature", "float"),), "regression"), "")
    made = profile(data)
    (column,) = made.columns
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    square = sum((v - mean) ** 2 for v in exact) / len(exact)
    width, least = max(map(abs, exact)), Fraction(5e-324)
    cut = min(cut, len(values) - 1)
    first, rest = data.take(np.arange(cut)), data.take(np.arange(cut, len(values)))
    summed = add(profile(first, like=made), profile(rest, like=made)).columns[0]
    for one in (column, summed):
        assert one.mean is not None
        assert one.deviation is not None
        assert min(values) <= one.mean <= max(values)
        assert abs(Fraction(one.mean) - mean) <= Fraction(1e-13) * width + least
        # Compared as squares, which have no range to leave.
        assert (
            abs(Fraction(one.deviation) ** 2 - square) <= Fraction(1e-7) * Fraction(width) ** 2 + Fraction(5e-324) ** 2
        )
    assert sum(column.counts) == len(values)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=30, max_size=300, unique=True))
def test_bins_of_a_number_hold_about_equally_many_rows(values: list[float]) -> None:
    counts = profile(dataset(framed([(v, None, None) for v in values]))).column("n").counts
    assert max(counts[:-1]) - min(counts[:-1]) <= 1


def test_a_profile_holds_the_prediction_and_goes_through_json() -> None:
    from modelyard.core.canonical import canonical_json, from_json

    data = dataset(table().rename({"x": "n"}))
    answers = np.random.default_rng(0).random(len(data))
    made = profile(data, answers)
    assert [c.name for c in made.columns] == ["n", "z", "c", PREDICTION]
    said = made.column(PREDICTION)
    assert said.mean == pytest.approx(answers.mean())
    assert max(said.counts) - min(said.counts) <= 2  # equal-frequency bins
    assert from_json(canonical_json(made), Profile) == made
    three = table().with_columns(y=pl.int_range(2000) % 3).rename({"x": "n"})
    classes = profile(dataset(three), np.eye(3)[[0, 1, 1, 2] * 500]).column(PREDICTION)
    assert dict(zip(classes.levels, classes.counts, strict=False)) == {"1": 1000, "0": 500, "2": 500}
    with pytest.raises(DataError, match="different bins"):
        add(made, profile(data))


def test_a_time_column_is_not_profiled_and_a_date_is() -> None:
    frame = table(100).with_columns(
        t=pl.datetime(2024, 1, 1) + pl.duration(days=pl.int_range(100)),
        born=pl.date(1980, 1, 1) + pl.duration(days=pl.int_range(100)),
    )
    made = profile(read_data(frame, Brief(data=DataBrief(label="y", time="t"))))
    assert [c.name for c in made.columns] == ["x", "z", "c", "born"]
    assert made.column("born").low == 10 * 365 * 86_400 + 2 * 86_400
