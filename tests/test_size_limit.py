"""A limit on the model's file: reckoned before it is packed, kept by the plan, by the blend and by the file itself."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import tabular_cases as cases
from modelyard.brief.brief import Brief, Budget, DataBrief, Latency, Size, Validation
from modelyard.core.errors import BriefError
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.tabular.answering import own_bytes
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.models import load_models
from modelyard.families.tabular.tabular import Tabular
from modelyard.registry import gates
from modelyard.selection.select import select
from modelyard.training.limits import OF_A_LOOK_UP, USUAL_MICROSECONDS, of_models, room, spread
from modelyard.training.recipe import read_recipe, write_recipe
from modelyard.training.train import train
from test_training_finish import BOTH, Whole
from test_training_tabular import table
from toy_family import dataset, parts_of, plan_of


@pytest.mark.parametrize("task", cases.TASKS)
@pytest.mark.parametrize("algorithm", ["lightgbm", "xgboost", "catboost"])
def test_leaves_are_counted_as_the_graph_has_them(algorithm, task):
    depth = {} if algorithm == "lightgbm" else {"depth": 6}  # so deep that some leaves stay empty
    fitted = Tabular().fit(cases.candidate(algorithm, **depth), cases.parts(task), 0)
    for text in fitted.texts.values():
        forest = library(algorithm).forest(text)
        ends = np.append(forest.roots[1:], len(forest.feature))
        nodes = ends - forest.roots
        assert library(algorithm).leaves(text) == ((nodes + 1) // 2).tolist()


@pytest.mark.parametrize("task", cases.TASKS)
@pytest.mark.parametrize("algorithm", cases.LIBRARIES)
def test_the_reckoned_size_is_that_of_the_file(algorithm, task):
    made = cases.parts(task)
    folds = Tabular().fit(cases.candidate(algorithm), made, 0)
    fitted = cases.whole(cases.candidate(algorithm), made)
    held = len(Tabular().export(cases.blend(task, [fitted]), made.development).files["model.onnx"])
    models = load_models(fitted)
    known = own_bytes(fitted.candidate.parameters, models, fitted.whole, fitted.whole) + fitted.shared_bytes
    assert known == fitted.own_bytes + fitted.shared_bytes
    assert 1.0 <= known / held <= 1.35 or 0 <= known - held <= 4_000
    reckoned = folds.own_bytes + folds.shared_bytes  # before the models on every row are there
    assert 0.9 <= reckoned / held <= 1.6 or abs(reckoned - held) <= 4_000


def test_levels_of_categories_count():
    random = np.random.default_rng(0)
    names = [f"a rather long name of a level, number {i}" for i in range(3_000)]
    frame = pl.DataFrame({c: random.choice(names, 6_000) for c in "abc"} | {"label": random.normal(size=6_000)})
    brief = Brief(data=DataBrief(label="label", types=dict.fromkeys("abc", "category")), validation=Validation(folds=2))
    made = split(read_data(frame, brief), brief)
    fitted = cases.whole(cases.candidate("lightgbm", rounds=3), made)
    held = len(Tabular().export(cases.blend("regression", [fitted]), made.development).files["model.onnx"])
    assert held > 200_000
    assert 0.95 <= (fitted.own_bytes + fitted.shared_bytes) / held <= 1.3
    data = made.development
    with pytest.raises(BriefError, match="What every model keeps of the categories takes about") as caught:
        Tabular().candidates(replace(brief, metric="rmse", size=Size(0.2)), profile(data), data)
    assert "drop columns of many levels: a" in str(caught.value) or "levels: " in str(caught.value)


class Large(Whole):
    """A toy whose members take so many bytes of the file, the shared ones apart."""

    def __init__(self, own, shared=0.0):
        super().__init__()
        self.own, self.shared = own, shared

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        fitted = super().fit(candidate, parts, seed, watch, rounds)
        return replace(fitted, own_bytes=self.own, shared_bytes=self.shared)


@pytest.mark.parametrize(
    ("own", "shared", "members"), [(4e5, 0, 2), (6e5, 0, 1), (4e5, 3e5, 1), (4e5, 1e5, 2), (9e6, 0, 1)]
)
def test_a_size_keeps_the_blend_small(own, shared, members):
    data = dataset()
    plan = plan_of(data, BOTH, size=Size(1.0))
    assert len(train(plan, parts_of(data), family=Large(own, shared)).blend.members) == members
    assert len(train(plan_of(data, BOTH), parts_of(data), family=Large(own, shared)).blend.members) == 2


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ((6e5, 6.5e5), r"0\.6\d? MB beside the members' 0\.6\d? MB, and there is room for 1 MB; it would take "),
        ((3e5, 1.2e6), r"1\.2 MB, and the file has room for 1 MB$"),
    ],
)
def test_a_fit_that_the_size_has_no_room_for_says_so(own, said):
    class Uneven(Large):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            self.own = own[candidate.name == "two"]
            return super().fit(candidate, parts, seed, watch, rounds)

    data = dataset()
    run = train(plan_of(data, BOTH, size=Size(1.0)), parts_of(data), family=Uneven(0.0))
    (why,) = (entry.why for entry in run.leaderboard if not entry.weight)
    assert re.match(f"too large: {said}", why)


class Grown(Whole):
    """A toy of three models on every row, each larger than its folds let reckon."""

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        fitted = super().fit(candidate, parts, seed, watch, rounds)
        if not parts.split.folds:
            return replace(fitted, own_bytes=4e5 * len(rounds))
        return replace(fitted, whole=fitted.whole * 3, own_bytes=3e5)


def test_what_turns_out_larger_than_reckoned_is_fitted_fewer_times_and_weighed_anew():
    data, family = dataset(), Grown()
    run = train(plan_of(data, BOTH, size=Size(1.0)), parts_of(data), family=family)
    assert [len(rounds) for _, rounds in family.asked] == [3, 2, 3, 2]
    assert [(len(one.whole), one.own_bytes) for one, _ in run.blend.members] == [(2, 8e5)]  # two would be too large


class Shared(Grown):
    """A toy of three models on every row that take much of the file together, and so more than their part alone."""

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        fitted = super().fit(candidate, parts, seed, watch, rounds)
        return fitted if parts.split.folds else replace(fitted, own_bytes=7e5 + 2e5 * len(rounds))


def test_a_replay_fits_as_many_models_on_every_row_as_the_run_ended_with(tmp_path):
    data = dataset()
    plan = plan_of(data, BOTH[:1], size=Size(1.0))
    run = train(plan, parts_of(data), family=Shared(microseconds=90.0))
    recipe = read_recipe(write_recipe(run, tmp_path))
    again = train(plan, parts_of(data), family=Shared(microseconds=90.0), replay=recipe)
    for blend in (run.blend, again.blend):
        assert [(len(one.whole), one.microseconds) for one, _ in blend.members] == [(2, 60.0)]


def asks(plan, **asked):
    return replace(plan, brief=replace(plan.brief, **asked))


def test_as_many_models_on_every_row_as_the_limits_leave_room_for():
    fitted = cases.whole(cases.candidate("lightgbm"), cases.parts("binary"))
    fitted = replace(fitted, whole_seconds=3.0)
    assert len(fitted.whole) == 6
    plan = plan_of(dataset())

    def count(left=1e9, **asked):
        return [len(one.whole) for one in spread([(fitted, 1.0)], asks(plan, **asked), left)]

    assert count() == [6]
    assert count(size=Size((fitted.own_bytes / 2 + fitted.shared_bytes) / 1e6)) == [3]
    assert count(latency=Latency(99, fitted.microseconds / 300 / 3 + 1e-9)) == [2]
    assert count(size=Size(1e-6)) == [1]
    assert count(left=0.0) == [1]
    half = of_models(fitted, 3)
    assert (half.whole, half.own_bytes) == (fitted.whole[:3], pytest.approx(fitted.own_bytes / 2))
    assert of_models(fitted, 9) is fitted
    assert room(asks(plan, size=Size(1.0)), fitted.shared_bytes)[1] == 1e6 - fitted.shared_bytes


def test_what_categories_take_to_look_up_is_no_room_for_trees():
    plan = plan_of(cases.parts("binary").development)
    wordy = sum(column.kind not in ("number", "boolean") for column in plan.schema.features)
    assert wordy
    assert room(asks(plan, latency=Latency(99, 1.0)))[0] == 300 - OF_A_LOOK_UP * wordy
    assert room(asks(plan, latency=Latency(99, 0.001)))[0] == 0.15  # half of it at least
    assert room(plan)[0] == USUAL_MICROSECONDS - OF_A_LOOK_UP * wordy


def test_the_larger_share_is_averaged_over_more_models():
    fitted = cases.whole(cases.candidate("lightgbm"), cases.parts("binary"))
    tight = asks(
        plan_of(dataset()), latency=Latency(99, fitted.microseconds * 5 / 6 / 300 + 1e-9)
    )  # five models in all
    made = spread([(fitted, 0.8), (fitted, 0.2)], tight, 1e9)
    assert [len(one.whole) for one in made] == [4, 1]
    assert sum(one.microseconds for one in made) <= tight.brief.latency.model_microseconds


def test_the_plan_and_the_file_keep_to_a_size():
    frame, sizes = table("binary", 900), []
    brief = Brief(data=DataBrief(label="y"), budget=Budget(4.0, 2), validation=Validation(folds=2), seed=3)
    for megabytes in (None, 0.4, 0.15):
        asked = replace(brief, size=None if megabytes is None else Size(megabytes))
        data = read_data(frame, asked)
        parts = split(data, asked)
        plan = select(asked, data, parts=parts)
        run = train(plan, parts)
        sizes.append(len(Tabular().export(run.blend, parts.development).files["model.onnx"]))
        grown = [c for c in plan.candidates if c.name != "linear"]
        assert grown
        assert all((f"the model's file stays < {megabytes} MB" in c.size) is (megabytes is not None) for c in grown)
    assert sizes[2] < 150_000 < sizes[0]
    assert sizes[1] < 400_000


def test_a_size_no_forest_keeps_leaves_a_line():
    data = read_data(table("binary", 900), Brief(data=DataBrief(label="y")))
    plan = select(Brief(data=DataBrief(label="y"), size=Size(0.01)), data)
    assert [c.name for c in plan.candidates] == ["linear"]
    said = {one.title: one.reason for one in plan.left_out}
    assert said["boosted trees"] == "even the fewest worth growing would take too much of < 0.01 MB"


def test_the_gate_reads_the_packed_file():
    asked = Size(1.0)
    assert gates.size(None, 5).answer == "pass"
    assert gates.size(asked, None).answer == "inconclusive"
    assert gates.size(asked, 999_999).answer == "pass"
    assert gates.size(asked, 1_000_000).answer == "fail"
    assert gates.size(asked, 2_340_000).why == "2.34 MB is the file that answers; asked < 1 MB"
