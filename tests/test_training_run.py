"""train: what comes out of a plan, the budget, failures, and replays."""

from __future__ import annotations

import json
import re
import string
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import optuna
import polars as pl
import pytest

import toy_family
from modelyard.core.errors import TrainingError, WorkspaceError
from modelyard.core.progress import Silent
from modelyard.families.fitted import Range
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.reading import reading
from modelyard.selection.document import architecture_document
from modelyard.training.calibration import calibrate
from modelyard.training.environment import environment, lock
from modelyard.training.recipe import read_recipe, write_recipe
from modelyard.training.search import within
from modelyard.training.store import load_leaderboard, load_run, save_run
from modelyard.training.train import run_name, train
from toy_family import Toy, candidate, dataset, parts_of, plan_of


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("strategy", ["random", "time"])
def test_a_run_holds_what_it_says(task, strategy):
    data = dataset(task)
    parts, plan = parts_of(data, strategy=strategy), plan_of(data)
    run = train(plan, parts, family=Toy())
    weights = [w for _, w in run.blend.members]
    assert sum(weights) == pytest.approx(1)
    assert min(weights) > 0
    assert run.blend.members[0][0].candidate.name == "squares"  # the data are quadratic
    assert run.answers.shape == ((270, 3) if task == "multiclass" else (270,))
    scored = np.isfinite(run.answers.reshape(270, -1)).all(axis=1)
    assert scored.sum() == (270 if strategy == "random" else sum(len(f.score) for f in parts.split.folds))
    metric = find_metric(plan.metric)
    truth = parts.development.truth()[scored]
    assert run.score == metric(truth, reading(metric, run.answers[scored]))
    alone = {e.name: e.score for e in run.leaderboard}
    assert metric.better(run.score, alone["plain"])
    assert [e.score for e in run.leaderboard] == sorted(alone.values(), key=metric.loss)
    assert {e.name: e.weight for e in run.leaderboard if e.weight} == {
        f.candidate.name: w for f, w in run.blend.members
    }


def test_the_test_part_is_not_handed_to_the_family():
    class Nosy(Toy):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            assert parts.test is None
            return super().fit(candidate, parts, seed, watch, rounds)

    data = dataset()
    assert train(plan_of(data), parts_of(data), family=Nosy()).blend.members


def test_same_seed_same_run_and_other_seed_another():
    data = dataset()
    parts = parts_of(data)
    one, same = (train(plan_of(data, trials=4), parts, family=Toy()) for _ in range(2))
    other = train(plan_of(data, trials=4, seed=1), parts, family=Toy())
    assert one.answers.tobytes() == same.answers.tobytes()
    assert (one.blend.scale, one.blend.offset) == (same.blend.scale, same.blend.offset)
    assert [e.parameters for e in one.leaderboard] == [e.parameters for e in same.leaderboard]
    assert one.answers.tobytes() != other.answers.tobytes()


def test_the_search_makes_as_many_trials_as_asked_and_stays_in_its_ranges():
    data = dataset()
    run = train(plan_of(data, trials=7), parts_of(data), family=Toy())
    trials = [e for e in run.leaderboard if "-t" in e.name]
    assert len(trials) == 7
    assert all(0.01 <= e.parameters["rate"] <= 0.5 for e in trials)
    assert len({e.parameters["rate"] for e in trials}) == 7
    assert {e.name.split("-t")[0] for e in trials} == {"plain", "squares"}


@pytest.mark.parametrize("easy", [False, True])
def test_hopeless_trials_are_pruned(easy):
    class Uneven(Toy):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            def told(fold, loss):  # an easy first fold, that all do well on
                watch(fold, loss / 10 if easy and fold == 0 else loss)

            return super().fit(candidate, parts, seed, told if watch else None, rounds)

    # Rates this small never leave the start: after one fold they are behind the median.
    ranges = candidate("squares", squares=True)
    data = dataset(rows=400)
    run = train(plan_of(data, (ranges,), trials=25), parts_of(data, folds=4), family=Uneven())
    pruned = [e for e in run.leaderboard if e.note.startswith("pruned")]
    assert pruned
    assert all(np.isnan(e.score) and e.weight == 0 for e in pruned)
    assert not any("after 4" in e.note for e in pruned)  # whose last fold is fitted anyway
    assert len(run.leaderboard) == 26


