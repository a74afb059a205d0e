"""Candidates: what a table calls for, within the brief's budget, latency and size rule."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, Budget, DataBrief, Latency, Size
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.fitted import Candidate
from modelyard.families.tabular import candidates as proposing
from modelyard.families.tabular import probe as probing
from modelyard.families.tabular.answering import round_bytes, round_microseconds
from modelyard.families.tabular.inputs import read_inputs
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.portfolio import BOOSTED, read_table
from modelyard.families.tabular.probe import Pace, Probe
from modelyard.families.tabular.tabular import Tabular
from modelyard.training.search import within
from tabular_cases import TASKS, brief, frame


def proposed(asked: Brief, table: pl.DataFrame | None = None) -> tuple[Candidate, ...]:
    data = read_data(frame(asked.task or "binary", 4_000) if table is None else table, asked)
    learnt = split(data, asked).development
    return Tabular().candidates(asked, profile(learnt), learnt)


PACE, ENCODING, READING = Probe.pace, Probe.encoding_seconds, Probe.reading_seconds


@pytest.fixture(autouse=True)
def steady(monkeypatch):
    """A machine whose pace does not depend on who else is using it."""
    monkeypatch.setattr(proposing.Probe, "pace", lambda self, parameters: Pace(1e-3, 1e-7))
    monkeypatch.setattr(proposing.Probe, "linear_seconds", lambda self, rows: 0.1)
    monkeypatch.setattr(proposing.Probe, "encoding_seconds", lambda self, rows: 1e-3)
    monkeypatch.setattr(proposing.Probe, "reading_seconds", lambda self, rows: 1e-3)


def test_the_probe_looks_at_rows_set_aside_as_a_fit_does(monkeypatch):
    seen = []

    class Watched:
        @staticmethod
        def train(request):
            seen.append(request)
            return library("lightgbm").train(request)

    monkeypatch.setattr(probing, "library", lambda name: Watched)
    data = read_data(frame("binary", 400), brief("binary"))
    one = next(c for c in proposed(brief("binary")) if c.name == "lightgbm")
    PACE(Probe(data, 1, {}), one.parameters)
    assert seen
    assert all(request.stop is not None for request in seen)


def test_the_pace_is_what_a_library_takes(monkeypatch):
    now = [0.0]

    class Clocked:
        @staticmethod
        def train(request):
            now[0] += 0.02 + request.rounds * (0.01 + 1e-5 * len(request.learn.y))  # a start, and each round

    monkeypatch.setattr(probing, "library", lambda name: Clocked)
    monkeypatch.setattr(probing, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0]))
    asked = brief("binary")
    data = read_data(frame("binary", 4_000), asked)
    probe = Probe(data, 0, {})
    pace = PACE(probe, BOOSTED[0].parameters(read_table(asked, profile(data), data)))
    assert pace.per_round == pytest.approx(0.01, rel=1e-3)
    assert pace.per_row == pytest.approx(1e-5, rel=1e-3)
    assert pace.seconds(10_000, 20) == pytest.approx(20 * 0.11, rel=1e-3)
    # Short boosters over the numbers, and then over all their pairs: dearer than as many rounds of a fit.
    assert probe.deriving_seconds(pace, 4_000) > probing.derived.ROUNDS * pace.seconds(4_000, 1)
    assert Probe(data, 0, {}, derives=False).deriving_seconds(pace, 4_000) == 0


def test_the_encoding_of_the_folds_is_part_of_the_cost(monkeypatch):
    def slow(call):
        def later(*given):
            time.sleep(0.5)
            return call(*given)

        return later

    before = [c.cost.seconds for c in proposed(brief("binary"))]
    monkeypatch.setattr(proposing.Probe, "encoding_seconds", ENCODING)
    monkeypatch.setattr(probing, "cross_fit", slow(probing.cross_fit))
    encoded = [c.cost.seconds for c in proposed(brief("binary"))]
    assert all(after >= one + 0.9 for one, after in zip(before, encoded, strict=True))
    monkeypatch.setattr(proposing.Probe, "encoding_seconds", lambda self, rows: 1e-3)
    monkeypatch.setattr(proposing.Probe, "reading_seconds", READING)
    monkeypatch.setattr(probing, "read_inputs", slow(read_inputs))
    read = [c.cost.seconds for c in proposed(brief("binary"))]
    assert read[0] >= before[0] + 0.4  # rows are read once, by the first
    assert read[1:] == before[1:]


def test_forward_in_time_numbers_stay_as_they_are():
    table = frame("binary").with_columns(t=pl.int_range(pl.len()))
    for asked, derives in ((brief("binary"), True), (brief("binary", time="t"), False)):
        found = [c.parameters["derived"] for c in proposed(asked, table) if "derived" in c.parameters]
        assert found
        assert set(found) == {derives}


@pytest.mark.parametrize("task", TASKS)
def test_every_kind_is_there_with_a_reason_ranges_and_a_cost(task):
    found = proposed(brief(task))
    assert {c.name for c in found} >= {"linear", "lightgbm", "xgboost", "catboost"}
    assert len({c.name for c in found}) == len(found)
    assert found[0].name == "lightgbm"
    for one in found:
        assert one.family == "tabular"
        assert min(one.cost.seconds, one.cost.megabytes) > 0
        assert "rows" in one.reason
        assert "seconds" not in one.parameters
        assert not any(value is False or value == -1 for value in one.parameters.values())
        if one.name != "linear":
            assert one.guard is not None
            assert one.guard >= 10
            space = one.space
            assert 0.01 <= space["learning_rate"].low < space["learning_rate"].high == 0.3
            assert set(space) <= set(one.parameters)
            if one.parameters["algorithm"] == "lightgbm":
                assert 2 <= space["min_data_in_leaf"].low <= one.parameters["min_data_in_leaf"]
            else:
                assert (space["depth"].low, space["depth"].high) == (3, 8 if one.name == "catboost" else 10)
            assert one.name != "xgboost" or (space["min_child_weight"].low, space["min_child_weight"].high) == (1, 10)
            assert one.starts
            for first in one.starts:
                assert within(space, first) == first


def test_a_name_narrows_the_portfolio():
    for asked, names in (
        ("xgboost", {"xgboost"}),
        ("XGBoost", {"xgboost"}),
        ("linear", {"linear"}),
        ("lightgbm", {"lightgbm", "lightgbm-extra"}),
    ):
        assert {c.name for c in proposed(replace(brief("binary"), model=asked))} == names


def test_a_library_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(proposing, "has", lambda module: module != "catboost")
    assert "catboost" not in {c.name for c in proposed(brief("binary"))}


def test_few_rows_put_the_line_first_and_keep_trees_small():
    found = proposed(brief("binary"), frame("binary", 300))
    assert found[0].name == "linear"
    assert "few" in found[0].reason
    for one in found[1:]:
        leaves = one.parameters.get("leaves") or 2 ** one.parameters["depth"]
        assert leaves <= 300 / 10


@pytest.mark.parametrize("rows", [60, 600, 2_000, 12_000])
def test_the_leaves_of_a_tree_stay_within_the_size_rule(rows):
    for one in proposed(brief("regression"), frame("regression", rows)):
        if one.name != "linear":
            assert (one.parameters.get("leaves") or 2 ** one.parameters["depth"]) <= max(4, rows * 0.85 / 10)


def test_trees_of_many_classes_are_small_and_learn_slowly():
    """Where each row speaks for one of a hundred, large trees and steps soon lead away from all the others."""
    random = np.random.default_rng(0)
    codes = random.permutation(6_000) % 100
    table = pl.DataFrame({"a": codes + random.normal(size=6_000), "y": [f"k{c}" for c in codes]})
    found = proposed(replace(brief("multiclass"), data=DataBrief(label="y"), budget=Budget(seconds=10.0)), table)
    trees = [one for one in found if one.name != "linear"]
    assert trees
    for one in trees:
        assert one.parameters["learning_rate"] <= 0.12
        assert (one.parameters.get("leaves") or 2 ** one.parameters["depth"]) <= 8


@pytest.mark.parametrize(("classes", "first"), [(100, "catboost"), (10, "lightgbm")])
def test_where_the_first_kind_is_too_dear_for_many_classes_the_cheapest_takes_its_place(monkeypatch, classes, first):
    paces = {"lightgbm": 1.0, "catboost": 0.01, "xgboost": 1.0}
    monkeypatch.setattr(proposing.Probe, "pace", lambda self, given: Pace(paces[given["algorithm"]], 0.0))
    table = pl.DataFrame({"a": np.arange(3_000.0), "y": [f"k{i % classes}" for i in range(3_000)]})
    found = proposed(replace(brief("multiclass"), data=DataBrief(label="y"), budget=Budget(seconds=30.0)), table)
    assert next(one.name for one in found if one.name != "linear") == first


def test_a_smaller_budget_takes_coarser_rates_and_fewer_candidates():
    def total(found):
        return sum(c.cost.seconds for c in found)

    rates, counts = [], []
    for seconds in (100.0, 3.0, 1.0):
        found = proposed(replace(brief("binary"), budget=Budget(seconds)))
        boosted = [c for c in found if c.name != "linear"]
        assert total(found) <= 0.6 * seconds
        rates.append(boosted[0].parameters["learning_rate"])
        counts.append(len(boosted))
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] >= 1


def test_a_budget_nothing_fits_still_leaves_one_candidate():
    boosted = [c for c in proposed(replace(brief("binary"), budget=Budget(0.01))) if c.name != "linear"]
    assert [one.parameters["rounds"] for one in boosted] == [30]


def test_a_latency_limit_keeps_the_forest_small():
    wide = proposed(brief("binary"))
    narrow = proposed(replace(brief("binary"), latency=Latency(99.0, 0.1)))
    rounds = {c.name: c.parameters.get("rounds", 0) for c in wide}
    for one in narrow:
        if one.name != "linear":
            assert one.parameters["rounds"] < rounds[one.name]
            assert "p99 < 0.1 ms" in one.size


def test_a_limit_leaves_more_rounds_to_trees_that_answer_all_classes_at_once():
    at_ease = {c.name: c.parameters.get("rounds", 0) for c in proposed(brief("multiclass"))}
    for limit in ({"latency": Latency(99.0, 0.5)}, {"size": Size(2.0)}):
        rounds = {c.name: c.parameters.get("rounds", 0) for c in proposed(replace(brief("multiclass"), **limit))}
        assert 30 < rounds["xgboost"] < rounds["catboost"] < at_ease["catboost"]


def test_values_of_a_leaf_take_time_and_bytes_but_less_than_trees_of_their_own():
    for reckon in (round_microseconds, round_bytes):
        for depth in (3, 6):
            found = [reckon({"algorithm": "catboost", "depth": depth}, 2**depth, k) for k in (0, 2, 3, 8, 18)]
            assert found[0] == found[1] < found[2] < found[3] < found[4] < 8 * found[0]
            several = [reckon({"algorithm": "xgboost", "depth": depth}, 2**depth, k) for k in (2, 3, 8)]
            assert several == pytest.approx([several[0], 3 * several[0], 8 * several[0]])


def test_a_limit_no_forest_meets_leaves_trees_out_or_says_so():
    tight = Latency(99.0, 0.001)
    (line,) = proposed(replace(brief("binary"), latency=tight))
    assert line.name == "linear"
    for one in proposed(replace(brief("binary"), latency=tight, model="xgboost")):
        assert one.parameters["rounds"] == 30
        assert "(the fewest tried; " in one.size
        assert " by the rule: the forest stays within 30% of p99 < 0.001 ms)" in one.size
    some = proposed(replace(brief("binary"), latency=Latency(99.0, 0.03)))
    assert len(some) == 3  # of three kinds of trees each would have too few rounds
    for one in some:
        if one.name != "linear":
            assert one.parameters["rounds"] >= 30
            assert "the fewest" not in one.size


def test_many_rows_bring_large_trees():
    found = {c.name: c for c in proposed(brief("regression"), frame("regression", 13_000))}
    assert found["lightgbm-wide"].parameters["leaves"] == 96
    assert "lightgbm-extra" not in found


def test_a_rare_class_lets_the_search_weigh_classes():
    table = frame("binary", 2_000).with_columns(
        pl.when(pl.int_range(2_000) % 10 == 0).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("label")
    )
    rare = {c.name: c for c in proposed(brief("binary"), table)}
    assert rare["lightgbm"].space["balanced"].choices == (False, True)
    assert "rarest class" in rare["lightgbm"].reason
    assert "balanced" not in proposed(brief("binary"))[0].space


def test_the_probe_runs_every_library_on_this_machine(monkeypatch):
    monkeypatch.undo()
    asked = replace(brief("multiclass"), budget=Budget(seconds=600.0))  # for all of them, on a busy machine too
    found = proposed(asked, frame("multiclass", 600))
    assert len(found) == 5
    assert all(np.isfinite(c.cost.seconds) and c.cost.seconds > 0 for c in found)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_probe_times_labels_that_are_nearly_all_the_same(task):
    random = np.random.default_rng(0)
    label = np.zeros(6_000, dtype=np.int64)
    label[random.choice(6_000, 6, replace=False)] = 1
    table = pl.DataFrame({**{f"x{i}": random.normal(size=6_000) for i in range(40)}, "y": label})
    asked = replace(brief(task), data=DataBrief(label="y"))
    data = read_data(table, asked)
    for seed in range(5):
        probe = Probe(data, seed, {})
        for kind in BOOSTED:
            pace = PACE(probe, kind.parameters(read_table(asked, profile(data), data)))
            assert pace.seconds(6_000, 1) > 0


@pytest.mark.parametrize("trues", [1, 3])
def test_the_probe_times_features_that_are_nearly_all_the_same(trues):
    random = np.random.default_rng(0)
    rare = np.zeros(320, dtype=bool)
    rare[:trues] = True
    table = pl.DataFrame({"rare": rare, "label": np.where(random.random(320) < 0.5, "yes", "no")})
    data = read_data(table, brief("binary"))
    kind = next(k for k in BOOSTED if k.algorithm == "catboost")
    for seed in range(6):
        pace = PACE(Probe(data, seed, {}), kind.parameters(read_table(brief("binary"), profile(data), data)))
        assert np.isfinite(pace.seconds(320, 1))


def test_of_very_many_classes_some_are_timed(monkeypatch):
    seen = []

    class Watched:
        @staticmethod
        def train(request):
            seen.append(request.outputs)
            return library("lightgbm").train(request)

    monkeypatch.setattr(probing, "library", lambda name: Watched)
    codes = np.random.default_rng(0).permutation(1_000) % 80
    table = pl.DataFrame({"a": codes * 1.5, "y": [f"k{c}" for c in codes]})
    asked = brief("multiclass")
    data = read_data(table, replace(asked, data=replace(asked.data, label="y")))
    probe = Probe(data, 0, {})
    kind = next(k for k in BOOSTED if k.algorithm == "lightgbm")
    given = kind.parameters(read_table(asked, profile(data), data))
    few = probe._time(given, 800, 2)
    assert seen == [probing.TIMED_CLASSES + 1]
    assert few > 0


def test_the_probe_times_classes_that_a_cut_of_its_sample_does_not_hold():
    random = np.random.default_rng(0)
    codes = random.choice(120, 400).astype(str)
    table = pl.DataFrame({"a": random.normal(size=400), "y": [f"k{c}" for c in codes]})
    asked = brief("multiclass")
    data = read_data(table, replace(asked, data=replace(asked.data, label="y")))
    probe = Probe(data, 0, {})
    assert probe.outputs == len(data.schema.classes)
    kind = next(k for k in BOOSTED if k.algorithm == "catboost")
    given = kind.parameters(read_table(asked, profile(data), data))
    seconds = probe._time(given, 50, 1)  # fifty rows hold fifty of the classes at most
    assert np.isfinite(seconds)
    assert seconds > 0
