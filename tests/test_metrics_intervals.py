"""Intervals cover what they claim, pairs cancel what they share, and blindness is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.metrics.find import metric
from modelyard.metrics.intervals import bootstrap, gain, interval, paired, resample, wilson


def logistic(n, random, strength=1.5):
    x = random.normal(size=n)
    y = (random.random(n) < 1 / (1 + np.exp(-strength * x))).astype(np.int64)
    return y, 1 / (1 + np.exp(-x))


def test_interval_of_a_mean_is_the_textbook_one():
    random = np.random.default_rng(1)
    error = random.normal(size=2000)
    found = bootstrap(metric("mae"), np.zeros(2000), error)
    half = 1.96 * np.abs(error).std() / np.sqrt(2000)
    assert found.value == pytest.approx(np.abs(error).mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)
    assert (found.n, found.resamples, found.unit, found.skipped, found.level) == (2000, 1000, "rows", 0, 0.95)


def test_same_seed_same_interval_and_the_level_widens_it():
    y, p = logistic(300, np.random.default_rng(2))
    one = bootstrap(metric("auc"), y, p, seed=3)
    assert one == bootstrap(metric("auc"), y, p, seed=3)
    assert one != bootstrap(metric("auc"), y, p, seed=4)
    wide = bootstrap(metric("auc"), y, p, seed=3, level=0.99)
    assert wide.low < one.low < one.high < wide.high


def coverage(name, draw, truth_value, runs, groups=False, seed=0):
    """Return the share of simulated intervals that hold the true value."""
    random, hits = np.random.default_rng(seed), 0
    for run in range(runs):
        y, p, g = draw(random)
        found = bootstrap(metric(name), y, p, groups=g if groups else None, resamples=250, seed=run)
        hits += found.low <= truth_value <= found.high
    return hits / runs


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "brier"])
def test_a_95_percent_interval_covers_about_95_percent(name):
    y, p = logistic(400_000, np.random.default_rng(9))
    read = (lambda v: (v >= 0.5).astype(float)) if name == "accuracy" else (lambda v: v)
    true = metric(name)(y, read(p))

    def draw(random):
        y, p = logistic(200, random)
        return y, read(p), None

    assert 0.91 <= coverage(name, draw, true, 300) <= 0.985


def test_rows_of_one_entity_need_whole_entities():
    def draw(random):  # 40 entities of 10 rows that share most of their error
        shared = np.repeat(random.normal(size=40), 10)
        return np.zeros(400), shared + 0.2 * random.normal(size=400), np.repeat(np.arange(40), 10)

    true = np.sqrt(1.04 * 2 / np.pi)
    assert coverage("mae", draw, true, 150, groups=True) >= 0.88
    assert coverage("mae", draw, true, 150, groups=False) <= 0.6  # what ignoring them would have claimed


def test_groups_of_one_row_are_rows():
    y, p = logistic(100, np.random.default_rng(5))
    rows = bootstrap(metric("auc"), y, p)
    alone = bootstrap(metric("auc"), y, p, groups=np.arange(100))
    assert (alone.low, alone.high, alone.unit) == (rows.low, rows.high, "groups")


def test_weights_enter_the_interval():
    y, p = logistic(200, np.random.default_rng(6))
    w = np.where(np.arange(200) < 100, 1.0, 0.0)
    some = bootstrap(metric("auc"), y, p, weights=w)
    assert some.value == pytest.approx(metric("auc")(y[:100], p[:100]))
    every = bootstrap(metric("auc"), y, p)
    assert some.high - some.low > every.high - every.low


def test_resamples_without_a_class_are_skipped_and_counted():
    y, p = np.array([1, *[0] * 9]), np.linspace(1, 0, 10)
    found = bootstrap(metric("auc"), y, p, resamples=500)
    assert 100 < found.skipped < 300  # one row of ten is left out of a resample with probability .349
    assert found.resamples + found.skipped == 500


def test_no_error_seen_is_not_no_error():
    y = np.repeat([0, 1], [90, 10])
    for name, prediction in (("accuracy", y.astype(float)), ("auc", y.astype(float)), ("recall", y.astype(float))):
        found = bootstrap(metric(name), y, prediction, resamples=100)
        assert found.high == 1.0
        assert found.low == pytest.approx(wilson(10, 10)[0])
    wrong = bootstrap(metric("accuracy"), y, 1.0 - y, resamples=100)
    assert (wrong.low, wrong.high) == (0.0, pytest.approx(1 - wilson(10, 10)[0]))
    entities = bootstrap(metric("accuracy"), y, y.astype(float), groups=np.arange(100) // 5, resamples=100)
    assert entities.low == pytest.approx(wilson(2, 2)[0])


def test_one_row_or_one_group_has_no_interval():
    one = bootstrap(metric("mae"), np.ones(1), np.zeros(1))
    assert one.value == 1.0
    assert np.isnan(one.low)
    assert np.isnan(bootstrap(metric("mae"), np.ones(5), np.arange(5.0), groups=np.zeros(5, dtype=np.int64)).high)
    assert np.isnan(bootstrap(metric("auc"), np.ones(5, dtype=np.int64), np.arange(5.0)).value)


def test_pairs_cancel_what_they_share():
    random = np.random.default_rng(7)
    y = random.normal(size=500)
    one = y + random.normal(size=500)
    other = one + 0.1 * np.sign(one - y)  # always a little worse on the very same rows
    found = paired(metric("mae"), y, one, other)
    assert found.gain == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert found.p_value == pytest.approx(2 / 1001)
    alone = bootstrap(metric("mae"), y, one)
    assert found.high - found.low < 0.01 * (alone.high - alone.low)


def test_gain_is_positive_when_the_first_is_better_whatever_the_direction():
    y, p = logistic(300, np.random.default_rng(8))
    noise = np.random.default_rng(9).random(300)
    for name in ("auc", "log_loss", "brier"):
        found = paired(metric(name), y, p, noise, resamples=200)
        assert found.gain > 0
        assert paired(metric(name), y, noise, p, resamples=200).gain == pytest.approx(-found.gain)
    same = paired(metric("auc"), y, p, p, resamples=200)
    assert (same.gain, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_paired_p_values_of_equal_models_are_honest():
    random, rejected = np.random.default_rng(10), 0
    for run in range(300):
        y = (random.random(200) < 0.4).astype(np.int64)
        signal = y + random.normal(size=200)
        one, other = signal + random.normal(size=200), signal + random.normal(size=200)
        rejected += paired(metric("auc"), y, one, other, resamples=199, seed=run).p_value < 0.05
    assert 0.02 <= rejected / 300 <= 0.085


def test_wilson():
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1.0)
    assert wilson(5, 10) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1), level=st.floats(0.5, 0.999))
@settings(max_examples=100)
def test_wilson_holds_the_share_and_stays_in_range(n, share, level):
    low, high = wilson(share * n, n, level)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


@pytest.mark.parametrize("grouped", [False, True])
def test_figures_that_share_their_draws_are_those_of_each_alone(grouped):
    random = np.random.default_rng(5)
    y, p = logistic(300, random)
    w, groups = random.random(300), np.arange(300) // 3 if grouped else None
    names = ("roc_auc", "average_precision", "log_loss")
    given = {"weights": w, "groups": groups, "resamples": 40, "seed": 2}
    scored = resample([metric(n).scorer(y, p) for n in names], 300, **given)
    for name, values in zip(names, scored, strict=True):
        assert interval(metric(name), y, values, weights=w, groups=groups) == bootstrap(metric(name), y, p, **given)
    other = random.random(300)
    (alone,) = resample([metric("roc_auc").scorer(y, other)], 300, **given)
    assert gain(metric("roc_auc"), scored[0], alone) == paired(metric("roc_auc"), y, p, other, **given)


@pytest.mark.parametrize("digits", [1, 8])
def test_ranks_with_and_without_ties_are_those_of_pairs(digits):
    random = np.random.default_rng(6)
    y, p = logistic(200, random)
    p, w = p.round(digits), random.integers(0, 3, 200).astype(np.float64)
    pairs = w[:, None] * w * (y[:, None] > y)
    won = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    assert metric("roc_auc")(y, p, w) == pytest.approx((pairs * won).sum() / pairs.sum())
    called = p >= p[:, None]
    precision = (called * w * y).sum(axis=1) / np.maximum((called * w).sum(axis=1), 1e-300)
    assert metric("average_precision")(y, p, w) == pytest.approx((w * y * precision).sum() / (w * y).sum())