def test_the_search_starts_from_what_it_searches_around():
    space = {
        "depth": Range("int", 3, 10),
        "rate": Range("float", 0.01, 0.3),
        "balanced": Range("choice", choices=(0, 1)),
    }
    known = {"rate": 0.1, "balanced": 0, "depth": 6, "leaves": 31}
    assert within(space, known) == {"balanced": 0, "depth": 6, "rate": 0.1}
    assert within(space, {**known, "rate": 0.5}) is None
    assert within(space, {**known, "balanced": 3}) is None
    assert within(space, {"rate": 0.1, "balanced": 0}) is None


def test_the_search_is_taught_by_its_start_and_samples_by_a_parzen_estimator(monkeypatch):
    made = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **given: made.append(create(**given)) or made[-1])
    data = dataset()
    run = train(plan_of(data, (candidate("plain"),), trials=2), parts_of(data), family=Toy())
    (study,) = made
    assert isinstance(study.sampler, optuna.samplers.TPESampler)
    assert next(trial.params for trial in study.trials) == {"rate": 0.3}
    told = {e.parameters["rate"]: e.name for e in run.leaderboard}
    assert [told[trial.params["rate"]] for trial in study.trials] == ["plain", "plain-t1", "plain-t2"]
    assert all(np.isfinite(trial.value) for trial in study.trials if trial.value is not None)
    assert study.trials[0].value is not None


def test_the_search_tries_first_what_a_candidate_names():
    data = dataset()
    named = replace(candidate("plain"), starts=({"rate": 0.05}, {"rate": 0.2}))
    run = train(plan_of(data, (named,), trials=4), parts_of(data), family=Toy())
    tried = {e.name: e.parameters["rate"] for e in run.leaderboard}
    assert [tried[f"plain-t{i}"] for i in (1, 2)] == [0.05, 0.2]
    assert len(set(tried.values())) == 5


@pytest.fixture
def pauses(monkeypatch):
    """Let time pass where a toy pauses and nowhere else, however busy the machine is."""
    now = [100.0]

    def sleep(seconds):
        now[0] += seconds

    told = SimpleNamespace(monotonic=lambda: now[0], process_time=lambda: now[0], sleep=sleep)
    for unit in ("modelyard.training.attempts", "modelyard.training.clock", "toy_family"):
        monkeypatch.setattr(f"{unit}.time", told)


def test_a_small_budget_is_kept_and_still_gives_a_model(pauses):
    data = dataset()
    plan = plan_of(data, (candidate("plain", seconds=9.0), candidate("slow", seconds=99.0)), seconds=1.0, trials=None)
    run = train(plan, parts_of(data), family=Toy(pause=0.1))
    assert 0.2 < run.seconds <= 1.0
    assert [f.candidate.name.split("-t")[0] for f, _ in run.blend.members] == ["plain"] * len(run.blend.members)
    skipped = next(e for e in run.leaderboard if e.name == "slow")
    assert skipped.note.startswith("not tried")
    assert np.isnan(skipped.score)


def test_a_candidate_slower_than_its_probe_is_stopped_after_a_fold(pauses):
    class Uneven(Toy):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            self.pause = 0.5 if candidate.name == "squares" else 0.0
            return super().fit(candidate, parts, seed, watch, rounds)

    data = dataset()
    run = train(plan_of(data, seconds=0.8), parts_of(data, folds=5), family=Uneven())
    assert run.seconds <= 0.8 + 0.5  # one fold past it at most
    assert next(e for e in run.leaderboard if e.name == "squares").note.startswith("stopped")


def test_a_fit_whose_last_fold_ends_late_is_kept(pauses):
    class Late(Toy):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            def told(fold, loss):
                if candidate.name == "squares" and fold == 2:
                    toy_family.time.sleep(0.6)
                if watch is not None:
                    watch(fold, loss)

            return super().fit(candidate, parts, seed, told, rounds)

    data = dataset()
    run = train(plan_of(data, seconds=0.6), parts_of(data, folds=3), family=Late())
    assert "squares" in [f.candidate.name for f, _ in run.blend.members]


def test_the_first_candidate_runs_whatever_it_takes():
    data = dataset()
    run = train(plan_of(data, seconds=0.01), parts_of(data), family=Toy(pause=0.05))
    assert [f.candidate.name for f, _ in run.blend.members] == ["plain"]


def test_most_of_the_budget_is_used_by_the_search(pauses):
    data = dataset()
    run = train(plan_of(data, seconds=2.0, trials=None), parts_of(data), family=Toy(pause=0.01))
    assert 1.8 < run.seconds <= 2.0


