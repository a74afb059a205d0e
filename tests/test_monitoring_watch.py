"""watch on real bundles: silent on more of the same, and each fault raises its own alarm and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import make, table
from modelyard.bundle.load import load_bundle
from modelyard.core.errors import BundleError, DataError, WorkspaceError
from modelyard.data.profile import PREDICTION
from modelyard.monitoring.page import monitoring_page
from modelyard.monitoring.watch import Drift, alarms, compare, reference_profile, watch
from modelyard.registry.release import Release
from modelyard.retraining.triggers import TRIGGERS
from modelyard.serving.log import PredictionLog, Record
from modelyard.serving.predictions.load import load
from modelyard.serving.predictions.predictions import Predictions
from modelyard.serving.predictions.withhold import Withhold
from monitored import ROW, monitored, rows


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return monitored(tmp_path_factory.mktemp("watched") / "bundle")


def kinds(raised) -> set[tuple[str, str | None]]:
    return {(a.kind, a.column) for a in raised}


def urgent(raised) -> set[tuple[str, str | None]]:
    return {(a.kind, a.column) for a in raised if a.severity == "action"}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_more_of_the_same_raises_nothing(tmp_path, task):
    made = monitored(tmp_path / "bundle", task)
    found = compare(made, rows(1_000, task=task))
    assert alarms(found) == ()
    assert found.misfits == ()
    assert (found.rows, found.reference) == (1_000, 4_000)
    names = [c.name for c in found.columns]
    assert names == ["age", "income", "city", "member", "joined", PREDICTION]
    for column in found.columns:
        assert sum(column.window.counts) + column.window.missing == 1_000


def test_every_way_to_name_the_bundle_and_the_rows(bundle, tmp_path):
    frame = rows(400).with_columns(pl.col("age") * 0.5 + 40)
    paths = [tmp_path / name for name in ("rows.csv", "rows.parquet", "rows.arrow")]
    frame.write_csv(paths[0])
    frame.write_parquet(paths[1])
    frame.write_ipc(paths[2])
    release = Release("churn", 1, "production", str(bundle.path), bundle.hash, "run", "2024-03-09T12:00:00Z")
    expected = watch(bundle, frame)
    assert ("drift", "age") in kinds(expected)
    for source in (bundle, bundle.path, str(bundle.path), release):
        for traffic in (frame, frame.to_pandas(), frame.to_arrow(), *paths, str(paths[0])):
            assert watch(source, traffic) == expected


def test_a_shifted_column_and_the_predictions_it_moves(bundle):
    raised = watch(bundle, rows().with_columns(pl.col("income") * 0.3))
    assert ("drift", "income") in urgent(raised)
    assert {column for kind, column in kinds(raised) if kind == "drift"} == {"income"}
    assert raised[0].severity == "action"
    assert all(a.figure > a.limit for a in raised)
    assert all(a.runbook == a.kind for a in raised)
    moved = watch(bundle, rows().with_columns(age=pl.lit(89.0), income=pl.lit(1.0), city=pl.lit("Oslo")))
    assert "prediction_drift" in {a.kind for a in moved}


def test_a_small_shift_is_watched_once_two_windows_show_it(bundle):
    def week(seed):
        return rows(6_000, seed).with_columns(income=pl.col("income") * 0.96)

    assert watch(bundle, week(3)) == ()
    raised = watch(bundle, week(3), previous=week(4))
    assert {(a.kind, a.severity, a.column) for a in raised} == {("drift", "watch", "income")}
    assert watch(bundle, week(3), previous=rows(6_000, 5)) == ()


def test_missing_more_often(bundle):
    gone = pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise("income")
    raised = watch(bundle, rows().with_columns(income=gone))
    assert ("missing", "income") in urgent(raised)
    assert ("drift", "income") not in kinds(raised)


def test_a_column_the_model_does_not_know_raises_nothing_and_no_trigger_says_so(bundle):
    assert watch(bundle, rows().with_columns(ward=pl.lit("7"))) == ()
    (threshold,) = (t.threshold for t in TRIGGERS if t.kind == "schema")
    assert "new" not in threshold.replace(",", "").split()


@pytest.mark.parametrize("text", [False, True])
def test_values_that_the_brief_does_not_allow_are_alarms(tmp_path, text):
    limits = {"age": {"maximum": 90.0}, "city": {"allowed": ("Bergen", "Oslo", "Tromsø")}, "joined": {"minimum": 0.0}}
    made = table("binary").schema
    columns = tuple(replace(c, **limits.get(c.name, {})) for c in made.columns)
    bundle = monitored(tmp_path / "bundle", schema=replace(made, columns=columns))
    at = pl.int_range(pl.len())
    frame = rows(500).with_columns(
        age=pl.when(at < 3).then(999.0).otherwise("age"),
        city=pl.when(at < 5).then(pl.lit("Paris")).otherwise("city"),
        joined=pl.when(at < 7).then(pl.lit(datetime(1969, 12, 31))).otherwise("joined"),
    )
    traffic = frame
    if text:
        traffic = tmp_path / "rows.csv"
        frame.write_csv(traffic)
    found = compare(bundle, traffic)
    assert {(m.kind, m.column): m.rows for m in found.misfits} == {
        ("limit", "age"): 3, ("limit", "city"): 5, ("limit", "joined"): 7,
    }  # fmt: skip
    raised = alarms(found)
    assert {c for kind, c in urgent(raised) if kind == "schema"} == {"joined"}  # over 1 % of rows
    assert "does not allow in 3 of 500 rows: '999.0'" in next(a.what for a in raised if a.column == "age")
    predicted = next(c for c in found.columns if c.name == PREDICTION)
    assert sum(predicted.window.counts) == 493  # no row the server would refuse


@pytest.mark.parametrize("text", [False, True])
def test_rows_that_do_not_fit_are_alarms(bundle, tmp_path, text):
    frame = rows(500).with_columns(
        age=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("old")).otherwise(pl.col("age").cast(pl.String)),
        member=pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise("member"),
        joined=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("3/4/24")).otherwise(
            pl.col("joined").dt.strftime("%Y-%m-%d")
        ),
        city=pl.when(pl.int_range(pl.len()) < 20).then(pl.lit("Paris")).otherwise("city"),
    )  # fmt: skip
    traffic = frame
    if text:
        traffic = tmp_path / "rows.csv"
        frame.write_csv(traffic)
    found = compare(bundle, traffic)
    assert {(m.kind, m.column): m.rows for m in found.misfits} == {
        ("value", "age"): 5, ("missing", "member"): 7, ("value", "joined"): 3, ("level", "city"): 20,
    }  # fmt: skip
    raised = alarms(found)
    assert {("schema", "age"), ("schema", "member"), ("schema", "joined")} <= kinds(raised)
    assert {c for kind, c in urgent(raised) if kind == "schema"} == {"member"}  # over 1 % of rows
    # What did not fit is counted once: neither as a value nor as missing, nor is its row predicted.
    age = next(c for c in found.columns if c.name == "age")
    assert (sum(age.window.counts), age.window.missing) == (495, 0)
    predicted = next(c for c in found.columns if c.name == PREDICTION)
    assert sum(predicted.window.counts) == 495
    assert ("new_level", "city") in kinds(raised) - urgent(raised)
    assert "'old'" in next(a.what for a in raised if a.column == "age")


def test_a_column_that_is_gone_leaves_the_others_watched(bundle):
    found = compare(bundle, rows().drop("city").with_columns(pl.col("income") * 0.3))
    assert urgent(alarms(found)) == {("schema", "city"), ("drift", "income")}
    assert PREDICTION not in {c.name for c in found.columns}


def test_a_unit_that_changed_shows_beyond_the_range(bundle):
    frame = rows().with_columns(age=pl.when(pl.int_range(pl.len()) % 25 == 0).then(999.0).otherwise("age"))
    (alarm,) = watch(bundle, frame)
    assert (alarm.kind, alarm.severity, alarm.column) == ("range", "warning", "age")
    assert "999" in alarm.what


def test_an_empty_table_and_what_is_no_table(bundle, tmp_path):
    (alarm,) = watch(bundle, rows(1).clear())
    assert alarm.kind == "no_traffic"
    with pytest.raises(DataError):
        watch(bundle, tmp_path / "none.csv")
    with pytest.raises(BundleError):
        watch(tmp_path / "none", rows(1))
    with pytest.raises(WorkspaceError):
        list(_log(tmp_path / "none", []))


def _log(folder, weeks):
    """Write a prediction log: for each (days ago, frame) one request a row."""
    if not weeks:
        from modelyard.serving.log import read_log

        return read_log(folder)
    log = PredictionLog(folder)
    now = time.time()
    for days, frame in weeks:
        plain = frame.drop("id", "left").with_columns(pl.col("joined").dt.strftime("%Y-%m-%d")).to_dicts()
        for i in range(0, len(plain), 50):
            log.append(Record(f"{days}-{i}", now - 86_400 * days, "churn", "hash", plain[i : i + 50], [], 0.1))
    log.close()
    return folder


def test_a_prediction_log_is_two_windows(bundle, tmp_path):
    small = [rows(6_000, seed).with_columns(income=pl.col("income") * 0.96) for seed in (3, 4)]
    folder = _log(tmp_path / "log", [(0, small[0]), (3, rows(10, 9)), (9, small[1]), (40, rows(500, 5))])
    found = compare(bundle, folder)
    assert (found.rows, found.before) == (6_010, 6_000)
    assert {(a.kind, a.severity, a.column) for a in alarms(found)} == {("drift", "watch", "income")}
    assert compare(bundle, folder, days=60).rows == 12_510
    assert watch(bundle, _log(tmp_path / "odd", [(0, rows(300).with_columns(age=pl.lit("old")))]))[0].kind == "schema"


def test_a_log_that_was_loaded_is_watched_as_before(bundle, tmp_path):
    small = [rows(6_000, seed).with_columns(income=pl.col("income") * 0.96) for seed in (3, 4)]
    folder = _log(tmp_path / "log", [(0, small[0]), (9, small[1])])
    before = compare(bundle, folder)
    log = Predictions(folder)
    with closing(log.open()) as store:
        load(log, store)
    _log(folder, [(3, rows(10, 9))])
    found = compare(bundle, log)
    assert (found.rows, found.before) == (before.rows + 10, before.before) == (6_010, 6_000)
    assert {(a.kind, a.column) for a in alarms(found)} == {("drift", "income")}


def test_columns_that_were_withheld_are_not_missed_and_answers_are_still_compared(bundle, tmp_path):
    log = PredictionLog(tmp_path)
    log.withholds["hash"] = Withhold(["city"], ["income"], b"key")
    frame = rows(2_000, 3)
    asked = frame.drop("id", "left").with_columns(pl.col("joined").dt.strftime("%Y-%m-%d")).to_dicts()
    chances = bundle.predict_proba(frame.drop("id", "left"))
    answers = [
        {"prediction": 1, "probabilities": dict(zip(bundle.schema.classes, row, strict=True)), "served_by": "model"}
        for row in chances.tolist()
    ]
    log.append(Record("1", time.time(), "churn", "hash", asked, answers, 0.1))
    log.close()
    found = compare(bundle, tmp_path)
    assert found.rows == 2_000
    assert found.misfits == ()
    assert {"city", "income"} & {c.name for c in found.columns} == set()
    assert found.columns[-1].name == PREDICTION
    assert alarms(found) == ()


def test_a_log_of_another_model_is_not_this_ones(bundle, tmp_path):
    folder = _log(tmp_path / "log", [(0, rows(100))])
    other = replace(bundle, manifest=replace(bundle.manifest, name="other"))
    assert watch(other, folder)[0].kind == "no_traffic"


def test_a_forecast_is_watched_without_its_time(tmp_path):
    made = load_bundle(make(tmp_path / "bundle", "forecast"))
    found = compare(made, pl.DataFrame({"shop": ["north", "east"], "day": ["2031-01-01", "2031-01-02"]}))
    assert isinstance(found, Drift)
    assert "day" not in {c.name for c in reference_profile(made).columns}


def test_what_a_forecast_does_not_hold_is_an_alarm(tmp_path):
    made = load_bundle(make(tmp_path / "bundle", "forecast"))
    served = pl.DataFrame({"shop": ["north", "south"] * 100, "day": ["2024-01-03", "2024-01-07"] * 100})
    (calm,) = watch(made, served)
    assert (calm.kind, calm.severity) == ("not_compared", "watch")  # this profile has no column of a forecast's rows
    past = served.with_columns(day=pl.lit("2023-12-31"), sold=pl.lit(50.0))
    raised = watch(made, past)
    assert [(a.kind, a.severity, a.column) for a in raised] == [
        ("schema", "action", "day"),
        ("not_compared", "watch", None),
    ]
    assert "200 of 200" in raised[0].what
    assert "2023-12-31" in raised[0].what
    past.write_csv(tmp_path / "past.csv")
    assert watch(made, tmp_path / "past.csv")[0].column == "day"
    east = served.with_columns(shop=pl.lit("east"))
    assert [(a.severity, a.column) for a in watch(made, east) if a.kind == "schema"] == [("action", "shop")]
    few = pl.concat([served, past.head(1).select("shop", "day")])
    assert [(a.severity, a.column) for a in watch(made, few) if a.kind == "schema"] == [("warning", "day")]
    page = monitoring_page(made, compare(made, served), (calm,)).markdown()
    assert "nothing could be compared" in page
    odd = {"shop": [None, "north"], "day": ["soon", None]}
    assert {a.kind for a in watch(made, pl.DataFrame(odd))} >= {"schema", "not_compared"}
    assert watch(made, pl.DataFrame({"shop": ["north"], "day": [None]}))[0].kind == "schema"
    # What a server answered was held then, whatever this bundle holds.
    log = PredictionLog(tmp_path / "log")
    asked = past.select("shop", "day").to_dicts()
    log.append(Record("1", time.time(), "churn", "hash", asked, [], 0.1))
    log.close()
    assert {a.kind for a in watch(made, tmp_path / "log")} == {"not_compared"}


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.text(max_size=6), st.floats())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_the_rows_hold_is_an_alarm_and_no_traceback(bundle, data):
    count = data.draw(st.integers(1, 5))
    columns = {}
    for name in ROW:
        kind = data.draw(st.sampled_from([st.booleans(), st.integers(-99, 99), st.text(max_size=6), st.floats()]))
        if data.draw(st.booleans()):
            columns[name] = data.draw(st.lists(st.none() | kind, min_size=count, max_size=count))
    columns["more"] = [1] * count
    found = compare(bundle, pl.DataFrame(columns, strict=False))
    assert found.rows == count
    raised = alarms(found)
    assert {(m.column) for m in found.misfits if m.kind == "absent"} == set(ROW) - set(columns)
    assert all(a.what and a.do for a in raised)


def test_watching_loads_nothing_that_trains(bundle, tmp_path):
    rows(50).write_csv(tmp_path / "rows.csv")
    code = (
        "import sys, json\n"
        "from modelyard.monitoring.watch import watch\n"
        f"watch({str(bundle.path)!r}, {str(tmp_path / 'rows.csv')!r})\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert loaded.isdisjoint({"torch", "sklearn", "pandas", "mlflow", "scipy", "lightgbm", "xgboost", "onnx"})
