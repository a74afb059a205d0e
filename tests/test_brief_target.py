"""Targets, latencies and loads as people write them, and the faults that would cost a whole run."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.brief.brief import Latency, Target
from modelyard.brief.target import latency_text, parse_latency, parse_target, parse_targets, target_text
from modelyard.brief.words import load
from modelyard.core.errors import BriefError
from modelyard.metrics.find import all_metrics, metric


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("roc_auc >= 0.80", "roc_auc >= 0.8"),
        ("AUC >0.80", "roc_auc > 0.8"),
        ("AUC>.8", "roc_auc > 0.8"),
        ("ROC AUC of at least 0.8", "roc_auc >= 0.8"),
        ("0.8 AUC", "roc_auc >= 0.8"),
        ("over 80% accuracy", "accuracy > 0.8"),
        ("accuracy: 95 %", "accuracy >= 0.95"),
        ("accuracy = 95 percent", "accuracy >= 0.95"),
        ("99% recall on defects", "recall >= 0.99 on defects"),
        ("recall >= 99% on defects", "recall >= 0.99 on defects"),
        ("recall on defects of 0.9", "recall >= 0.9 on defects"),
        ("recall on bugs of any kind: 90%", 'recall >= 0.9 on "bugs of any kind"'),
        ("recall on defects >= 99%", "recall >= 0.99 on defects"),
        ("a recall of 99% on 'it'", "recall >= 0.99 on \"'it'\""),
        ('recall >= .9 on "black and white"', 'recall >= 0.9 on "black and white"'),
        ("NDCG@10 >0.4", "ndcg@10 > 0.4"),
        ("recall at 10 over .3", "recall@10 > 0.3"),
        ("an F1 score of 0.7", "f1 >= 0.7"),
        ("F1 0.7", "f1 >= 0.7"),
        ("rmse < 5", "rmse < 5"),
        ("MAE under 1,000", "mae < 1000"),
        ("at most 5% MAPE", "mape <= 0.05"),
        ("R² ≥ 0.5", "r2 >= 0.5"),
        ("mcc > -0.1", "mcc > -0.1"),
        ("log loss of 1e-3", "log_loss <= 0.001"),
    ],
)
def test_spellings(text, canonical):
    assert target_text(parse_target(text)) == canonical


def test_several():
    found = parse_targets('AUC >0.80 and 99% recall on "a and b", brier <= 0.2; mae < 1,000, r2 > 0')
    assert [target_text(t) for t in found] == [
        "roc_auc > 0.8", 'recall >= 0.99 on "a and b"', "brier <= 0.2", "mae < 1000", "r2 > 0"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "what", "do"),
    [
        ("auc <= 0.78", "The sign of 'auc <= 0.78' is turned: more ROC AUC is better.", "Turn it: roc_auc >= 0.78"),
        ("rmse >= 3", "The sign of 'rmse >= 3' is turned: less RMSE is better.", "Turn it: rmse <= 3"),
        ("over 3 rmse", "The sign of 'over 3 rmse' is turned: less RMSE is better.", "Turn it: rmse < 3"),
        ("AUC > 80", "'AUC > 80' can never be: ROC AUC lies between 0 and 1.", "Did you mean 80%?"),
        ("accuracy > 100%", "'accuracy > 100%' can never be: accuracy lies between 0 and 1.", None),
        ("recall >= 130", "'recall >= 130' can never be: recall lies between 0 and 1.", None),
        ("roc_auc >= 120%", "'roc_auc >= 120%' can never be: ROC AUC lies between 0 and 1.", None),
        ("r2 >= 1.2", "'r2 >= 1.2' can never be: R² is at most 1.", "Did you mean 1.2%?"),
        ("rmse < 0", "'rmse < 0' can never be: RMSE is at least 0.", None),
        ("acu >= 0.8", "No metric is called 'acu'.", "Did you mean 'roc_auc'? All metrics: modelyard help metrics"),
        ("auc", "'auc' is not a target.", None),
        ("0.8", "'0.8' is not a target.", None),
        ("", "A target is empty.", None),
        ("auc >= 1e999", "'1e999' in 'auc >= 1e999' is too large to be a value.", None),
    ],
)
def test_faults(text, what, do):
    with pytest.raises(BriefError) as caught:
        parse_target(text)
    assert caught.value.what == what
    assert caught.value.do == do


def test_per_cent_of_a_unit_has_no_meaning():
    with pytest.raises(BriefError, match="RMSE is not a share"):
        parse_target("rmse <= 5%")


@pytest.mark.parametrize("m", all_metrics(), ids=lambda m: m.name)
def test_every_metric_has_one_sign_and_the_other_is_refused(m):
    right, wrong = (">=", "<=") if m.greater_is_better else ("<=", ">=")
    assert parse_target(f"{m.name} {right} 0.5").value == 0.5
    for spelling in (m.name, m.title):
        with pytest.raises(BriefError, match=r"Turn it: "):
            parse_target(f"{spelling} {wrong} 0.5")


LABELS = st.none() | st.text(min_size=1, max_size=12).filter(str.strip)


@st.composite
def targets(draw):
    """Any target a brief may hold."""
    m = draw(st.sampled_from(all_metrics()))
    low, high = max(m.low, -1e6), min(m.high, 1e6)
    value = draw(st.floats(low, high, exclude_min=True, exclude_max=True).map(lambda v: v + 0.0))
    sign = draw(st.sampled_from([">=", ">"] if m.greater_is_better else ["<=", "<"]))
    return Target(m.name, sign, value, draw(LABELS))


@given(targets())
@example(Target("recall", ">=", 0.99, "on and on"))
@example(Target("recall", ">=", 0.99, 'say "x"\\'))
@example(Target("recall", ">=", 0.99, "AND"))
def test_a_target_reads_back(target):
    assert parse_target(target_text(target)) == target
    assert parse_targets(f"{target_text(target)} and auc > .5")[0] == target


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("p99 < 100 ms", (99, 100)),
        ("<50ms p99", (99, 50)),
        ("p95 under 0.2 seconds", (95, 200)),
        ("50 ms at p99.9", (99.9, 50)),
        ("100ms", (99, 100)),
        ("median latency <= 5 ms", (50, 5)),
        ("p99 latency of 100 ms", (99, 100)),
        ("500 µs", (99, 0.5)),
    ],
)
def test_latency(text, limit):
    found = parse_latency(text)
    assert (found.percentile, found.milliseconds) == pytest.approx(limit)
    assert parse_latency(latency_text(found)) == found


@pytest.mark.parametrize(
    "text", ["fast", "100", "p99", "> 100 ms", "p99 p95 < 3 ms", "0 ms", "p0 < 1 ms", "-3 ms", "5 parsecs"]
)
def test_what_is_no_latency(text):
    with pytest.raises(BriefError):
        parse_latency(text)


@given(st.floats(0.001, 1e7), st.integers(1, 999).map(lambda i: i / 10))
def test_a_latency_reads_back(milliseconds, percentile):
    latency = Latency(percentile, milliseconds)
    assert parse_latency(latency_text(latency)) == latency


@pytest.mark.parametrize(
    ("text", "per_day"),
    [
        ("10M daily requests", 1e7),
        ("10 million requests per day", 1e7),
        ("120 per second", 120 * 86400),
        ("5k requests/s", 5000 * 86400),
        ("100 rps", 8.64e6),
        ("1,000", 1000),
        ("1M requests daily", 1e6),
        ("60 predictions an hour", 1440),
    ],
)
def test_load(text, per_day):
    assert load(text) == pytest.approx(per_day)


def test_long_texts_are_refused_in_no_time():
    began = time.monotonic()
    for text in ("a" + " " * 5000 + "b", "a on " * 99, "9 " * 240, "a and " * 5000, "x" * 501):
        with pytest.raises(BriefError):
            parse_targets(text)
    assert time.monotonic() - began < 2


@given(st.text(max_size=40))
@example("1M p")
def test_any_text_is_read_or_refused(text):
    for parse in (parse_targets, parse_latency, load, metric):
        try:
            parse(text)
        except BriefError:
            continue
