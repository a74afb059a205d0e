"""Quality against latency, and why a fit has no share of the blend: told from the run's own fits."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from modelyard.brief.brief import Latency
from modelyard.metrics.find import metric as find_metric
from modelyard.selection.document import architecture_document
from modelyard.training.document import training_document
from modelyard.training.store import load_diagnostics, load_leaderboard, load_run, save_run
from modelyard.training.train import train
from test_training_finish import Whole
from toy_family import candidate, dataset, parts_of, plan_of

TRIED = tuple(candidate(name, squares=True, searched=False) for name in ("a", "bb", "ccc", "dddd"))
COSTS = {"a": 2.0, "bb": 80.0, "ccc": 150.0, "dddd": 700.0}


class Timed(Whole):
    """A toy whose members take different times to answer, and to fit on every row."""

    def __init__(self, costs, late=(), **words):
        super().__init__(**words)
        self.costs, self.late = costs, late

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        fitted = super().fit(candidate, parts, seed, watch, rounds)
        seconds = 1_000.0 if candidate.name in self.late else 0.0
        return replace(fitted, microseconds=self.costs[candidate.name], whole_seconds=seconds)


def trained(limit=1.0, costs=COSTS, tried=TRIED, late=(), strategy="random", **words):
    """Return a run under a limit of milliseconds, of which three tenths are the model's, with its parts."""
    data = dataset()
    parts = parts_of(data, strategy=strategy)
    plan = plan_of(data, tried, latency=None if limit is None else Latency(99.0, limit))
    return train(plan, parts, family=Timed(costs, late, **words)), parts


@pytest.fixture(scope="module")
def usual():
    return trained()


def test_without_a_limit_the_best_fit_is_never_too_slow():
    slow = {"a": 2.0, "bb": 80.0, "ccc": 5_000.0, "dddd": 700.0}
    run, _ = trained(None, slow)
    best = run.leaderboard[0].name
    costly = {**dict.fromkeys(slow, 400.0), best: 5_000.0}
    run, _ = trained(None, costly)
    assert run.leaderboard[0].name == best
    assert best in {one.candidate.name for one, _ in run.blend.members}
    assert run.diagnostics.frontier.limit == 5_000.0


def whys(run):
    return {entry.name: entry.why for entry in run.leaderboard}


def test_the_frontier_rises_with_time_and_holds_the_blend_of_the_run(usual):
    run, parts = usual
    frontier = run.diagnostics.frontier
    metric = find_metric(run.plan.metric)
    assert frontier.limit == pytest.approx(300.0)
    raw = sum(weight * fitted.scores for fitted, weight in run.blend.members)
    chosen = frontier.chosen
    assert chosen.score == pytest.approx(metric(parts.development.truth(), raw[:, 0]))
    assert chosen.microseconds == sum(COSTS[fitted.candidate.name] for fitted, _ in run.blend.members) <= 300.0
    assert [p.microseconds for p in frontier.blends] == sorted({p.microseconds for p in frontier.blends})
    scores = [p.score for p in frontier.blends]
    assert scores == sorted(set(scores))  # each better than those before it
    assert frontier.blends[0].members == ("a",)
    assert frontier.blends[-1].microseconds > 300.0  # what more time would have bought
    assert frontier.blends[-1].score > chosen.score
    assert {p.members[0]: (p.microseconds, p.score) for p in frontier.singles} == {
        e.name: (COSTS[e.name], e.score) for e in run.leaderboard
    }


def test_a_wider_limit_chooses_what_the_frontier_promised(usual):
    narrow, _ = usual
    promised = narrow.diagnostics.frontier.blends[-1]
    wide, _ = trained(limit=40.0)
    assert wide.diagnostics.frontier.chosen.score == pytest.approx(promised.score)
    assert set(wide.diagnostics.frontier.chosen.members) == set(promised.members)


def test_there_is_none_where_answers_take_no_time():
    run, parts = trained(costs=dict.fromkeys(COSTS, 0.0))
    assert run.diagnostics.frontier is None
    assert "Quality against latency" not in architecture_document(run.plan, run).markdown()
    assert "µs a row" not in training_document(run, parts, family=Whole()).markdown()


def test_blends_that_could_not_have_been_fitted_in_time_are_not_on_it():
    run, _ = trained(limit=40.0, late=("dddd", "ccc"), strategy="time")
    met = {name for point in run.diagnostics.frontier.blends for name in point.members if len(point.members) > 1}
    assert met == {"a", "bb"}