def test_one_failure_does_not_lose_the_run():
    data = dataset()
    plan = plan_of(data, (candidate("broken", fails=True), candidate("plain")))
    run = train(plan, parts_of(data), family=Toy())
    assert [f.candidate.name for f, _ in run.blend.members] == ["plain"]
    assert run.leaderboard[-1].note == "failed: RuntimeError: the toy broke"


def test_all_failing_is_told_with_each_reason():
    data = dataset()
    plan = plan_of(data, (candidate("one", fails=True), candidate("two", fails=True)))
    with pytest.raises(TrainingError, match="one: failed: RuntimeError: the toy broke\n  two: failed"):
        train(plan, parts_of(data), family=Toy())


def test_members_keep_their_shares_where_the_metric_has_no_value():
    data = dataset("regression")
    data = replace(data, frame=data.frame.with_columns(y=pl.when(pl.int_range(pl.len()) > 0).then("y").otherwise(0.0)))
    plan = plan_of(data, metric="mape")
    run = train(plan, parts_of(data), family=Toy())
    assert np.isnan([run.score, *(e.score for e in run.leaderboard)]).all()
    shares = {fitted.candidate.name: weight for fitted, weight in run.blend.members}
    assert {e.name: e.weight for e in run.leaderboard if not e.why} == shares
    assert run.plan.brief.use_case in architecture_document(plan, run).markdown()


def test_scores_of_another_shape_are_a_failure():
    class Odd(Toy):
        def fit(self, *words, **named):
            fitted = super().fit(*words, **named)
            object.__setattr__(fitted, "scores", fitted.scores[:-1])
            return fitted

    data = dataset()
    with pytest.raises(TrainingError, match=r"out-of-fold scores of shape \(269, 1\), not \(270, 1\)"):
        train(plan_of(data), parts_of(data), family=Odd())


def test_progress_tells_fits_score_and_time_left():
    told = []

    class Watched(Silent):
        def step(self, done, total, note=""):
            told.append((done, total, note))

    data = dataset()
    run = train(plan_of(data, trials=3), parts_of(data), family=Toy(), progress=Watched())
    notes = [note for _, _, note in told]
    assert re.fullmatch(r"0 of 2 fits, \d:\d\d left, plain 0 of 3 folds", notes[0])
    assert re.fullmatch(r"0 of 2 fits, \d:\d\d left, plain 1 of 3 folds, loss 0\.\d+", notes[1])
    course = {moment.name: moment for moment in run.diagnostics.course}
    assert list(course)[:2] == ["plain", "squares"]
    one, two = course["plain"], course["squares"]
    moved = f"blend {two.blend:.4g} ({two.blend - one.blend:+.2g}), squares {two.score:.4g}, "
    assert any(f"out-of-fold ROC AUC of the {moved}" in note for note in notes)
    assert told[-1][:2] == (5, 5)


