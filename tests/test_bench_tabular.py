"""The benchmark of tables: its splits are honest, its arithmetic is the textbook's, and it goes on where it was cut."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from tabular import results, runner
from tabular.bars import behind, latency_bars, losses, own_bars, quality_bars, ranks, spread, whole
from tabular.environments import FRAMEWORKS, environment
from tabular.report import BEGIN, END, last_line, markdown, put
from tabular.results import Asked, Key, append, complete, missing, read
from tabular.sets import MAIN, SETS, TabularSet
from tabular.split import split, write

ROWS = pd.DataFrame(
    {
        "who": np.repeat(np.arange(10), 4),
        "day": np.tile(np.arange(20), 2),
        "y": np.tile([0, 1, 1, 1], 10),
        "row": np.arange(40),
    }
)


def made(kind, **words):
    return TabularSet("made", lambda: ROWS, "y", "binary", kind, **words)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_group_lies_on_both_sides(seed):
    train, test = split(ROWS, made("group", group="who"), seed)
    assert set(train["who"]).isdisjoint(test["who"])
    assert test["who"].nunique() == 3
    assert sorted([*train["row"], *test["row"]]) == list(range(40))


def test_the_test_part_is_later_and_seeds_draw_the_training_rows():
    parts = [split(ROWS, made("time", time="day"), seed) for seed in (0, 1)]
    for train, test in parts:
        assert test["row"].tolist() == [14, 15, 16, 17, 18, 19, 34, 35, 36, 37, 38, 39]
        assert train["day"].max() < 14
        assert len(train) == 25  # nine tenths of 28
        assert train["row"].is_monotonic_increasing
    assert parts[0][0]["row"].tolist() != parts[1][0]["row"].tolist()


def test_where_one_time_holds_nearly_all_rows_their_order_divides_them():
    frame = ROWS.assign(day=[0] * 5 + [1] * 35)
    _, test = split(frame, made("time", time="day"), 0)
    assert test["row"].tolist() == list(range(28, 40))


def test_a_drawn_test_part_keeps_the_shares_of_the_classes_and_depends_on_the_seed():
    parts = [split(ROWS, made("rows"), seed) for seed in (0, 1)]
    for train, test in parts:
        assert sorted([*train["row"], *test["row"]]) == list(range(40))
        assert (len(test), test["y"].sum()) == (12, 9)
    assert parts[0][1]["row"].tolist() != parts[1][1]["row"].tolist()


def test_splits_are_those_on_record():
    """Recorded once from an independent script of the same rules, so that figures of the two may be compared."""
    _, grouped = split(ROWS, made("group", group="who"), 0)
    _, drawn = split(ROWS, made("rows"), 0)
    assert sorted(grouped["who"].unique()) == [2, 4, 6]
    assert drawn["row"].tolist() == [0, 2, 6, 9, 10, 12, 17, 20, 31, 33, 35, 37]


def test_sets_are_varied_enough_and_say_what_their_split_needs():
    assert len(SETS) >= 14
    assert {s.task for s in SETS.values()} == {"binary", "multiclass", "regression"}
    assert all(s.group for s in SETS.values() if s.split == "group")
    assert all(s.time for s in SETS.values() if s.split == "time")
    assert all(s.name == name for name, s in SETS.items())


def test_a_split_is_written_once_and_holds_neither_dropped_columns_nor_rows_without_a_label(tmp_path):
    frame = ROWS.assign(y=ROWS["y"].where(ROWS["row"] != 7), why=["a", None] * 20)
    of = TabularSet("made", lambda: frame, "y", "binary", "group", "who", drop=("day",))
    home = write(of, 0, tmp_path)
    parts = [pd.read_parquet(home / f"{part}.parquet") for part in ("train", "test")]
    rows = pd.concat(parts)
    assert list(rows.columns) == ["who", "y", "row", "why"]
    assert sorted(rows["row"]) == [i for i in range(40) if i != 7]
    assert rows["why"].isna().sum() == 19
    assert json.loads((home / "meta.json").read_text())["group"] == "who"
    (home / "train.parquet").unlink()
    assert write(of, 0, tmp_path) == home
    assert not (home / "train.parquet").exists()


def test_quality_is_the_textbook_s():
    label, known = pd.Series(["a", "b", "b"]), pd.Series(["a", "b"])
    p = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    found = runner.quality(p, ["a", "b"], label, known)
    assert found["log_loss"] == pytest.approx(-np.log([0.8, 0.6, 0.3]).mean())
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["roc_auc"] == 1.0
    turned = runner.quality(p[:, ::-1], ["b", "a"], label, known)
    assert turned == pytest.approx(found)
    unseen = runner.quality(p[:2], ["a", "b"], pd.Series(["a", "c"]), known)
    assert unseen["log_loss"] == pytest.approx(-np.log([0.8, 1e-7]).mean())
    numbers = runner.quality([1.0, 2.0], None, pd.Series([1.0, 4.0]), pd.Series([0.0]))
    assert numbers == {"rmse": pytest.approx(math.sqrt(2))}
    for answers, classes in (([1.0, math.nan], None), ([[0.5, 0.5], [math.nan, 1.0]], ["a", "b"])):
        with pytest.raises(ValueError, match="not every answer is a finite number"):
            runner.quality(answers, classes, pd.Series([1.0, 4.0] if classes is None else ["a", "b"]), known)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_runner_measures_its_framework(task, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"x": random.normal(size=400), "c": random.choice(["u", "v"], 400)})
    frame["y"] = frame["x"].round().clip(-1, 1) if task == "regression" else np.where(frame["x"] > 0, frame["c"], "w")
    home = write(TabularSet("made", lambda: frame, "y", task), 0, tmp_path)
    monkeypatch.setattr(runner, "SECONDS", 0.05)
    monkeypatch.chdir(tmp_path)
    found = runner.measure("lightgbm", home, 0, "lightgbm")
    assert found["rmse" if task == "regression" else "log_loss"] < 0.4
    assert (found["rows"], found["test_rows"], found["columns"]) == (280, 120, 2)
    assert found["row_ms_p50"] > 0


ASKED = Asked(FRAMEWORKS, ("one", "two"), (60, 240), (0, 1))


def record(loss, **more):
    return {"log_loss": loss, "fit_s": 50, "row_ms_p50": 5.0, "peak_mb": 100, "rows": 7, "test_rows": 3, **more}


def found_with(change=None, ours=0.5):
    """Return a full record in which ours is ahead of every peer, but for what ``change`` says."""
    found = {}
    for key in ASKED.runs():
        loss = ours if key.framework == "modelyard" else 0.6 + 0.01 * FRAMEWORKS.index(key.framework)
        more = {"dict_ms_p50": 0.1, "bare_ms_p50": 0.05, "columns": 30} if key.framework == "modelyard" else {}
        more |= {"command_s": key.budget, "out_of_fold": 0.5, "code": "now"} if key.framework == "modelyard" else {}
        found[key] = record(loss, version="1", **more)
    return found | {Key(*k): v for k, v in (change or {}).items()}


def test_a_framework_without_a_budget_runs_once_for_all():
    runs = ASKED.runs()
    assert len(runs) == len(set(runs)) == 4 * 2 * 2 * 2 + 2 * 2
    assert {k.budget for k in runs if k.framework == "lightgbm"} == {0}
    first = [k for k in runs if k.seed == 0 and k.budget in {0, 60}]
    assert runs[: len(first)] == first
    table = losses(found_with(), ASKED, 240)
    assert table.shape == (2, 2, 5)
    assert table[0, 0].tolist() == [0.5, 0.61, 0.62, 0.63, 0.64]


def test_ranks_share_ties_put_failures_last_and_skip_what_not_all_have_run():
    table = np.array([[[0.1, 0.2, 0.2], [0.3, math.inf, 0.1], [0.1, math.nan, 0.2]]])
    assert ranks(table).tolist() == [[1, 2.5, 2.5], [2, 3, 1]]


def test_interval_over_seeds_is_student_s():
    mean, half = spread(np.array([1.0, 2.0, 3.0]))
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / math.sqrt(3))  # t(.975, 2) * sd 1 / sqrt(3)
    assert math.isnan(spread(np.array([1.0]))[1])


def test_distance_is_to_the_best_mean_of_a_set():
    asked = Asked(("modelyard", "flaml", "mljar"), ("one", "two"), (60,), (0, 1))
    table = np.array([[[1.0, 1.0, 3.0], [2.0, 1.0, 1.0]], [[1.0, 2.0, math.inf], [math.nan, 1.0, 1.0]]])
    assert behind(table, asked).tolist() == [0.5, -0.5]
    failed = np.array([[[1.0, 2.0, 0.8], [2.0, 4.0, math.inf]], [[math.inf, 1.0, 1.0], [1.0, 1.0, 1.0]]])
    assert behind(failed, asked).tolist() == [0.25, math.inf]  # beside a peer that failed once, where it did not


def test_bars_hold_where_we_are_ahead():
    bars = [*quality_bars(found_with(), ASKED, 60), *latency_bars(found_with(), ASKED, 60)]
    assert [b.holds for b in bars] == [True] * 6


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({("autogluon", n, s, 60): record(0.4) for n in ("one", "two") for s in (0, 1)}, [0, 1, 2]),
        ({("autogluon", "one", s, 60): record(0.4) for s in (0, 1)}, [0, 1, 2]),
        ({("autogluon", "one", 0, 60): record(0.499)}, []),
        ({("flaml", "one", s, 60): record(0.49) for s in (0, 1)}, [2]),
        ({("modelyard", "one", 0, 60): {"error": "exit code 1"}}, [0, 2]),
    ],
)
def test_bars_fall_where_we_are_behind(change, lost):
    bars = quality_bars(found_with(change), ASKED, 60)
    assert [i for i, b in enumerate(bars) if b.holds is False] == lost
    assert all(b.holds for b in quality_bars(found_with(change), ASKED, 240))


@pytest.mark.parametrize(
    ("figures", "lost"),
    [
        ({"dict_ms_p50": 0.31, "bare_ms_p50": 0.2, "columns": 30}, [0, 2]),
        ({"dict_ms_p50": 0.31, "bare_ms_p50": 0.2, "columns": 31}, [2]),
        ({"dict_ms_p50": 0.1, "bare_ms_p50": 0.02, "columns": 30}, [1]),
        ({"dict_ms_p50": 0.51, "bare_ms_p50": 0.2, "columns": 100}, [2]),
        ({"dict_ms_p50": 0.61, "bare_ms_p50": 0.2, "columns": 75}, [0, 2]),
    ],
)
def test_latency_bars_fall_where_a_row_is_slow(figures, lost):
    change = {("modelyard", n, s, 60): record(0.5, **figures) for n in ("one", "two") for s in (0, 1)}
    bars = latency_bars(found_with(change), ASKED, 60)
    assert [i for i, b in enumerate(bars) if b.holds is False] == lost


def test_one_slow_set_among_fast_ones_loses_the_bar_of_every_set():
    slow = {"dict_ms_p50": 3.0, "bare_ms_p50": 2.0, "columns": 100}
    change = {("modelyard", "one", s, 60): record(0.5, **slow) for s in (0, 1)}
    fast = {
        ("modelyard", "two", s, 60): record(0.5, **slow | {"dict_ms_p50": 0.02, "bare_ms_p50": 0.01}) for s in (0, 1)
    }
    (bar,) = (b for b in latency_bars(found_with(change | fast), ASKED, 60) if "faster" in b.question)
    assert bar.holds is False


OURS = {"dict_ms_p50": 0.1, "bare_ms_p50": 0.05, "columns": 30, "command_s": 60, "out_of_fold": 0.5, "code": "now"}


@pytest.mark.parametrize(
    ("figures", "lost"),
    [
        ({}, []),
        ({"code": "older"}, [0]),
        ({"data": "other rows"}, [1]),
        ({"command_s": 63.1}, [2]),
        ({"out_of_fold": 0.4985}, [3]),
    ],
)
def test_our_own_bars_fall_where_source_is_mixed_a_run_is_late_or_more_time_is_a_loss(figures, lost):
    change = {("modelyard", "one", s, 60): record(0.5, **OURS | figures) for s in (0, 1)}
    assert [i for i, b in enumerate(own_bars(found_with(change), ASKED)) if b.holds is False] == lost


def test_a_run_of_ours_that_failed_keeps_no_budget_and_lets_no_time_be_a_gain():
    change = {("modelyard", "one", 0, 240): {"error": "exit code 1", "code": "now"}}
    assert [b.holds for b in own_bars(found_with(change), ASKED)] == [True, True, False, False]


def test_missing_runs_leave_bars_unanswered_and_the_last_line_says_so():
    found = found_with()
    del found[Key("flaml", "two", 1, 240)]
    assert {b.holds for b in quality_bars(found, ASKED, 240)} == {None}
    line, good = last_line(found, ASKED)
    assert not good
    assert "1 of 36 runs are missing" in line


def test_only_a_comparison_large_enough_can_succeed():
    assert not whole(ASKED)
    assert not last_line(found_with(), ASKED)[1]
    large = Asked(FRAMEWORKS, MAIN, (60, 240), (0, 1, 2))
    key = Key("modelyard", "one", 0, 60)
    found = {k: found_with()[key._replace(framework=k.framework, budget=k.budget)] for k in large.runs()}
    assert last_line(found, large) == ("bench-tabular: 13 of 13 bars hold", True)
    failed = found | {large.runs()[0]: {"error": "no"}}
    assert not last_line(failed, large)[1]


def test_the_report_shows_means_intervals_failures_and_goes_between_its_marks(tmp_path):
    change = {
        ("modelyard", "one", 0, 60): record(0.4, version="1"),
        ("mljar", "two", 0, 60): {"error": "exit code 1: no"},
    }
    text = markdown(found_with(change), ASKED)
    assert "**0.45 ± 0.64**" in text  # t(.975, 1) * .0707 / sqrt(2)
    assert "Failed, and ranked last there: mljar on two (seed 0, 60 s)." in text
    assert "| failed |" in text
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put(text, page)
    put(text, page)
    assert page.read_text() == f"before\n{BEGIN}\n\n{text}\n{END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has not both marks"):
        put(text, page)


def test_the_report_takes_the_columns_of_a_set_from_whoever_knows_them():
    change = {("modelyard", "two", seed, 240): {"error": "exit code 1: no"} for seed in (0, 1)}
    text = markdown(found_with({**change, ("flaml", "two", 0, 240): record(0.6, columns=12)}), ASKED)
    assert "| two | 12 |" in text


def test_a_killed_benchmark_goes_on_where_it_was(tmp_path):
    path, done = tmp_path / "record.jsonl", []

    def run(key):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(key)
        return record(0.5)

    with pytest.raises(KeyboardInterrupt):
        complete(ASKED, path, run=run)
    with path.open("a") as file:
        file.write('{"framework": "flaml", "set"')  # cut short by a kill
    rest = []
    complete(ASKED, path, run=lambda key: rest.append(key) or record(0.5))
    assert done + rest == ASKED.runs()
    assert set(read(path)) == set(ASKED.runs())
    complete(ASKED, path, run=lambda key: pytest.fail(f"{key} ran twice"))


def test_again_does_what_failed_and_what_other_code_of_ours_made(tmp_path):
    path = tmp_path / "record.jsonl"
    keys = [Key("modelyard", "one", 0, 60), Key("flaml", "one", 0, 60), Key("mljar", "one", 0, 60)]
    for key, more in zip(keys, ({"code": "old"}, {"error": "no"}, {}), strict=True):
        append(path, {**record(0.5), "framework": key.framework, "set": "one", "seed": 0, "budget": 60, **more})
    assert missing(keys, read(path), "new") == []
    assert missing(keys, read(path), "new", again=True) == keys[:2]
    assert missing(keys, read(path), "old", again=True) == keys[1:2]
    append(path, {**record(0.4), "framework": "flaml", "set": "one", "seed": 0, "budget": 60})
    assert read(path)[keys[1]]["log_loss"] == 0.4


def test_a_framework_that_fails_is_put_on_record_with_what_it_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELYARD_BENCH", str(tmp_path))
    monkeypatch.setattr(results, "python", lambda framework: sys.executable)
    monkeypatch.setitem(results.SETS, "made", made("rows"))
    found = results.measure(Key("mljar", "made", 0, 5))  # it is not installed here
    assert "No module named 'supervised'" in found["error"]
    assert "exit code 1" in found["error"]


def test_peers_do_not_see_this_project_s_import_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    assert "PYTHONPATH" not in environment("flaml")
    assert environment("modelyard")["PYTHONPATH"] == "somewhere"
