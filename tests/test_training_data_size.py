"""Would more rows help: fewer rows are an honest part of the more, within the time left, and words follow figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from modelyard.brief.brief import Brief, DataBrief
from modelyard.data.column import Column
from modelyard.data.dataset import Dataset
from modelyard.data.schema import Schema
from modelyard.data.splitting import split
from modelyard.metrics.find import metric as find_metric
from modelyard.training.data_size import data_size, kept_seconds
from modelyard.training.document import training_document
from modelyard.training.pictures import verdict
from modelyard.training.recipe import read_recipe, write_recipe
from modelyard.training.run import DataSize, Size
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of, plan_of

ONE = (candidate("squares", squares=True, searched=False),)


class Seen(Toy):
    """A toy that remembers the folds it was given."""

    def __init__(self, **words):
        super().__init__(**words)
        self.folds = []

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        assert parts.test is None
        self.folds.append(parts.split.folds)
        return super().fit(candidate, parts, seed, watch, rounds)


def honest(strategy, rows=4_000):
    """Return a table of entities and days, its own split, and the folds as they were asked of the toy."""
    random = np.random.default_rng(4)
    plain = dataset(rows=rows)
    roles = [c for c, on in (("who", "group" in strategy), ("day", "time" in strategy)) if on]
    kinds = {"who": Column("who", "id", "group", "string"), "day": Column("day", "number", "time", "float")}
    schema = Schema((*plain.schema.columns, *(kinds[r] for r in roles)), "binary", plain.schema.classes)
    frame = plain.frame.with_columns(
        pl.Series("who", [f"p{i}" for i in random.integers(0, rows // 5, rows)]),
        pl.Series("day", random.integers(0, 200, rows) / 200),
    ).select([c.name for c in schema.columns])
    data = Dataset(frame, schema, "ab" * 32)
    named = {"group": "who" if "who" in roles else None, "time": "day" if "day" in roles else None}
    parts = split(data, Brief(use_case="toy", task="binary", data=DataBrief(label="y", **named)))
    assert parts.split.strategy == strategy
    family = Seen()
    run = train(plan_of(data, ONE, seconds=600.0), parts, family=family)
    return run, parts, family.folds


@pytest.mark.parametrize("strategy", ["stratified", "group", "time", "group_time"])
def test_fewer_rows_are_a_part_of_the_more_and_the_scored_rows_stay(strategy):
    run, parts, fits = honest(strategy)
    found, data = run.diagnostics.data_size, parts.development
    assert len(fits) == len(found.sizes) >= 3
    kept = fits[0][-found.folds :] if parts.split.forward else fits[0][: found.folds]
    assert [s.rows for s in found.sizes] == [
        round(np.mean([len(f.train) for f in folds])) for folds in [kept, *fits[1:]]
    ]
    groups, times = data.groups(), data.times()
    for larger, smaller in zip([kept, *fits[1:-1]], fits[1:], strict=True):
        for more, less in zip(larger, smaller, strict=True):
            np.testing.assert_array_equal(more.score, less.score)
            assert set(less.train) < set(more.train)
            assert 0.35 < len(less.train) / len(more.train) < 0.65
            left = np.setdiff1d(more.train, less.train)
            if parts.split.forward:
                assert times[left].max() < times[less.train].min()  # the latest rows, whole moments
            elif groups is not None:
                assert not set(groups[left]) & set(groups[less.train])
            else:
                share = [data.truth()[rows].mean() for rows in (more.train, less.train)]
                assert share[0] == pytest.approx(share[1], abs=0.01)


def test_all_rows_score_as_the_leaderboard_says_and_gains_are_paired():
    run, parts, _ = honest("stratified")
    found = run.diagnostics.data_size
    (entry,) = run.leaderboard
    assert (found.candidate, found.folds) == ("squares", len(parts.split.folds))
    assert found.sizes[0].score == pytest.approx(entry.score)
    assert found.gain == pytest.approx(found.sizes[0].score - found.sizes[1].score)
    assert found.whole == pytest.approx(found.sizes[0].score - found.sizes[-1].score)
    assert found.low < found.gain < found.high
    assert all(s.low < s.score < s.high for s in found.sizes)
    wide = found.sizes[0].high - found.sizes[0].low
    assert found.high - found.low < wide / 2  # both see the same rows, so what they share cancels


def test_the_model_is_the_same_with_and_without_the_curve_and_a_replay_has_none(tmp_path, monkeypatch):
    data = dataset(rows=600)
    run = train(plan_of(data, seconds=600.0), parts_of(data), family=Toy())
    assert run.diagnostics.data_size.sizes
    recipe = read_recipe(write_recipe(run, tmp_path))
    again = train(plan_of(data, seconds=600.0), parts_of(data), family=Toy(), replay=recipe)
    assert again.diagnostics.data_size is None
    assert again.diagnostics.frontier is None
    assert "Would more rows help" not in training_document(again, parts_of(data), family=Toy()).markdown()
    monkeypatch.setattr("modelyard.training.train.data_size", lambda attempts: DataSize(missing="not asked"))
    without = train(plan_of(data, seconds=600.0), parts_of(data), family=Toy())
    for other in (again, without):
        assert other.answers.tobytes() == run.answers.tobytes()


def test_a_poor_fit_that_is_quick_does_not_stand_in_for_the_best():
    class Uneven(Toy):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            self.pause = 0.0 if candidate.name == "plain" else 0.5
            return super().fit(candidate, parts, seed, watch, rounds)

    data = dataset(rows=600)  # quadratic: a plain line is far behind
    run = train(plan_of(data, seconds=5.0), parts_of(data), family=Uneven())
    assert [e.name for e in run.leaderboard] == ["squares", "plain"]
    assert run.diagnostics.data_size.missing.startswith("no time was left")


def test_where_there_is_no_room_it_is_left_out_and_said():
    data = dataset(rows=600)
    pressed = train(plan_of(data, ONE, seconds=1.0), parts_of(data), family=Seen(pause=0.4))
    few = train(plan_of(dataset(rows=120), ONE), parts_of(dataset(rows=120)), family=Toy())
    for run, why in ((pressed, "no time was left: "), (few, "there are too few rows to learn from a half of them")):
        found = run.diagnostics.data_size
        assert not found.sizes
        assert found.missing.startswith(why)
        text = training_document(run, parts_of(data), family=Toy()).markdown()
        assert f"Not measured: {found.missing}." in text.replace("\\", "")


def test_a_fit_that_breaks_on_fewer_rows_breaks_nothing_else():
    class Fragile(Toy):
        def fit(self, candidate, parts, seed, watch=None, rounds=None):
            if len(parts.split.folds[0].train) < 200:
                raise RuntimeError("too small")
            return super().fit(candidate, parts, seed, watch, rounds)

    data = dataset(rows=600)
    run = train(plan_of(data, ONE, seconds=600.0), parts_of(data), family=Fragile())
    assert run.blend.members
    assert run.diagnostics.data_size.missing == "a fit on fewer rows failed: too small"


def test_time_kept_for_it_is_not_searched_away(monkeypatch):
    assert kept_seconds(29.0) == 0.0
    assert kept_seconds(240.0) == pytest.approx(7.2)
    monkeypatch.setattr("modelyard.training.train.kept_seconds", lambda budget: budget)
    data = dataset(rows=600)
    run = train(plan_of(data, seconds=600.0, trials=5), parts_of(data), family=Toy())
    notes = {e.name: e.note for e in run.leaderboard}
    assert set(notes) == {"plain", "squares"}  # the first always runs, the second and the search had no time
    assert notes["squares"].startswith("not tried")
    assert run.diagnostics.data_size.candidate == "plain"


def size(gain, low, high, scores=(0.80, 0.79, 0.78), whole=0.02, whole_low=0.01):
    sizes = tuple(Size(1_000 >> i, score, score - 0.01, score + 0.01) for i, score in enumerate(scores))
    return DataSize("squares", 3, sizes, gain, low, high, whole, whole_low)


@pytest.mark.parametrize(
    ("found", "answer"),
    [
        (size(0.01, 0.004, 0.016), "Probably yes"),
        (size(0.01, 0.004, 0.016, scores=(0.80, 0.79, 0.81)), "Cannot be said"),  # a quarter did better than a half
        (size(0.001, -0.004, 0.006), "Cannot be said"),
        (size(0.001, -0.001, 0.0015, scores=(0.80, 0.799, 0.70), whole=0.1, whole_low=0.08), "Hardly"),
        (size(0.001, -0.001, 0.0015, scores=(0.80, 0.799), whole=0.001, whole_low=-0.001), "Cannot be said"),
        (size(-0.01, -0.02, -0.005, scores=(0.80, 0.81, 0.79)), "No"),
    ],
)
def test_the_answer_goes_no_further_than_the_figures(found, answer):
    said = verdict(found, find_metric("roc_auc"))
    assert said.startswith(f"**{answer}:**")
    assert f"{found.gain:+.2g} of ROC AUC [{found.low:+.2g}, {found.high:+.2g}]" in said


def test_the_document_shows_the_curve_with_its_intervals():
    run, parts, _ = honest("time")
    found = run.diagnostics.data_size
    document = training_document(run, parts, family=Toy())
    section = document.markdown().split("## Would more rows help?")[1].split("\n## ")[0]
    for one in found.sizes:
        assert f"{one.rows:,} rows {one.score:.4g} [{one.low:.4g}, {one.high:.4g}]" in section
    assert "fewer rows are the latest rows" in section
    picture = document.html().split("Would more rows help?</h2>")[1].split("</svg>")[0]
    assert picture.count("<circle") == len(found.sizes)
    assert "rows learnt from" in picture


@pytest.mark.parametrize(("seconds", "folds", "sizes"), [(1.0, 3, 4), (6.0, 1, 4), (10.0, 1, 2), (60.0, 0, 0)])
def test_with_less_time_there_are_fewer_folds_then_the_half_alone(monkeypatch, seconds, folds, sizes):
    def reckoned(attempts):  # as if the fit over three folds had taken so long; 3 s may be used
        attempts.fitted[0] = replace(attempts.fitted[0], seconds=seconds)
        return data_size(attempts)

    monkeypatch.setattr("modelyard.training.data_size.usable_cores", lambda: 1)
    monkeypatch.setattr("modelyard.training.data_size._judging", lambda attempts: 0.0)
    monkeypatch.setattr("modelyard.training.train.data_size", reckoned)
    data = dataset(rows=1_500)
    found = train(plan_of(data, ONE), parts_of(data), family=Toy()).diagnostics.data_size
    assert (found.folds, len(found.sizes)) == (folds, sizes)
    assert bool(found.missing) is (sizes == 0)