def test_run_names():
    data = dataset(seed=0xA1B2)
    plan = plan_of(data)
    kind, version, date, id_ = run_name(plan).split("-")
    assert (kind, version) == ("blend", "a1b2")
    assert len(date) == 8
    assert date.isdigit()
    assert 2 <= len(id_) <= 4
    assert run_name(plan_of(data, (candidate("ets"),))).startswith("ets-a1b2-")
    assert run_name(plan_of(data, model="lightgbm")).startswith("lightgbm-a1b2-")
    every_short_one = {a + b for a in string.ascii_lowercase for b in string.ascii_lowercase + string.digits}
    assert len(run_name(plan, every_short_one).rsplit("-", 1)[1]) == 3


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_run_read_back_is_the_same(task, tmp_path):
    data = dataset(task)
    parts = parts_of(data)
    plan = plan_of(data, (candidate("plain"), candidate("squares", squares=True), candidate("x", fails=True)), trials=3)
    run = train(plan, parts, family=Toy(), folder=tmp_path / "r")
    save_run(run, tmp_path / "r")
    again = load_run(tmp_path / "r", parts.development)
    assert again.answers.tobytes() == run.answers.tobytes()
    assert (again.name, again.id, again.plan, again.score, again.seconds) == (
        run.name, run.id, run.plan, run.score, run.seconds,
    )  # fmt: skip
    assert (again.blend.link, again.blend.scale, again.blend.offset) == (
        run.blend.link, run.blend.scale, run.blend.offset,
    )  # fmt: skip
    for (ours, w), (theirs, v) in zip(run.blend.members, again.blend.members, strict=True):
        assert (w, ours.texts, ours.rounds, ours.curves) == (v, theirs.texts, theirs.rounds, theirs.curves)
        assert ours.candidate == theirs.candidate
        assert Toy().predict(ours, parts.test).tobytes() == Toy().predict(theirs, parts.test).tobytes()
    board = load_leaderboard(tmp_path / "r")
    assert [(e.name, e.weight, e.note) for e in board] == [(e.name, e.weight, e.note) for e in run.leaderboard]
    assert np.isnan(board[-1].score)
    with pytest.raises(WorkspaceError, match="not the rows"):
        load_run(tmp_path / "r", parts.test)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_replayed_recipe_is_the_same_blend(task, tmp_path):
    data = dataset(task)
    parts = parts_of(data)
    plan = plan_of(data, trials=4)
    run = train(plan, parts, family=Toy())
    write_recipe(run, tmp_path)
    recipe = read_recipe(tmp_path / "recipe.json")
    resized = plan_of(data, (candidate("plain", rate=0.1),), trials=4)  # another probe, another plan
    again = train(resized, parts, family=Toy(), replay=recipe)
    assert (again.blend.scale, again.blend.offset) == (run.blend.scale, run.blend.offset)
    assert again.answers.tobytes() == run.answers.tobytes()
    assert again.score == run.score
    assert len(again.leaderboard) == len(run.blend.members)
    assert again.plan.candidates == run.plan.candidates
    for (ours, w), (theirs, v) in zip(run.blend.members, again.blend.members, strict=True):
        assert (w, ours.texts, ours.rounds) == (v, theirs.texts, theirs.rounds)
        assert ours.scores.tobytes() == theirs.scores.tobytes()


def test_a_recipe_of_another_table_or_question_is_refused(tmp_path):
    data = dataset()
    run = train(plan_of(data), parts_of(data), family=Toy())
    recipe = read_recipe(write_recipe(run, tmp_path))
    other = dataset(seed=5)
    with pytest.raises(TrainingError, match="another table"):
        train(plan_of(other), parts_of(other), family=Toy(), replay=recipe)
    for asked, told in (({"seed": 3}, "seed"), ({"presets": "best"}, "presets")):  # whose folds are others
        with pytest.raises(TrainingError, match=f"another brief: {told} differ"):
            train(plan_of(data, **asked), parts_of(data), family=Toy(), replay=recipe)


def test_a_damaged_recipe_is_refused(tmp_path):
    data = dataset()
    written = write_recipe(train(plan_of(data), parts_of(data), family=Toy()), tmp_path).read_text()
    whole = json.loads(written)
    wrong = [json.dumps({k: v for k, v in whole.items() if k != key}) for key in ("fingerprint", "link", "scale")]
    wrong += [json.dumps({**whole, "members": []}), written.replace('"auto"', '"no split of ours"')]
    wrong += ["{", "{}", "[]", '{"format": 1, "brief": {"data": {"path": null}}, "members": [{}]}', '{"format": 99}']
    for text in wrong:
        (tmp_path / "recipe.json").write_text(text)
        with pytest.raises(TrainingError, match="recipe"):
            read_recipe(tmp_path / "recipe.json")
    with pytest.raises(TrainingError, match="cannot be read"):
        read_recipe(tmp_path / "none.json")


def test_environment_and_lock_name_exact_versions():
    assert environment()["numpy"] == np.__version__
    names = {line.split("==")[0] for line in lock()}
    assert {"modelyard", "numpy", "polars", "optuna"} <= names
    assert "pytest" not in names  # what is for development only has no part in a model


def test_forward_in_time_later_windows_weigh_more_and_calibrate_no_earlier_one(monkeypatch):
    seen = {}

    def watched(raw, loss, link, folds, forward=False):
        seen.update(forward=forward, weights=loss.weights)
        return calibrate(raw, loss, link, folds, forward)

    monkeypatch.setattr("modelyard.training.train.calibrate", watched)
    data = dataset()
    for strategy in ("random", "time"):
        parts = parts_of(data, strategy=strategy)
        train(plan_of(data), parts, family=Toy())
        assert seen["forward"] == (strategy == "time")
        weighed = [seen["weights"][fold.score].mean() for fold in parts.split.folds]
        if strategy == "time":
            assert weighed == sorted(set(weighed))
        else:
            assert np.ptp(weighed) == 0