def test_the_document_draws_the_frontier_of_this_run(usual):
    run, _ = usual
    frontier = run.diagnostics.frontier
    markdown = architecture_document(run.plan, run, measured=123.4).markdown()
    section = markdown.split("## Quality against latency")[1].split("\n## ")[0]
    assert f"scores {frontier.chosen.score:.4g} at about {frontier.chosen.microseconds:.0f} µs" in section
    assert "it might take 300 µs, the model's share of the brief's limit" in section
    assert "One row took 123 µs" in section
    assert "Blends are chosen by log loss" in section
    for point in frontier.blends:
        assert f"{point.microseconds:.0f} µs {point.score:.4g}" in section
    gain = frontier.blends[-1].score - frontier.chosen.score
    assert f"would gain {gain:.2g} of ROC AUC" in section
    page = architecture_document(run.plan, run).html()
    picture = page.split("Quality against latency</h2>")[1].split("</svg>")[0]
    assert picture.count("<circle") == len(frontier.singles) + 1
    assert "limit 300 µs" in picture
    assert "microseconds a row" in picture
    assert "out-of-fold ROC AUC" in picture
    free, _ = trained(limit=None)
    assert "as the brief names no limit" in architecture_document(free.plan, free).markdown()


def test_a_plan_says_that_the_frontier_comes_later(usual):
    run, _ = usual
    assert "Drawn here once training has scored" in architecture_document(run.plan).markdown()


def test_each_fit_left_out_says_why():
    twins = (*TRIED, candidate("e" * 2, squares=True, searched=False), candidate("broken", fails=True))
    twins += (candidate("slow", seconds=1e6), candidate("plain", searched=False))
    costs = {**COSTS, "ee": 10.0, "broken": 0.0, "slow": 0.0, "plain": 0.0}
    run, _ = trained(costs=costs, tried=twins)
    said = whys(run)
    members = {fitted.candidate.name for fitted, _ in run.blend.members}
    assert all(bool(said[e.name]) is (e.name not in members) for e in run.leaderboard)
    assert said["dddd"] == "too slow: 700 µs a row, and the limit is 300"
    assert said["broken"] == "failed: RuntimeError: the toy broke"
    assert said["slow"].startswith("not tried, no time left: it takes about ")
    assert said["plain"] == "adds nothing"
    beside, _ = trained(costs={**COSTS, "bb": 200.0, "ccc": 200.0, "dddd": 200.0})
    left = [why for why in whys(beside).values() if why]
    assert left
    assert all(re.match(r"too slow: 200 µs a row beside the members' 20\d, and the limit is 300; it", w) for w in left)


def test_fits_there_was_no_time_for_say_so():
    run, _ = trained(limit=40.0, late=("bb",), strategy="time")
    assert whys(run)["bb"] == "no time left to fit it on every row: about 1000 s beside the members'"
    broken, _ = trained(limit=40.0, breaks=("a",))
    assert whys(broken)["a"] == "on every row: failed: RuntimeError: the toy broke late"


def test_only_the_best_and_the_best_of_each_kind_are_blended_and_the_rest_know_it():
    def left_out(many):
        run, _ = trained(costs={one.name: 1.0 for one in many}, tried=many)
        return [name for name, why in whys(run).items() if why.startswith("not among the best 16 by log loss")]

    many = [candidate("x" * (i + 1), squares=True, searched=False) for i in range(18)]
    alike = [replace(one, title="One") for one in many]
    worst = left_out(alike)
    assert len(worst) == 2
    odd = [replace(one, title="Another") if one.name in worst else one for one in alike]
    (last,) = left_out(odd)
    assert last in worst


def test_the_training_document_says_why_and_how_the_score_moved(usual):
    run, parts = usual
    text = training_document(run, parts, family=Whole()).markdown()
    board = text.split("## Leaderboard")[1].split("\n## ")[0]
    assert "too slow: 700 µs a row" in board
    assert "µs a row" in board
    for entry in run.leaderboard:
        assert f"| {entry.microseconds:.0f} |" in board
    course = run.diagnostics.course
    assert [moment.name for moment in course] == [one.name for one in TRIED]
    assert [moment.seconds for moment in course] == sorted(moment.seconds for moment in course)
    scores = {e.name: e.score for e in run.leaderboard}
    assert all(moment.score == scores[moment.name] for moment in course)
    assert course[0].blend == course[0].score
    assert course[-1].blend == pytest.approx(run.diagnostics.frontier.chosen.score)
    assert f"from {course[0].blend:.4g} to" in text.split("## How the score moved")[1]


def test_diagnostics_and_reasons_are_kept_on_disk(usual, tmp_path):
    run, parts = usual
    save_run(run, tmp_path)
    assert load_diagnostics(tmp_path) == run.diagnostics == load_run(tmp_path, parts.development).diagnostics
    again = load_leaderboard(tmp_path)
    assert [(e.why, e.microseconds) for e in again] == [(e.why, e.microseconds) for e in run.leaderboard]
    assert np.isnan(next(e.microseconds for e in load_leaderboard(_failed(tmp_path / "f")) if e.name == "broken"))


def _failed(folder):
    folder.mkdir()
    run, _ = trained(costs={**COSTS, "broken": 0.0}, tried=(*TRIED, candidate("broken", fails=True)))
    save_run(run, folder)
    return folder
