"""What a brief asks is held against the label, and doubts are said with their reasoning before compute is spent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Budget, ForecastBrief, Latency, Target, Validation
from modelyard.brief.doubts import doubts
from modelyard.brief.read import read_brief
from modelyard.brief.settle import settle
from modelyard.brief.target import parse_targets, target_text
from modelyard.brief.uncertainty import auc_half_width, calibrated_ece, needed_for, rows_without_error, share_half_width
from modelyard.core.errors import BriefError
from modelyard.metrics.find import metric
from modelyard.metrics.intervals import wilson

TWO, FOUR = ("no", "yes"), ("a", "b", "c", "d")


def asked(text="", **more):
    return Brief(target=parse_targets(text) if text else (), **more)


def test_task_and_metric_are_filled():
    assert settle(Brief(), "binary", TWO).metric == "roc_auc"
    assert settle(Brief(), "multiclass", FOUR).metric == "log_loss"
    assert settle(Brief(), "regression", ()).metric == "rmse"
    assert settle(Brief(), "forecast", ()).task == "forecast"
    assert settle(asked("brier < .2 and auc > .7"), "binary", TWO).metric == "brier"
    assert settle(asked("brier < .2", metric="average_precision"), "binary", TWO).metric == "average_precision"


def test_of_several_classes_one_is_named_or_the_mean_is_meant():
    brief = settle(asked("recall > .8 and recall > .9 on C and f1 > .5"), "multiclass", FOUR)
    assert [target_text(t) for t in brief.target] == ["balanced_accuracy > 0.8", "recall > 0.9 on c", "f1_macro > 0.5"]
    assert brief.metric == "balanced_accuracy"
    assert settle(asked("recall > .9 on c"), "multiclass", FOUR).metric == "balanced_accuracy"
    assert settle(asked("recall > .9 on yes"), "binary", TWO).metric == "recall"
    assert settle(asked(metric="precision"), "multiclass", FOUR).metric == "precision_macro"
    with pytest.raises(BriefError, match=r"speaks of one class: name it, as in 'specificity >= 0.9 on CLASS'"):
        settle(asked("specificity > .8"), "multiclass", FOUR)


@pytest.mark.parametrize(
    ("brief", "task", "classes", "what"),
    [
        (asked("rmse < 3"), "binary", TWO, "RMSE does not score a binary task."),
        (asked("auc > .8"), "regression", (), "ROC AUC does not score a regression task."),
        (asked("mase < 1"), "regression", (), "MASE does not score a regression task."),
        (asked(metric="rmse"), "multiclass", FOUR, "RMSE does not score a multiclass task."),
        (asked("recall > .8 on defects"), "binary", TWO, "The label has no class 'defects'."),
        (asked("recall > .8 on yes"), "regression", (), "The label has no class 'yes'."),
        (asked("NDCG@10 >0.4"), "binary", TWO, "NDCG@10 scores ranked lists; recommending is a task no family"),
        (Brief(task="regression"), "binary", TWO, "The brief asks for regression, but the label makes it binary."),
    ],
)
def test_what_does_not_fit(brief, task, classes, what):
    with pytest.raises(BriefError) as caught:
        settle(brief, task, classes)
    assert caught.value.what.startswith(what)
    assert caught.value.where


def doubt(text="", counts=None, rows=None, **more):
    counts = {"no": 5000, "yes": 5000} if counts is None else counts
    task = more.pop("task", "binary")
    facts = {"features": more.pop("features", 10), "groups": more.pop("groups", None)}
    brief = settle(asked(text, **more), task, tuple(counts))
    return doubts(brief, task=task, rows=rows or sum(counts.values()), classes_counts=counts, **facts)


def only(found):
    assert len(found) == 1, found
    assert found[0].means
    assert found[0].do
    return found[0].what


def test_a_reasonable_brief_has_no_doubts():
    assert doubt("auc > .8 and recall > .7", latency=Latency(99, 100), infrastructure="kubernetes") == ()
    assert doubt(counts={}, rows=500, task="regression") == ()


def test_targets_that_few_rows_cannot_show():
    few = {"no": 900, "yes": 60}
    assert "recall >= 0.99 cannot be shown on about 9 test rows of class 'yes'" in only(doubt("recall >= .99", few))
    assert "about 2,540 rows" not in doubt("recall >= .8", few)[0].do
    assert "auc > 0.9 is a lot to show on about 9" in only(doubt("auc > .9", few)).replace("roc_", "")
    # Out of fold, every row counts: the same target is no longer doubtful.
    assert doubt("auc > .9", few, validation=Validation(test_fraction=0)) == ()
    assert "accuracy >= 1 cannot be shown" in only(doubt("accuracy >= 1"))
    assert "recall >= 0.998 is close to perfect" in only(
        doubt("recall >= .998", {"no": 10**6, "yes": 10**6}, budget=Budget(1e6))
    )


def test_targets_that_anything_meets():
    assert "always answering 'no' (0.95)" in only(doubt("accuracy > .9", {"no": 9500, "yes": 500}))
    assert "learnt nothing (0.5)" in only(doubt("auc > .45"))
    assert "learnt nothing (0.05)" in only(doubt("average_precision > .05", {"no": 9500, "yes": 500}))
    assert "learnt nothing (0)" in only(doubt("r2 >= 0", {}, rows=1000, task="regression"))
    assert doubt("accuracy > .97", {"no": 9500, "yes": 500}) == ()


def test_labels():
    assert "one class only" in only(doubt("", {"no": 100}))
    assert only(doubt("", {"no": 1000, "yes": 12})) == "Class 'yes' has 12 rows only."
    many = {"a": 500, "b": 9, "c": 20}
    assert only(doubt("", many, task="multiclass")) == "Class 'b' has 9 rows only (2 classes have fewer than 30)."


def test_calibration_entities_latency_budget_horizon():
    assert "perfectly calibrated model reads about" in only(doubt("ece < .01"))
    assert "There are 40 entities, so about 6 will test" in only(doubt(groups=40))
    assert "p99 < 0.001 ms is less than one answer" in only(doubt(latency=Latency(99, 0.001), infrastructure="local"))
    assert "5,000 folds" in only(doubt(validation=Validation(folds=5_000), budget=Budget(1e6)))
    assert doubt(validation=Validation(folds=20), budget=Budget(1e6)) == ()
    assert "over a network" in only(doubt(latency=Latency(99, 0.5)))
    assert "p99 < 10 ms on aws lambda" in only(doubt(latency=Latency(99, 10), infrastructure="aws lambda"))
    assert doubt(latency=Latency(50, 10), infrastructure="aws lambda") == ()
    assert "is short for" in only(doubt(budget=Budget(seconds=2), features=10_000))
    series = {"counts": {}, "rows": 400, "task": "forecast", "groups": 10}
    assert "is longer than the history: 40 observations" in only(doubt(forecast=ForecastBrief(50), **series))
    assert "a large part of" in only(doubt(forecast=ForecastBrief(20), **series))
    assert "is seen less than twice" in only(doubt(forecast=ForecastBrief(6, 30), **series))
    assert doubt(forecast=ForecastBrief(6, 12), **series) == ()


def test_the_half_width_is_what_samples_show():
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], [150, 50])
    values = [metric("auc")(truth, truth * 1.19 + random.normal(size=200)) for _ in range(600)]
    assert auc_half_width(float(np.mean(values)), 50, 150) == pytest.approx(1.96 * np.std(values), rel=0.15)
    n = 2000
    said = random.random((200, n))
    came = (random.random((200, n)) < said).astype(np.int64)
    reads = np.mean([metric("ece")(t, p) for t, p in zip(came, said, strict=True)])
    assert calibrated_ece(n) == pytest.approx(reads, rel=0.1)


@given(target=st.floats(0.5, 0.999), n=st.integers(5, 5000))
@settings(max_examples=100, deadline=None)
def test_needed_values_are_just_enough(target, n):
    needed = needed_for(target, lambda v: share_half_width(v, n))
    if needed is None:
        assert wilson(n, n)[0] < target
        assert rows_without_error(target) >= n
    else:
        assert needed - share_half_width(needed, n) >= target - 1e-12


@given(
    text=st.sampled_from(
        ["auc > .8", "recall > .99", "specificity > .5", "accuracy > .99", "f1 > .1", "ece < .2", "brier < .1"]
    ),
    counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=2),
    features=st.integers(0, 10**4),
    fraction=st.none() | st.floats(0, 0.9),
    groups=st.none() | st.integers(1, 1000),
)
@settings(max_examples=150, deadline=None)
def test_doubting_never_fails(text, counts, features, fraction, groups):
    brief = settle(asked(text, validation=Validation(test_fraction=fraction)), "binary", TWO)
    found = doubts(
        brief,
        task="binary",
        rows=sum(counts),
        classes_counts=dict(zip(TWO, counts, strict=True)),
        features=features,
        groups=groups,
    )
    assert all(d.what and d.means and d.do for d in found)


def test_a_target_with_a_class_is_doubted_by_its_rows():
    counts = {"a": 5000, "b": 5000, "c": 40}
    assert "on about 6 test rows of class 'c'" in only(doubt("recall > .99 on c", counts, task="multiclass"))
    assert doubt("recall > .9 on a", counts, task="multiclass") == ()
    assert settle(Brief(target=(Target("roc_auc", ">", 0.9, "c"),)), "multiclass", tuple(counts)).metric == "roc_auc"
    assert read_brief({"target": "auc > .9 on c"}).target[0].label == "c"
