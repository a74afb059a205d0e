"""E-processes: exact where they can be enumerated, and right as often as they promise where they are simulated."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest

from modelyard.serving.rollout.eprocess import dispersion, nothing, odds_test, rate_test
from modelyard.serving.rollout.planner import forecast, proposals, said
from modelyard.serving.rollout.rollout import Plan
from modelyard.serving.rollout.simulate import Truth, simulate

PLAN = Plan(steps=(0.05,), score_odds=0.0)


@pytest.mark.parametrize(("side", "rate"), [("above", 0.01), ("above", 0.002), ("below", 0.01), ("below", 0.04)])
def test_the_expected_evidence_on_a_rate_is_one_at_the_limit_and_less_beyond(side, rate):
    test = rate_test(0.01, side)
    x = np.arange(31)
    chances = np.array([comb(30, k) * rate**k * (1 - rate) ** (30 - k) for k in x])
    expected = chances @ np.exp(
        nothing(len(test.prior)).after(test.log_ratio(x, 30), late=False).log_e(test.prior, late=False)
    )
    if rate == 0.01:
        assert expected == pytest.approx(1.0, abs=1e-9)
    else:
        assert expected < 0.9


@pytest.mark.parametrize(("limit", "odds"), [(1.0, 1.0), (2.0, 2.0), (2.0, 1.0), (1.0, 0.5)])
def test_the_expected_evidence_on_odds_is_one_at_the_limit_and_less_below(limit, odds):
    test, n, m, total = odds_test(limit), 12, 40, 7
    x = np.arange(total + 1)
    weights = np.array([comb(n, k) * comb(m, total - k) * odds**k for k in x], float)
    expected = (weights / weights.sum()) @ np.exp(test.log_ratio(x, n, total - x, m))
    if limit == odds:
        np.testing.assert_allclose(expected, 1.0, atol=1e-9)
    else:
        assert (expected < 1).all()


def test_late_trouble_is_found_after_a_few_requests_and_the_prior_over_starts_is_one():
    test = rate_test(0.01, "above")
    evidence = nothing(len(test.prior))
    assert evidence.log_e(test.prior) == pytest.approx(0.0)
    for look in range(1, 121):
        evidence = evidence.after(test.log_ratio(0, 0))
        assert evidence.log_e(test.prior) == pytest.approx(0.0, abs=1e-9), look
    healthy = nothing(len(test.prior))
    for _ in range(120):
        healthy = healthy.after(test.log_ratio(0, 60))
    assert healthy.after(test.log_ratio(10, 10)).log_e(test.prior) > np.log(1e5)
    alone = nothing(len(test.prior))
    for _ in range(120):
        alone = alone.after(test.log_ratio(0, 60), late=False)
    assert alone.after(test.log_ratio(10, 10), late=False).log_e(test.prior, late=False) < np.log(300)


def test_looking_every_minute_crosses_as_seldom_as_promised_and_not_never():
    # At the limit itself, and a level that can be measured: Ville's inequality is not so loose that nothing happens.
    random, test, runs = np.random.default_rng(1), rate_test(0.05, "above"), 2_000
    evidence, crossed, p_crossed = nothing(len(test.prior), (runs,)), np.zeros(runs, bool), np.zeros(runs, bool)
    x = n = 0
    for _ in range(100):
        counted = random.binomial(20, 0.05, runs)
        x, n = x + counted, n + 20
        evidence = evidence.after(test.log_ratio(counted, 20))
        crossed |= evidence.log_e(test.prior) >= np.log(1 / 0.2)
        p_crossed |= (x - 0.05 * n) > 0.8416 * np.sqrt(n * 0.05 * 0.95)  # p < .2, looked at every minute
    assert 0.02 < crossed.mean() <= 0.2
    assert p_crossed.mean() > 0.4


def test_dispersion_is_one_for_independent_errors_and_that_of_bursts_for_bursts():
    random = np.random.default_rng(2)
    n = np.full((400, 60), 1_000)
    assert dispersion(random.binomial(n, 0.003), n).mean() == pytest.approx(1.07, abs=0.05)
    bursts = 5 * random.poisson(0.6, (400, 60))
    assert dispersion(bursts, n).mean() == pytest.approx(5.0, rel=0.05)
    assert dispersion(bursts[0, :5], n[0, :5]) == 1.0  # five looks say nothing
    assert dispersion(np.zeros(60), np.zeros(60)) == 1.0


@pytest.mark.parametrize("truth", [Truth(20, 0.003, 0.003), Truth(20, 0.003, 0.003, burst=5)], ids=["plain", "bursts"])
def test_an_identical_candidate_is_hardly_ever_rolled_back(truth):
    found = simulate(PLAN, truth, runs=300, looks=60, seed=3)
    # More than 8 of 300 would come once in 250 times at a true 1 %.
    assert (found.first > 0).sum() <= 8
    if truth.burst == 1:
        assert (found.shown > 0).mean() > 0.9
        naive = simulate(replace(PLAN, alpha=0.499, promote_alpha=0.499), truth, runs=300, looks=60, seed=3)
        assert (naive.first > 0).sum() > 8  # the same simulation does roll back where little evidence is asked for


def test_a_worse_candidate_is_rolled_back_soon():
    errors = simulate(PLAN, Truth(20, 0.003, 0.02), runs=200, looks=40, seed=4).first
    assert np.median(np.where(errors == 0, 99, errors)) <= 10
    slow = simulate(PLAN, Truth(20, 0.003, 0.003, slower=3.0), runs=200, looks=10, seed=5)
    assert np.median(np.where(slow.rolled_back["slow"] == 0, 99, slow.rolled_back["slow"])) <= 5


def test_scores_that_moved_are_found_and_a_small_move_is_not():
    plan = replace(PLAN, score_odds=2.0)
    moved = simulate(plan, Truth(20, 0.003, 0.003, shift=1.0), runs=40, looks=10, seed=6)
    assert (moved.rolled_back["scores"] > 0).mean() > 0.9
    near = simulate(plan, Truth(20, 0.003, 0.003, shift=0.1), runs=40, looks=10, seed=7)
    assert (near.rolled_back["scores"] > 0).sum() == 0


def test_what_is_not_good_enough_is_not_shown_to_be():
    at_limit = simulate(PLAN, Truth(20, 0.003, 0.01), runs=300, looks=60, seed=8)
    assert (at_limit.shown > 0).mean() <= 0.08


def test_the_planner_says_that_little_traffic_cannot_decide_and_what_would():
    plan = replace(PLAN, horizon=3600.0)
    busy, quiet = forecast(plan, 20, 0.003, 0.02), forecast(plan, 2, 0.003, 0.02)
    assert busy.decides
    assert busy.caught_after <= 600
    assert not quiet.decides
    others = list(proposals(plan, 2, 0.003, 0.02))
    assert all(other.decides for other in others)
    assert any(other.horizon > plan.horizon for other in others)
    assert "rolled back" in said(plan, busy, 0.003, 0.02)[1]
    assert list(proposals(plan, 20, 0.02, 0.05)) == []
    assert "nothing like it can pass" in said(plan, busy, 0.02, 0.05)[-1]
