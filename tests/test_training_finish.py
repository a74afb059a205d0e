"""The fits on every row: made for the members alone, in time, quick enough, found again on disk, replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelyard.brief.brief import Latency
from modelyard.core.errors import TrainingError
from modelyard.data.dataset import Fold
from modelyard.training.clock import Clock
from modelyard.training.recipe import read_recipe, write_recipe
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of, plan_of

BOTH = (candidate("one", squares=True, searched=False), candidate("two", squares=True, searched=False))


class Whole(Toy):
    """A toy whose folds only score, with noise of their own so that a blend is worth while; one fit answers."""

    def __init__(self, seconds=0.0, microseconds=0.0, breaks=(), clock=None, **words):
        super().__init__(**words)
        self.seconds, self.microseconds, self.breaks, self.clock = seconds, microseconds, breaks, clock
        self.asked = []

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        if parts.split.folds:
            fitted = super().fit(candidate, parts, seed, watch, rounds)
            noise = np.random.default_rng(len(candidate.name) + seed % 1_000).normal(size=fitted.scores.shape)
            return replace(
                fitted,
                scores=fitted.scores + noise,
                whole=(int(np.median(fitted.rounds)),),
                whole_seconds=self.seconds,
                microseconds=self.microseconds,
            )
        self.asked.append((candidate.name, rounds))
        if self.clock is not None:
            self.clock.credit(self.seconds)
        if candidate.name in self.breaks:
            raise RuntimeError("the toy broke late")
        every = np.arange(len(parts.development))
        over = replace(parts, split=replace(parts.split, folds=(Fold(every, every[:1]),)))
        fitted = super().fit(candidate, over, seed, None, rounds)
        return replace(fitted, texts={"note": "every row"}, scores=np.full_like(fitted.scores, np.nan))


def test_members_answer_from_every_row_and_are_scored_by_their_folds():
    data = dataset()
    family = Whole()
    run = train(plan_of(data, BOTH), parts_of(data), family=family)
    members = [fitted for fitted, _ in run.blend.members]
    assert [name for name, _ in family.asked] == [one.candidate.name for one in members]
    for one in members:
        assert one.texts == {"note": "every row"}
        assert one.curves
        assert len(one.rounds) == 3
    assert len(members) == 2
    raw = sum(weight * fitted.scores for fitted, weight in run.blend.members)
    calibrated = run.blend.answer(raw)
    assert np.corrcoef(calibrated, run.answers)[0, 1] > 0.999  # the estimate is that of the folds


def test_members_too_slow_to_fit_again_are_left_out():
    data = dataset()
    assert len(train(plan_of(data, BOTH), parts_of(data), family=Whole(seconds=20.0)).blend.members) == 2
    forward = parts_of(data, strategy="time")  # whose folds answer for none
    run = train(plan_of(data, BOTH), forward, family=Whole(seconds=40.0))  # of 60
    assert len(run.blend.members) == 1


def test_the_folds_answer_for_a_member_that_there_is_no_time_for_beside_another():
    data, clock = dataset(), Clock(60.0)
    family = Whole(seconds=40.0, microseconds=20.0, clock=clock)
    run = train(plan_of(data, BOTH), parts_of(data), family=family, clock=clock)
    assert len(family.asked) == 1
    assert sorted(len(fitted.whole) for fitted, _ in run.blend.members) == [0, 1]


def test_where_no_time_is_left_the_models_of_the_folds_answer(tmp_path):
    data, parts = dataset(), parts_of(dataset())
    run = train(plan_of(data, BOTH), parts, family=(family := Whole(seconds=90.0, microseconds=20.0)))  # of 60
    assert family.asked == []
    assert [fitted.whole for fitted, _ in run.blend.members] == [(), ()]
    assert all(0 < fitted.microseconds < 90 for fitted, _ in run.blend.members)
    replayed = train(plan_of(data, BOTH), parts, family=Whole(), replay=read_recipe(write_recipe(run, tmp_path)))
    assert [fitted.whole for fitted, _ in replayed.blend.members] == [(), ()]
    assert replayed.answers.tobytes() == run.answers.tobytes()
    slow = Whole(seconds=90.0, microseconds=200.0)  # three models answer in 600, or less
    unasked = train(plan_of(data, BOTH), parts, family=slow)  # for any latency: the best is not given up
    assert [fitted.whole for fitted, _ in unasked.blend.members] == [()]
    asked = train(plan_of(data, BOTH, latency=Latency(99.0, 1.0)), parts, family=slow)  # of which 300 us are its
    assert [len(fitted.whole) for fitted, _ in asked.blend.members] == [1]
    forward = parts_of(data, strategy="time")
    late = train(plan_of(data, BOTH), forward, family=Whole(seconds=90.0, microseconds=20.0))
    assert [len(fitted.whole) for fitted, _ in late.blend.members] == [1]


def test_a_latency_limit_keeps_the_blend_small():
    data = dataset()
    plan = plan_of(data, BOTH, latency=Latency(99.0, 1.0))  # of which 300 us are the model's
    assert len(train(plan, parts_of(data), family=Whole(microseconds=100.0)).blend.members) == 2
    assert len(train(plan, parts_of(data), family=Whole(microseconds=200.0)).blend.members) == 1


def test_a_member_that_breaks_on_every_row_is_left_out_and_told():
    data = dataset()
    run = train(plan_of(data, BOTH), parts_of(data), family=Whole(breaks=("one",)))
    assert [fitted.candidate.name for fitted, _ in run.blend.members] == ["two"]
    assert any(entry.note == "on every row: failed: RuntimeError: the toy broke late" for entry in run.leaderboard)
    plain = plan_of(data, (candidate("plain"), candidate("squares", squares=True)))
    fallen = train(plain, parts_of(data), family=Whole(breaks=("squares",)))  # alone in the blend, and no use
    assert [fitted.candidate.name for fitted, _ in fallen.blend.members] == ["plain"]
    with pytest.raises(TrainingError, match="No candidate could be fitted on every row"):
        train(plan_of(data, BOTH), parts_of(data), family=Whole(breaks=("one", "two")))


def test_fits_on_every_row_are_found_on_disk_and_replayed(tmp_path):
    data = dataset()
    (tmp_path / "run").mkdir()
    first = Whole()
    run = train(plan_of(data, BOTH), parts_of(data), folder=tmp_path / "run", family=first, name="toy-1-aa")
    again = Whole()
    taken = train(plan_of(data, BOTH), parts_of(data), folder=tmp_path / "run", family=again, name="toy-1-aa")
    assert again.asked == []
    recipe = read_recipe(write_recipe(run, tmp_path / "run"))
    replayed = train(plan_of(data, BOTH), parts_of(data), family=(third := Whole()), replay=recipe)
    assert third.asked == first.asked
    for other in (taken, replayed):
        for (one, weight), (two, same) in zip(run.blend.members, other.blend.members, strict=True):
            assert weight == same
            np.testing.assert_array_equal(one.arrays["weights"], two.arrays["weights"])
