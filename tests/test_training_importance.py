"""Importance of parameters: planted ones are found, the same each time, and few trials say nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.families.fitted import Range
from modelyard.training.document import training_document
from modelyard.training.importance import LEAST_TRIALS, importance
from modelyard.training.train import train
from toy_family import Toy, candidate, dataset, parts_of, plan_of

SPACE = {
    "rate": Range("float", 0.2, 0.5, log=True),
    "squares": Range("choice", choices=(False, True)),
    "idle": Range("int", 1, 9),
}


@pytest.fixture(scope="module")
def searched():
    data = dataset()
    base = candidate("squares", squares=True)
    base = replace(base, space=SPACE, parameters={**base.parameters, "idle": 3})
    parts = parts_of(data)
    run = train(plan_of(data, (candidate("plain", searched=False), base), trials=40), parts, family=Toy())
    return run, parts


def test_what_the_score_hangs_on_is_found_and_told_the_same_again(searched):
    run, _ = searched
    (found,) = importance(run)
    scored = [e for e in run.leaderboard if e.name.startswith("squares") and e.score == e.score]
    assert found.trials == len(scored) >= LEAST_TRIALS
    assert any(e.note.startswith("pruned") for e in run.leaderboard)  # which have no score and no part in it
    assert next(iter(found.shares)) == "squares"  # the data are quadratic
    assert set(found.shares) == set(SPACE)
    assert list(found.shares.values()) == sorted(found.shares.values(), reverse=True)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.shares["idle"] < 0.1
    shuffled = replace(run, leaderboard=tuple(reversed(run.leaderboard)))
    assert importance(shuffled) == importance(run)


def test_the_document_draws_it(searched):
    run, parts = searched
    (found,) = importance(run)
    document = training_document(run, parts, family=Toy())
    section = document.markdown().split("## Search")[1].split("\n## ")[0]
    for name, share in found.shares.items():
        assert f"{name} {share:.0%}" in section
    assert f"What {found.trials} scored trials around squares hung on most: squares" in section
    assert "of the variance of out-of-fold ROC AUC" in document.html()


def test_trials_around_a_candidate_that_was_fitted_in_another_way_count(searched):
    run, parts = searched
    named = tuple(replace(e, name=e.name.replace("squares", "squares-log")) for e in run.leaderboard)
    other = replace(run, leaderboard=named)
    (found,) = importance(other)
    assert (found.candidate, found.trials) == ("squares-log", importance(run)[0].trials)
    assert next(iter(found.shares)) == "squares"
    assert "scored trials around squares-log hung on most" in training_document(other, parts, family=Toy()).markdown()


def test_few_trials_say_nothing(searched):
    run, parts = searched
    few = replace(run, leaderboard=run.leaderboard[: LEAST_TRIALS - 1])
    (found,) = importance(few)
    assert found.shares == {}
    text = training_document(few, parts, family=Toy()).markdown()
    assert f"cannot be said: {found.trials} scored, at least {LEAST_TRIALS} are asked for" in text
    assert "variance of out-of-fold" not in text


def test_trials_that_all_score_the_same_say_nothing(searched):
    run, parts = searched
    flat = replace(run, leaderboard=tuple(replace(e, score=0.5) for e in run.leaderboard))
    assert importance(flat)[0].shares == {}
    assert "cannot be said: all score the same" in training_document(flat, parts, family=Toy()).markdown()
