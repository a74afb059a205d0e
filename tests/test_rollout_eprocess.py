"""E-processes: exact where they can be enumerated, and right as often as they promise where they are simulated."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import comb
from statistics import NormalDist

import numpy as np
import pytest

from modelyard.serving.rollout.ab import outcome
from modelyard.serving.rollout.eprocess import dispersion, nothing, odds_test, rate_test
from modelyard.serving.rollout.planner import Expected, forecast, proposals, said
from modelyard.serving.rollout.rollout import Arm, Plan, Rollout, planned
from modelyard.serving.rollout.router import place
from modelyard.serving.rollout.simulate import Traffic, Truth, simulate

PLAN = Plan(steps=(0.05,), score_odds=0.0)
WATCHED = replace(PLAN, bake=PLAN.horizon)
"""Nobody is promoted before the simulation ends."""


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
    found = simulate(WATCHED, truth, runs=300, looks=60, seed=3)
    # More than 8 of 300 would come once in 250 times at a true 1 %.
    assert (found.first > 0).sum() <= 8
    if truth.burst == 1:
        assert (simulate(PLAN, truth, runs=300, looks=60, seed=3).passed[-1] > 0).mean() > 0.9
        naive = simulate(replace(WATCHED, alpha=0.499, promote_alpha=0.499), truth, runs=300, looks=60, seed=3)
        assert (naive.first > 0).sum() > 8  # the same simulation does roll back where little evidence is asked for


def test_slow_requests_in_bursts_roll_nothing_back_as_their_dispersion_is_known(monkeypatch):
    # At a limit that a few of the baseline's requests exceed: at twice its p99 bursts are rare.
    plan, truth = replace(WATCHED, slow_factor=1.3), Truth(20, 0.003, 0.003, slow_burst=5)
    assert (simulate(plan, truth, runs=300, looks=60, seed=3).first > 0).sum() <= 8
    slower = simulate(plan, replace(truth, slower=3.0), runs=100, looks=60, seed=4).rolled_back["slow"]
    assert (slower > 0).mean() > 0.9
    look = Traffic.look
    monkeypatch.setattr(Traffic, "look", lambda self, share: (look(self, share)[0], {}))  # as if each came by itself
    assert (simulate(plan, truth, runs=300, looks=60, seed=3).first > 0).mean() > 0.15


@pytest.mark.parametrize(("errors", "bad", "size"), [(0.003, 0.01, 3_424), (0.01, 0.02, 3_839)])
def test_a_worse_candidate_is_found_within_twice_the_requests_that_one_look_needs(errors, bad, size):
    # One look, one-sided alpha .01, power .9: so many requests of each arm. Looking at all times costs twice as many.
    random, runs, looks = np.random.default_rng(9), 4_000, 20
    p, q = (random.binomial(size, rate, runs) / size for rate in (errors, bad))
    z = (q - p) / np.sqrt((p * (1 - p) + q * (1 - q)) / size)
    assert (z > NormalDist().inv_cdf(0.99)).mean() == pytest.approx(0.9, abs=0.03)
    plan = replace(WATCHED, steps=(0.5,), look=2 * size / looks, error_limit=0.015, horizon=1e6, bake=1e6)
    truth = Truth(2.0, errors, bad, shift=None)  # a request a second for each arm
    assert (simulate(plan, truth, runs=300, looks=looks, seed=10).first > 0).mean() > 0.8
    half = simulate(plan, truth, runs=300, looks=looks // 4, seed=10)
    assert (half.first > 0).mean() < 0.5  # a few requests say little
    same = replace(truth, candidate_errors=errors)
    assert (simulate(plan, same, runs=300, looks=looks, seed=11).first > 0).sum() <= 8


def test_agreement_is_shown_within_twice_the_pairs_that_one_look_needs():
    # One look, alpha .05, power .9: 1,280 pairs show that 2 % differ at most where 1 % do.
    random, pairs, runs, looks = np.random.default_rng(12), 1_280, 4_000, 20
    differ = random.binomial(pairs, 0.01, runs)
    z = (0.02 - differ / pairs) / np.sqrt(0.02 * 0.98 / pairs)
    assert (z > NormalDist().inv_cdf(0.95)).mean() == pytest.approx(0.9, abs=0.03)
    plan = Plan(kind="shadow", steps=(0.0,), look=2 * pairs / looks, bake=0.0, horizon=1e6)
    found = simulate(plan, Truth(1.0, 0.003, 0.003, differs=0.01), runs=300, looks=looks, seed=13)
    assert (found.passed[-1] > 0).mean() > 0.8
    assert (found.first > 0).sum() <= 8
    at_limit = simulate(plan, Truth(1.0, 0.003, 0.003, differs=0.02), runs=300, looks=looks, seed=14)
    assert (at_limit.passed[-1] > 0).mean() <= 0.08
    other = simulate(plan, Truth(1.0, 0.003, 0.003, differs=0.05), runs=300, looks=looks, seed=15)
    assert (other.rolled_back["disagreement"] > 0).mean() > 0.9


def test_a_worse_candidate_is_rolled_back_soon():
    errors = simulate(WATCHED, Truth(20, 0.003, 0.02), runs=200, looks=40, seed=4).first
    assert np.median(np.where(errors == 0, 99, errors)) <= 10
    slow = simulate(WATCHED, Truth(20, 0.003, 0.003, slower=3.0), runs=200, looks=10, seed=5)
    assert np.median(np.where(slow.rolled_back["slow"] == 0, 99, slow.rolled_back["slow"])) <= 5


def test_scores_that_moved_are_found_and_a_small_move_is_not():
    plan = replace(WATCHED, score_odds=2.0)
    moved = simulate(plan, Truth(20, 0.003, 0.003, shift=1.0), runs=40, looks=10, seed=6)
    assert (moved.rolled_back["scores"] > 0).mean() > 0.9
    near = simulate(plan, Truth(20, 0.003, 0.003, shift=0.1), runs=40, looks=10, seed=7)
    assert (near.rolled_back["scores"] > 0).sum() == 0
    assert "scores" not in simulate(plan, Truth(20, 0.003, 0.003, shift=None), runs=2, looks=1).rolled_back


def test_what_is_not_good_enough_is_not_shown_to_be():
    at_limit = simulate(replace(PLAN, bake=0.0), Truth(20, 0.003, 0.01), runs=300, looks=60, seed=8)
    assert (at_limit.passed[-1] > 0).mean() <= 0.08


def test_simulated_steps_are_passed_as_real_ones_are():
    plan = Plan(steps=(0.05, 0.25, 0.5), score_odds=0.0, bake=600.0)
    first, second, third = simulate(plan, Truth(20, 0.003, 0.003), runs=50, looks=90, seed=16).passed
    through = third > 0
    assert through.mean() > 0.9
    # Each step has its bake time and its own evidence, of which a larger share brings more.
    assert (second - first)[through].min() >= 10
    assert (third - second)[through].min() >= 10
    assert np.median(first) > np.median((third - second)[through])
    soon = simulate(replace(plan, horizon=1_800.0), Truth(20, 0.003, 0.003), runs=50, looks=90, seed=16).passed
    assert (soon[0] > 0).any()
    assert soon.max() < 30  # who has not passed at the horizon waits for a person
    # A last step that leaves the baseline no requests has nothing to be compared with.
    whole = simulate(replace(plan, steps=(0.5, 1.0)), Truth(20, 0.003, 0.003), runs=20, looks=60, seed=17).passed
    assert (whole[0] > 0).all()
    assert not whole[1].any()
    test = replace(plan, kind="ab", steps=(0.5,), metric="sales")
    assert not simulate(test, Truth(20, 0.003, 0.003), runs=20, looks=30, seed=18).passed.any()


def test_the_planner_says_that_little_traffic_cannot_decide_and_what_would():
    plan = replace(PLAN, horizon=3600.0)
    traffic = Expected(20, 0.003, 0.02)
    busy, quiet = forecast(plan, traffic), forecast(plan, replace(traffic, rate=2))
    assert busy.decides
    assert busy.caught_after <= 600
    assert not quiet.decides
    others = list(proposals(plan, replace(traffic, rate=2)))
    assert all(other.decides for other in others)
    assert any(other.horizon > plan.horizon for other in others)
    assert "rolled back" in said(plan, busy, traffic)[1]
    broken = replace(traffic, errors=0.02, bad=0.05)
    assert list(proposals(plan, broken)) == []
    assert "nothing like it can pass" in said(plan, busy, broken)[-1]


def test_a_canary_is_planned_over_all_its_steps_with_the_alpha_that_it_will_have():
    traffic = Expected(20, 0.003, 0.02)
    plan = Plan()
    found = forecast(plan, traffic)
    assert found.decides
    assert len(found.shown_after) == 3
    assert 3 * plan.bake <= found.shown_after[-1] < plan.horizon
    assert all(b - a >= plan.bake for a, b in pairwise(found.shown_after))
    assert said(plan, found, traffic)[2].count("min") == 3
    # Four metrics share alpha, though one of them is not simulated.
    asked = forecast(replace(plan, score_odds=0.0, alpha=0.01 * 3 / 4), traffic)
    assert (found.caught, found.caught_after) == (asked.caught, asked.caught_after)


def test_every_kind_is_planned_as_it_is_judged():
    traffic = Expected(20, 0.003, 0.02)
    shadow = planned({"kind": "shadow"})
    found = forecast(shadow, traffic)
    assert found.decides
    assert found.shown_after[0] >= shadow.bake
    assert "pairs" in said(shadow, found, traffic)[2]
    unlike = replace(traffic, differs=0.05)
    never = forecast(shadow, unlike)
    assert never.shown == 0
    assert list(proposals(shadow, unlike)) == []
    assert "cannot pass" in said(shadow, never, unlike)[-1]
    switch = planned({"kind": "blue-green"})
    assert forecast(switch, traffic).caught_after < forecast(Plan(steps=(0.05,)), traffic).caught_after


def test_an_ab_test_is_planned_by_the_keys_that_its_effect_needs():
    plan = planned({"kind": "ab", "metric": "sales", "effect": 0.2})
    traffic = Expected(20, 0.003, 0.02, sd=1.0, keys=500)
    found = forecast(plan, traffic)
    assert found.decides
    assert found.keys_after == pytest.approx(found.keys / 500 * 86_400)
    few = replace(traffic, keys=50)
    assert not forecast(plan, few).decides
    (longer,) = proposals(plan, few)
    assert longer.decides
    assert longer.horizon >= longer.keys_after
    never = replace(traffic, keys=0.5)
    assert list(proposals(plan, never)) == []
    assert "2,102 days" in said(plan, forecast(plan, never), never)[-1]
    assert "sd of the outcome" in said(plan, forecast(plan, replace(traffic, sd=None)), traffic)[-1]
    # As many keys do give the answer that is promised, by the code that gives it.
    rollout = Rollout(7, "churn", plan, Arm("old", "a" * 64), Arm("new", "b" * 64), "held", 0, 0.0, 0.0, 0.0)
    keys = [f"k{i}" for i in range(found.keys)]
    in_b = np.array([place(key.encode(), b"7") < 0.5 for key in keys])
    for lift, verdict in ((0.0, "no"), (0.4, "yes")):
        random = np.random.default_rng(19)
        verdicts = [
            outcome(rollout, keys, random.normal(size=len(keys)) + lift * in_b, now=plan.horizon + 1).verdict
            for _ in range(60)
        ]
        assert verdicts.count(verdict) >= 48
