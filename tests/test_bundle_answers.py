"""What a loaded bundle answers, whatever its rows come as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import LINKS, ROW, Stumps, blend, bundle, table
from modelyard.bundle import latency
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.latency import measure
from modelyard.bundle.parity import as_answers
from modelyard.bundle.rows import few_rows
from modelyard.core.errors import BundleError, DataError, RowError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    home = tmp_path_factory.mktemp("answers")
    return {task: bundle(home / task, task) for task in (*LINKS, "forecast")}


def answers(task: str) -> np.ndarray[Any, Any]:
    data = table(task)
    made = blend(task, data)
    ((fitted, _),) = made.members
    return as_answers(made.answer(Stumps().predict(fitted, data)), len(data.schema.classes))


@pytest.mark.parametrize("task", list(LINKS))
def test_packed_answers_are_the_trained_ones(made: dict[str, Bundle], task: str) -> None:
    found = made[task].runtime.frame(table(task).frame)
    np.testing.assert_allclose(found, answers(task), atol=1e-5)


@pytest.mark.parametrize("task", list(LINKS))
def test_every_kind_of_table_gets_the_same_answer(made: dict[str, Bundle], task: str) -> None:
    b, frame = made[task], table(task).frame
    rows = plain_rows(frame, b.schema)
    expected = b.predict(frame)
    assert expected.shape == (len(frame),)
    for other in (frame.to_pandas(), frame.to_arrow(), table(task), rows, tuple(rows)):
        np.testing.assert_array_equal(b.predict(other), expected)
    assert [b.predict(row) for row in rows[:20]] == expected[:20].tolist()
    for few in (frame[:9], frame[:9].to_pandas(), frame[:9].to_arrow()):
        np.testing.assert_array_equal(b.predict(few), expected[:9])
        assert few_rows(b.schema, few) is not None  # read row by row, which is quicker, and the same
    assert few_rows(b.schema, frame) is None


def test_a_few_rows_that_do_not_fit_are_told_as_a_table_tells_them(made: dict[str, Bundle]) -> None:
    b, frame = made["binary"], table("binary").frame
    name = next(c.name for c in b.schema.features if c.kind == "number")
    assert few_rows(b.schema, frame[:3].drop(name)) is None
    with pytest.raises(DataError, match=name):
        b.predict(frame[:3].drop(name))
    spoilt = frame[:3].with_columns(pl.Series(name, ["1.5", "so", "2"]))
    assert few_rows(b.schema, spoilt) is None
    with pytest.raises((DataError, RowError), match=name):
        b.predict(spoilt.to_pandas())
    assert few_rows(b.schema, frame[:0]) is None
    assert b.predict(frame[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("task", "classes", "kind"), [("binary", (0, 1), int), ("multiclass", ("basic", "family", "pro"), str)]
)
def test_classes_have_the_type_of_the_label(
    made: dict[str, Bundle], task: str, classes: tuple[Any, ...], kind: type
) -> None:
    b = made[task]
    assert b.classes == classes
    assert type(b.predict(ROW)) is kind
    assert set(b.predict(table(task).frame).tolist()) == set(classes)
    p = b.predict_proba(table(task).frame)
    assert p.shape == (300, len(classes))
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert b.predict_proba(ROW).shape == (len(classes),)
    np.testing.assert_allclose(b.predict_proba([ROW])[0], b.predict_proba(ROW))


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.1])
def test_positive_class_is_answered_from_the_threshold_on(tmp_path: Path, threshold: float) -> None:
    b = bundle(tmp_path / "b", threshold=threshold)
    p = b.predict_proba(table("binary").frame)[:, 1]
    np.testing.assert_array_equal(b.predict(table("binary").frame), (p >= threshold).astype(int))
    assert b.threshold == threshold


@pytest.mark.parametrize(
    ("physical", "names", "classes"),
    [
        ("boolean", ("False", "True"), (False, True)),
        ("float", ("0.0", "1.0"), (0.0, 1.0)),
        ("string", ("no", "yes"), ("no", "yes")),
        ("integer", ("0", "1"), (0, 1)),
    ],
)
def test_labels_of_every_type(tmp_path: Path, physical: Any, names: tuple[str, ...], classes: tuple[Any, ...]) -> None:
    from dataclasses import replace

    from bundles import schema

    made = schema("binary")
    label = replace(made.columns[-1], physical=physical, levels=names)
    b = bundle(tmp_path / "b", schema=replace(made, columns=(*made.columns[:-1], label), classes=names))
    assert b.classes == classes
    assert type(b.predict(ROW)) is type(classes[0])


def test_numbers(made: dict[str, Bundle]) -> None:
    b = made["regression"]
    assert isinstance(b.predict(ROW), float)
    assert b.classes == ()
    assert b.threshold is None
    with pytest.raises(BundleError, match="no probabilities"):
        b.predict_proba(ROW)
    with pytest.raises(BundleError, match="no intervals"):
        b.interval(ROW)


def test_one_bad_row_names_every_bad_field(made: dict[str, Bundle]) -> None:
    with pytest.raises(RowError) as caught:
        made["binary"].predict({**ROW, "age": "old", "member": 7, "cty": "Oslo"})
    assert {p.pointer for p in caught.value.problems} == {"/age", "/member", "/cty"}


def test_bad_rows_are_named_by_place(made: dict[str, Bundle]) -> None:
    with pytest.raises(RowError) as caught:
        made["binary"].predict([ROW, {**ROW, "age": None}, ROW, {**ROW, "joined": "03/04/24"}, 5])
    assert [p.pointer for p in caught.value.problems] == ["/1/age", "/3/joined", "/4"]
    with pytest.raises(RowError) as caught:
        made["binary"].predict([{}] * 1000)
    assert len(caught.value.problems) <= 20


def test_tables_that_do_not_fit(made: dict[str, Bundle]) -> None:
    frame = table("binary").frame
    with pytest.raises(DataError, match="age"):
        made["binary"].predict(frame.drop("age"))
    with pytest.raises(DataError, match="table"):
        made["binary"].predict(7)


def test_label_that_comes_along_is_not_looked_at(made: dict[str, Bundle]) -> None:
    frame = table("regression").frame
    strange = frame.with_columns(pl.lit("strange").alias("spend"), pl.lit(1).alias("new column"))
    np.testing.assert_array_equal(made["regression"].predict(strange), made["regression"].predict(frame))


def test_no_rows_no_answers(made: dict[str, Bundle]) -> None:
    b = made["multiclass"]
    assert b.predict([]).shape == (0,)
    assert b.predict_proba([]).shape == (0, 3)
    assert b.predict(table("multiclass").frame.clear()).shape == (0,)


def test_chunks_do_not_show(made: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table("multiclass").frame
    whole = made["multiclass"].predict_proba(frame)
    monkeypatch.setattr("modelyard.bundle.runtimes.onnx.CHUNK", 7)
    np.testing.assert_array_equal(made["multiclass"].predict_proba(frame), whole)


@settings(max_examples=80, deadline=None)
@given(
    age=st.floats(-1e6, 1e6) | st.integers(-1000, 1000),
    income=st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    city=st.none() | st.text(max_size=12),
    member=st.booleans(),
    joined=st.none() | st.dates().map(str),
)
def test_any_row_that_is_accepted_is_answered_alike_alone_and_in_a_table(
    made: dict[str, Bundle], age: Any, income: Any, city: Any, member: bool, joined: Any
) -> None:
    row = {"age": age, "income": income, "city": city, "member": member, "joined": joined}
    b = made["binary"]
    alone = b.predict_proba(row)
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(b.predict_proba([row, ROW])[0], alone)
    frame = pl.DataFrame(
        [row],
        schema={"age": pl.Float64, "income": pl.Float64, "city": pl.String, "member": pl.Boolean, "joined": pl.String},
    )
    np.testing.assert_array_equal(b.predict_proba(frame)[0], alone)


def test_forecast_answers_by_series_and_time(made: dict[str, Bundle]) -> None:
    b = made["forecast"]
    row = {"shop": "south", "day": "2024-01-03"}
    assert b.predict(row) == 52.0
    assert b.predict([row, {"shop": "north", "day": "2024-01-07T00:00:00"}]).tolist() == [52.0, 16.0]
    np.testing.assert_array_equal(b.interval(row), [49.0, 55.0])
    np.testing.assert_array_equal(b.interval([row], coverage=0.95), [[46.0, 58.0]])
    frame = pl.DataFrame({"shop": ["north"], "day": ["2024-01-01"]}).with_columns(pl.col("day").str.to_date())
    assert b.predict(frame).tolist() == [10.0]


def test_forecast_says_what_it_has(made: dict[str, Bundle]) -> None:
    b = made["forecast"]
    with pytest.raises(RowError, match="2024-01-07") as caught:
        b.predict({"shop": "north", "day": "2025-01-01"})
    assert caught.value.problems[0].pointer == "/day"
    with pytest.raises(RowError, match="north, south") as caught:
        b.predict([{"shop": "north", "day": "2024-01-01"}, {"shop": "west", "day": "2024-01-01"}])
    assert caught.value.problems[0].pointer == "/1/shop"
    with pytest.raises(RowError) as caught:
        b.interval({"shop": "north", "day": "2025-01-01"})
    assert caught.value.problems[0].pointer == "/day"
    with pytest.raises(BundleError, match=r"0\.8, 0\.95"):
        b.interval({"shop": "north", "day": "2024-01-01"}, coverage=0.5)
    with pytest.raises(BundleError, match="no column explains"):
        b.explain({"shop": "north", "day": "2024-01-01"})
    with pytest.raises(BundleError, match="no probabilities"):
        b.predict_proba({"shop": "north", "day": "2024-01-01"})


def test_forecast_of_one_series_over_numbered_times() -> None:
    import io

    from modelyard.bundle.runtimes.arrays import ArraysRuntime
    from modelyard.data.schema import Column, Schema

    content = io.BytesIO()
    times = np.array([[1990_000_000, 1990_500_000]], dtype=np.int64)
    np.savez(content, series=np.array([""]), times=times, mean=np.array([[1.0, 2.0]]))
    made = Schema((Column("year", "number", "time", "float"), Column("sold", "number", "label", "float")), "forecast")
    runtime = ArraysRuntime(content.getvalue(), made)
    assert runtime.rows([{"year": 1990.5}]).tolist() == [[2.0]]
    assert runtime.known().to_dict(as_series=False) == {"year": [1990.0, 1990.5]}
    assert runtime.coverages == ()
    with pytest.raises(RowError, match=r"1990 to 1990\.5"):
        runtime.rows([{"year": 1991.0}])


def test_timing_is_of_real_rows_through_the_public_door(
    made: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    for task, rows in (("binary", table("binary")), ("regression", [ROW]), ("forecast", None)):
        timing = measure(made[task], rows, seconds=0.1)
        assert 0 < timing.p50 <= timing.p99
        assert timing.n > 10
        assert timing.rows_per_second > 100
        assert 100 < timing.batch <= 10_000
    # Ten times what an idle machine takes: enough to catch a walk over the schema in every call.
    assert measure(made["binary"], table("binary"), seconds=0.2).p50 < 500
    monkeypatch.setattr(latency, "_ONE_BATCH", 1e-9)  # as for a model that takes long
    assert measure(made["binary"], table("binary"), seconds=0.1).batch == 100
    with pytest.raises(DataError, match="no rows"):
        measure(made["binary"], table("binary").frame.clear())
