"""Metrics are found by every spelling people use, and an unknown one names its neighbour."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import BriefError
from modelyard.metrics.find import all_metrics, default_metric, metric
from modelyard.metrics.one_class import metric_for


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("AUC", "roc_auc"), ("auc-roc", "roc_auc"), ("ROC AUC", "roc_auc"), ("AUROC", "roc_auc"),
        ("PR-AUC", "average_precision"),         ("F1-score", "f1"), ("F1", "f1"), ("logloss", "log_loss"),
        ("cross-entropy", "log_loss"), ("R²", "r2"),
        ("R^2", "r2"), ("sensitivity", "recall"), ("Macro F1", "f1_macro"), ("sMAPE", "smape"), ("NDCG@10", "ndcg@10"),
        ("hit rate@5", "hit_rate@5"), ("Recall@20", "recall@20"), ("ndcg at 7", "ndcg@7"),
        ("pinball@.9", "pinball@0.9"), ("Quantile loss at 0.95", "pinball@0.95"), ("pinball@0.5", "pinball"),
        ("pinball@0.00001", "pinball@0.00001"), ("Tweedie deviance", "tweedie_deviance"),
        ("tweedie_deviance@1.50", "tweedie_deviance"), ("tweedie-deviance @ 1.2", "tweedie_deviance@1.2"),
    ],
)  # fmt: skip
def test_spellings(spelling, name):
    assert metric(spelling).name == name


@pytest.mark.parametrize("name", ["pinball@0.9", "pinball@0.00001", "tweedie_deviance@1.25", "tweedie_deviance"])
def test_a_number_behind_a_name_reads_back(name):
    found = metric(name)
    assert metric(found.name).name == metric(found.title).name == name
    assert str(found.at) in name or float(name.partition("@")[2] or 1.5) == found.at


@pytest.mark.parametrize("name", ["pinball@1", "pinball@0", "pinball@1.2", "tweedie_deviance@2", "tweedie_deviance@1"])
def test_a_number_out_of_range_says_the_range(name):
    with pytest.raises(BriefError, match=r"is out of range\.\n  A (level|power) over"):
        metric(name)


def test_no_spelling_stands_for_two_metrics():
    for m in all_metrics():
        for spelling in (m.name, m.title, *m.aliases):
            assert metric(spelling).name == m.name, spelling


def test_an_unknown_name_says_the_nearest_and_where_all_are():
    with pytest.raises(BriefError) as caught:
        metric("acu")
    assert caught.value.what == "No metric is called 'acu'."
    assert caught.value.do == "Did you mean 'roc_auc'? All metrics: modelyard help metrics"
    with pytest.raises(BriefError, match="All metrics: modelyard help metrics"):
        metric("beauty")


@given(st.text(max_size=30))
def test_any_text_is_a_metric_or_an_error(text):
    with contextlib.suppress(BriefError):
        assert metric(text).name


def test_every_task_has_a_default_that_scores_it():
    for task in ("binary", "multiclass", "regression", "forecast"):
        assert task in default_metric(task).tasks
    assert [default_metric(t).name for t in ("binary", "forecast")] == ["roc_auc", "mase"]


def test_metric_for_a_target():
    def asked(name, label=None):
        return SimpleNamespace(metric=name, label=label)

    many, two = ("a", "b", "c"), ("ok", "Defect")
    assert metric_for(asked("recall"), many).name == "balanced_accuracy"
    assert metric_for(asked("f1"), many).name == "f1_macro"
    assert metric_for(asked("f1"), two).name == "f1"
    assert metric_for(asked("recall", "b"), many).name == "recall on b"
    assert "multiclass" in metric_for(asked("recall", "b"), many).tasks
    found = metric_for(asked("recall", "defects"), two)  # the plural of a sentence, the spelling of the table
    assert found.name == "recall on Defect"
    assert found(np.array([1, 1, 0]), np.array([1.0, 0.0, 0.0])) == 0.5
    with pytest.raises(BriefError, match=r"no class 'brokn'.*"):
        metric_for(asked("recall", "brokn"), two)
    with pytest.raises(BriefError, match="does not speak of one class"):
        metric_for(asked("rmse", "b"), ())
    with pytest.raises(BriefError, match="has no classes"):
        metric_for(asked("recall", "b"), ())
