"""Every metric agrees with scikit-learn where it has one, stays in its range, and takes weights as copies."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from modelyard.metrics.find import all_metrics, metric
from modelyard.metrics.one_class import of_class
from modelyard.metrics.reading import reading

RANDOM = np.random.default_rng(0)
N = 400
WEIGHTS = RANDOM.uniform(0.1, 3, N)
BINARY = (RANDOM.random(N) < 0.3).astype(np.int64)
P = np.round(np.clip(RANDOM.normal(0.3 + 0.3 * BINARY, 0.25), 0, 1), 2)  # rounded: many ties
CODES = (P >= 0.5).astype(np.int64)
MANY = RANDOM.integers(0, 4, N)
RAW = RANDOM.random((N, 4)) + 0.7 * (MANY[:, None] == np.arange(4))
PMANY = RAW / RAW.sum(axis=1, keepdims=True)
Y = RANDOM.gamma(2, 10, N) + 0.1
YHAT = Y * RANDOM.lognormal(0, 0.3, N)
TINY = {"max_examples": 60, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("name", "truth", "prediction", "theirs"),
    [
        ("roc_auc", BINARY, P, sk.roc_auc_score),
        ("average_precision", BINARY, P, sk.average_precision_score),
        ("log_loss", BINARY, P, sk.log_loss),
        ("brier", BINARY, P, sk.brier_score_loss),
        ("accuracy", BINARY, CODES, sk.accuracy_score),
        ("balanced_accuracy", BINARY, CODES, sk.balanced_accuracy_score),
        ("f1", BINARY, CODES, sk.f1_score),
        ("precision", BINARY, CODES, sk.precision_score),
        ("recall", BINARY, CODES, sk.recall_score),
        ("mcc", BINARY, CODES, sk.matthews_corrcoef),
        ("log_loss", MANY, PMANY, sk.log_loss),
        ("accuracy", MANY, PMANY.argmax(1), sk.accuracy_score),
        ("balanced_accuracy", MANY, PMANY.argmax(1), sk.balanced_accuracy_score),
        ("mcc", MANY, PMANY.argmax(1), sk.matthews_corrcoef),
        ("rmse", Y, YHAT, sk.root_mean_squared_error),
        ("mae", Y, YHAT, sk.mean_absolute_error),
        ("r2", Y, YHAT, sk.r2_score),
        ("mape", Y, YHAT, sk.mean_absolute_percentage_error),
        ("rmsle", Y, YHAT, sk.root_mean_squared_log_error),
        ("pinball", Y, YHAT, sk.mean_pinball_loss),
        ("pinball@0.9", Y, YHAT, partial(sk.mean_pinball_loss, alpha=0.9)),
        ("poisson_deviance", Y, YHAT, sk.mean_poisson_deviance),
        ("poisson_deviance", np.round(Y / 20), YHAT, sk.mean_poisson_deviance),
        ("tweedie_deviance", np.where(Y > 20, Y, 0.0), YHAT, partial(sk.mean_tweedie_deviance, power=1.5)),
        ("tweedie_deviance@1.2", Y, YHAT, partial(sk.mean_tweedie_deviance, power=1.2)),
    ],
)
def test_agrees_with_scikit_learn(name, truth, prediction, theirs, weights):
    assert metric(name)(truth, prediction, weights) == pytest.approx(
        theirs(truth, prediction, sample_weight=weights), rel=1e-10
    )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("name", "prediction", "theirs"),
    [
        ("roc_auc", PMANY, lambda t, p, w: sk.roc_auc_score(t, p, multi_class="ovr", sample_weight=w)),
        ("f1_macro", PMANY.argmax(1), lambda t, p, w: sk.f1_score(t, p, average="macro", sample_weight=w)),
        (
            "precision_macro",
            PMANY.argmax(1),
            lambda t, p, w: sk.precision_score(t, p, average="macro", sample_weight=w),
        ),
        ("brier", PMANY, lambda t, p, w: sk.brier_score_loss(t, p, sample_weight=w, scale_by_half=True)),
        ("average_precision", PMANY, lambda t, p, w: sk.average_precision_score(np.eye(4)[t], p, sample_weight=w)),
    ],
)
def test_several_classes_agree_with_scikit_learn(name, prediction, theirs, weights):
    assert metric(name)(MANY, prediction, weights) == pytest.approx(theirs(MANY, prediction, weights), rel=1e-10)


def test_specificity_is_the_recall_of_the_other_class():
    assert metric("specificity")(BINARY, CODES, WEIGHTS) == pytest.approx(
        sk.recall_score(BINARY, CODES, pos_label=0, sample_weight=WEIGHTS)
    )


def test_one_class_of_several():
    recall = of_class(metric("recall"), 2, "c")
    theirs = sk.recall_score(MANY, PMANY.argmax(1), labels=[2], average=None)[0]
    assert recall(MANY, PMANY.argmax(1)) == pytest.approx(theirs)
    assert of_class(metric("auc"), 2, "c")(MANY, PMANY) == pytest.approx(sk.roc_auc_score(MANY == 2, PMANY[:, 2]))
    # Of two classes, a probability of the positive one serves both.
    assert of_class(metric("average_precision"), 0, "no")(BINARY, P) == pytest.approx(
        sk.average_precision_score(1 - BINARY, 1 - P)
    )


def test_forecast_metrics_by_hand():
    truth, said = np.array([10.0, 20.0, 0.0]), np.array([12.0, 16.0, 0.0])
    assert metric("smape")(truth, said) == pytest.approx((2 * 2 / 22 + 2 * 4 / 36 + 0) / 3)
    assert metric("mase")(truth, said, context={"scale": np.array([2.0, 4.0, 1.0])}) == pytest.approx(2 / 3)
    # A series without a scale says nothing; it does not make the rest infinite.
    assert metric("mase")(truth, said, context={"scale": np.array([2.0, 0.0, np.nan])}) == pytest.approx(1.0)


def test_calibration_error_by_hand():
    ece = metric("ece")
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    assert ece(truth, np.array([0.75] * 4 + [0.25] * 4)) == pytest.approx(0.0)
    assert ece(truth, np.array([0.95] * 4 + [0.25] * 4)) == pytest.approx(0.1)
    assert ece(np.array([0, 1]), np.array([[0.6, 0.4], [0.6, 0.4]])) == pytest.approx(0.1)


def test_ranking_agrees_with_scikit_learn():
    lists = np.repeat(np.arange(20), 15)
    gain = RANDOM.integers(0, 4, 300).astype(np.float64)
    score = RANDOM.random(300)
    theirs = sk.ndcg_score(gain.reshape(20, 15), score.reshape(20, 15), k=5)
    assert metric("ndcg@5")(gain, score, context={"query": lists}) == pytest.approx(theirs)
    relevant, top = np.array([1, 0, 1, 0, 0, 1.0]), np.array([3, 2, 1, 9, 8, 7.0])
    context = {"query": np.array([0, 0, 0, 1, 1, 1])}
    assert metric("recall@1")(relevant, top, context=context) == pytest.approx(0.25)
    assert metric("hit_rate@1")(relevant, top, context=context) == pytest.approx(0.5)
    assert metric("hit_rate@3")(relevant, top, context=context) == 1.0


def test_undefined_is_nan_and_never_an_error():
    ones, half = np.ones(5, dtype=np.int64), np.full(5, 0.5)
    assert np.isnan(metric("roc_auc")(ones, half))
    assert np.isnan(metric("average_precision")(0 * ones, half))
    assert np.isnan(metric("recall")(0 * ones, half))
    assert np.isnan(metric("r2")(np.full(5, 0.1), half))
    assert np.isnan(metric("mape")(np.array([0.0, 1.0]), np.array([1.0, 1.0])))
    assert metric("mape")(np.array([0.0, 1.0]), np.array([1.0, 1.5]), np.array([0.0, 1.0])) == 0.5
    assert metric("mape")(np.array([5e-324, 1.0]), np.array([1.0, 1.5]), np.array([0.0, 1.0])) == 0.5
    assert np.isnan(metric("rmsle")(np.array([-2.0, 1.0]), np.array([1.0, 1.0])))
    assert metric("rmsle")(np.array([0.0, 1.0]), np.array([-3.0, 1.0])) == 0.0
    for name in ("poisson_deviance", "tweedie_deviance"):
        assert np.isnan(metric(name)(np.array([-1.0, 1.0]), np.array([1.0, 1.0])))
        assert np.isnan(metric(name)(np.array([0.0, 1.0]), np.array([0.0, 1.0])))
        assert metric(name)(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0])) == 0.0
    assert metric("precision")(ones, 0 * ones) == 0.0  # the pessimistic reading
    assert metric("mcc")(ones, ones) == 0.0
    for m in all_metrics():
        context = {"scale": np.ones(2), "query": np.zeros(2)}
        assert np.isnan(m(np.array([0, 1]), np.array([np.nan, 1.0]), context=context)), m.name
        assert np.isnan(m(np.array([0, 1]), np.array([0.5, 1.0]), np.zeros(2), context)), m.name
        assert np.isnan(m(np.zeros(0, dtype=np.int64), np.zeros(0))), m.name


def test_a_class_no_row_holds_is_left_out_of_the_mean():
    truth, said = np.array([0, 0, 1, 1]), np.array([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]])
    assert metric("roc_auc")(truth, said) == pytest.approx(
        (sk.roc_auc_score(truth == 0, said[:, 0]) + sk.roc_auc_score(truth == 1, said[:, 1])) / 2
    )


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="3 rows of truth, 2 of prediction"):
        metric("rmse")(np.ones(3), np.ones(2))


def _drawn(data, m, n):
    """Draw truth and prediction as the metric reads them."""
    whole = st.lists(st.integers(0, 2 if "multiclass" in m.tasks else 1), min_size=n, max_size=n)
    share = st.lists(st.integers(0, 8), min_size=n, max_size=n).map(lambda v: np.array(v) / 8)
    if m.reads == "classes":
        return np.array(data.draw(whole)), np.array(data.draw(whole), dtype=np.float64)
    if m.reads == "probabilities":
        return np.array(data.draw(whole)) % 2, data.draw(share)
    value = st.lists(st.floats(0, 1e6), min_size=n, max_size=n).map(np.array)
    return data.draw(value), data.draw(value)


@pytest.mark.parametrize("m", all_metrics(), ids=lambda m: m.name)
@given(data=st.data(), n=st.integers(1, 12))
@settings(**TINY)
def test_what_always_holds(m, data, n):
    truth, prediction = _drawn(data, m, n)
    context = {"scale": np.ones(n), "query": np.zeros(n)}
    value = m(truth, prediction, context=context)
    assert np.isnan(value) or m.low - 1e-9 <= value <= m.high + 1e-9
    order = np.array(data.draw(st.permutations(range(n))))
    if "recommend" not in m.tasks:  # among equal scores a ranking takes the first row
        assert m(truth[order], prediction[order], context=context) == pytest.approx(
            value, rel=1e-7, abs=1e-9, nan_ok=True
        )
        copies = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
        rows = np.repeat(np.arange(n), copies)
        repeated = m(truth[rows], prediction[rows], context={k: v[rows] for k, v in context.items()})
        weighted = m(truth, prediction, copies.astype(np.float64), context)
        assert weighted == pytest.approx(repeated, rel=1e-7, abs=1e-9, nan_ok=True)


@given(
    truth=st.lists(st.integers(0, 1), min_size=2, max_size=15),
    data=st.data(),
    step=st.floats(0.01, 3),
)
@settings(**TINY)
def test_roc_auc_depends_on_the_order_alone_and_turns_with_it(truth, data, step):
    y = np.array(truth)
    p = np.array(data.draw(st.lists(st.integers(0, 6), min_size=len(y), max_size=len(y)))) / 6
    auc = metric("roc_auc")
    assert auc(y, p) == pytest.approx(auc(y, step * p**3 - 7), nan_ok=True)
    assert auc(y, -p) == pytest.approx(1 - auc(y, p), nan_ok=True)


def test_reading():
    binary, many = np.array([0.2, 0.5, np.nan]), np.array([[0.2, 0.8], [0.6, 0.4]])
    assert reading(metric("auc"), binary) is binary
    np.testing.assert_array_equal(reading(metric("f1"), binary), [0, 1, np.nan])
    np.testing.assert_array_equal(reading(metric("f1"), binary, 0.6), [0, 0, np.nan])
    np.testing.assert_array_equal(reading(metric("accuracy"), many), [1, 0])
    assert reading(metric("log_loss"), many) is many
    assert reading(metric("rmse"), binary) is binary
