"""Losses, greedy selection and calibration: what must always hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data.dataset import Fold, Split
from modelyard.metrics.find import metric as find_metric
from modelyard.training.calibration import calibrate, fit_calibration
from modelyard.training.ensemble import greedy_weights
from modelyard.training.loss import Loss
from toy_family import dataset

seeds = st.integers(0, 2**32 - 1)


def logits(seed, n=400, k=1, slope=1.0, shift=0.0):
    """Return true logits and labels drawn from them, and the logits as a model off by slope and shift gives them."""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, k)) * 1.5
    if k == 1:
        truth = (random.random(n) < 1 / (1 + np.exp(-z[:, 0]))).astype(np.int64)
    else:
        truth = np.argmax(z + random.gumbel(size=(n, k)), axis=1)
    return (z - shift) / slope, truth


def log_loss(truth):
    return Loss("log_loss", truth, np.ones(len(truth)))


@given(seeds, st.integers(2, 5))
def test_log_loss_is_the_metrics(seed, k):
    z, truth = logits(seed, 50, k)
    e = np.exp(z)
    assert log_loss(truth)(z) == pytest.approx(find_metric("log_loss")(truth, e / e.sum(1, keepdims=True)))
    z, truth = logits(seed, 50)
    if 0 < truth.sum() < 50:
        assert log_loss(truth)(z) == pytest.approx(find_metric("log_loss")(truth, 1 / (1 + np.exp(-z[:, 0]))))


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_log_loss_is_finite_however_sure_the_scores(a, b):
    assert np.isfinite(log_loss(np.array([0, 1]))(np.array([[a], [b]])))
    assert np.isfinite(log_loss(np.array([0, 1]))(np.array([[a, b, 0.0], [b, a, 0.0]])))


def test_losses_follow_task_and_metric():
    data = dataset("regression")
    assert Loss.of("regression", find_metric("rmse"), data).name == "squared_error"
    assert Loss.of("regression", find_metric("mae"), data).name == "absolute_error"
    assert Loss.of("binary", find_metric("roc_auc"), dataset()).name == "log_loss"
    assert Loss.of("forecast", find_metric("smape"), data).name == "absolute_error"
    scale = np.linspace(0, 3, len(data))  # a series that never moves has no scale, and no say
    scaled = Loss.of("forecast", find_metric("mase"), replace(data, extras={"scale": scale}))
    error = np.abs(data.truth()[1:]) / scale[1:]
    assert scaled(np.zeros((len(data), 1))) == pytest.approx(error.sum() / len(data))


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 6), st.sampled_from([1, 3]))
def test_a_blend_is_never_worse_than_its_best_member(seed, members, k):
    random = np.random.default_rng(seed)
    z, truth = logits(seed, 120, k)
    scores = [z * random.uniform(0.2, 2) + random.normal(size=z.shape) * 2 for _ in range(members)]
    loss = log_loss(truth)
    weights = greedy_weights(scores, loss)
    assert weights.sum() == pytest.approx(1)
    assert (weights[weights > 0] >= 1 / 30 - 1e-12).all()
    blended = sum(w * one for w, one in zip(weights, scores, strict=True))
    assert loss(blended) <= min(loss(one) for one in scores) + 1e-12


def test_two_halves_are_weighed_alike_and_copies_add_nothing():
    random = np.random.default_rng(0)
    truth = random.normal(size=500)
    loss = Loss("squared_error", truth, np.ones(500))
    one, other = (truth + random.normal(size=500) for _ in range(2))
    weights = greedy_weights([one[:, None], other[:, None]], loss)
    assert weights == pytest.approx([0.5, 0.5], abs=0.11)
    assert greedy_weights([one[:, None]] * 3, loss).tolist() == [1, 0, 0]


def test_members_that_take_off_next_to_nothing_are_not_summed():
    random = np.random.default_rng(1)
    truth = random.normal(size=4_000)
    loss = Loss("squared_error", truth, np.ones(len(truth)))
    shared = truth + random.normal(size=len(truth))
    scores = [(shared + random.normal(size=len(truth)) * 0.02)[:, None] for _ in range(12)]
    many, few = (greedy_weights(scores, loss, worth=worth) for worth in (0.0, 3e-4))
    assert (few > 0).sum() < (many > 0).sum()
    lost = loss(sum(w * s for w, s in zip(few, scores, strict=True)))
    assert lost < loss(sum(w * s for w, s in zip(many, scores, strict=True))) * (1 + 1e-3)
    assert greedy_weights(scores, loss).tolist() == few.tolist()


def test_many_rows_are_looked_at_in_part_and_give_the_same_each_time():
    random = np.random.default_rng(0)
    truth = random.normal(size=300_000)
    loss = Loss("squared_error", truth, np.ones(len(truth)))
    scores = [(truth + random.normal(size=len(truth)) * s)[:, None] for s in (1.0, 2.0, 4.0)]
    first = greedy_weights(scores, loss, seed=3)
    assert first.tolist() == greedy_weights(scores, loss, seed=3).tolist()
    best = np.array([1 / s**2 for s in (1.0, 2.0, 4.0)])  # the weights of least variance
    assert first == pytest.approx(best / best.sum(), abs=0.05)


@settings(deadline=None, max_examples=25)
@given(seeds, st.floats(0.4, 2.5), st.floats(-1, 1))
def test_calibration_finds_slope_and_shift(seed, slope, shift):
    z, truth = logits(seed, 6000, 1, slope, shift)
    found = fit_calibration(z, log_loss(truth))
    assert found.scale == pytest.approx(slope, rel=0.15)
    assert found.offset[0] == pytest.approx(shift, abs=0.15)


@settings(deadline=None, max_examples=25)
@given(seeds, st.integers(3, 6), st.floats(0.4, 2.5))
def test_calibration_of_several_classes_finds_the_temperature(seed, k, slope):
    z, truth = logits(seed, 6000, k, slope)
    assert fit_calibration(z, log_loss(truth)).scale == pytest.approx(slope, rel=0.12)


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_separated_and_single_class_scores_stay_finite_and_in_order(seed):
    z, truth = logits(seed, 40)
    for labels in (truth, (z[:, 0] > 0).astype(np.int64), np.zeros(40, dtype=np.int64)):
        found = fit_calibration(z, log_loss(labels))
        assert np.isfinite([found.scale, *found.offset]).all()
        assert found.scale > 0


def test_a_class_with_few_rows_is_not_written_off():
    z, truth = logits(1, 2000, 3)
    truth[truth == 2] = 1
    truth[:9] = 2
    found = fit_calibration(z, log_loss(truth))
    assert -4 < found.offset[2] < found.offset[1]


def test_answers_of_a_fold_do_not_depend_on_its_own_labels():
    z, truth = logits(2, 600, 1, 0.5, 0.3)
    rows = np.arange(600)
    folds = [Fold(rows[rows % 3 != i], rows[rows % 3 == i]) for i in range(3)]
    _, one = calibrate(z, log_loss(truth), "logistic", folds)
    turned = truth.copy()
    turned[folds[0].score[:20]] = 1 - truth[folds[0].score[:20]]
    _, other = calibrate(z, log_loss(turned), "logistic", folds)
    assert one[folds[0].score].tobytes() == other[folds[0].score].tobytes()
    assert one[folds[1].score].tobytes() != other[folds[1].score].tobytes()


def test_calibration_is_kept_only_where_it_helps_across_folds():
    rows = np.arange(3000)
    folds = [Fold(rows[rows % 3 != i], rows[rows % 3 == i]) for i in range(3)]
    off, truth = logits(3, 3000, 1, 0.5)
    kept, crossed = calibrate(off, log_loss(truth), "logistic", folds)
    assert kept.scale == pytest.approx(0.5, rel=0.1)
    assert log_loss(truth)(crossed) < log_loss(truth)(off)
    # Answers that are right already, on few rows: fitting more to them only adds noise.
    left = [calibrate(*_small(seed), "logistic", [])[0].scale == 1.0 for seed in range(20)]
    assert sum(left) > 8


def _small(seed):
    z, truth = logits(seed, 60)
    return z, log_loss(truth)


def test_unscored_rows_stay_unscored_and_take_no_part():
    z, truth = logits(4, 500, 1, 0.5)
    gone = z.copy()
    gone[:100] = np.nan
    rows = np.arange(100, 500)
    folds = [Fold(rows[:200], rows[200:]), Fold(rows[200:], rows[:200])]
    found, crossed = calibrate(gone, log_loss(truth), "logistic", folds)
    assert np.isnan(crossed[:100]).all()
    assert np.isfinite(crossed[100:]).all()
    assert found == fit_calibration(z[100:], log_loss(truth[100:]))


def test_values_are_left_as_they_are():
    z = np.random.default_rng(0).normal(size=(50, 1))
    found, crossed = calibrate(z, Loss("squared_error", z[:, 0] * 2, np.ones(50)), "identity", [])
    assert (found.scale, found.offset) == (1.0, (0.0,))
    assert crossed is z


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 8), st.floats(0.1, 3.0))
def test_what_is_chosen_stays_within_the_limits(seed: int, count: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=80)
    scores = [(truth + rng.normal(size=80))[:, None] for _ in range(count)]
    costs = rng.uniform(0.0, 1.0, size=(count, 2))
    loss = Loss("squared_error", truth, np.ones(80))
    weights = greedy_weights(scores, loss, costs=costs, limits=np.array([limit, 1.0]))
    share = costs / [limit, 1.0]
    chosen = weights > 0
    assert weights.sum() == pytest.approx(1.0)
    if (share <= 1.0).all(axis=1).any():
        assert (share[chosen].sum(axis=0) <= 1.0 + 1e-9).all()
    else:  # nothing fits, and something must answer: the one that exceeds them least
        assert np.flatnonzero(chosen).tolist() == [int(share.max(axis=1).argmin())]


def test_limits_that_allow_everything_change_nothing() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=200)
    scores = [(truth + rng.normal(size=200))[:, None] for _ in range(5)]
    loss = Loss("squared_error", truth, np.ones(200))
    free = greedy_weights(scores, loss)
    assert (free > 0).sum() > 2
    np.testing.assert_array_equal(greedy_weights(scores, loss, costs=np.ones((5, 1)), limits=np.array([5.0])), free)
    alone = greedy_weights(scores, loss, costs=np.ones((5, 1)), limits=np.array([1.0]))
    assert (alone > 0).sum() == 1


def test_later_windows_count_more_and_other_splits_alike():
    data = dataset(rows=60)
    loss = Loss.of("binary", find_metric("roc_auc"), data)
    every = np.arange(60)
    folds = (Fold(every[:20], every[20:40]), Fold(every[:40], every[40:]))
    forward = loss.favouring_later(Split("time", "", every, every[:0], folds))
    np.testing.assert_allclose(forward.weights[20:40] * 2, forward.weights[40:])
    np.testing.assert_allclose(forward.weights[20:].mean(), loss.weights[20:].mean())
    assert loss.favouring_later(Split("stratified", "", every, every[:0], folds)) is loss
