"""The tests behind the report: how often they cry wolf, and whether they see the wolf."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.data.dataset import Dataset
from modelyard.data.schema import Column, Schema
from modelyard.evaluation.baselines import halves
from modelyard.evaluation.calibration import calibration
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.levels import Levels, explained, level_means
from modelyard.evaluation.threshold import Curve
from modelyard.evaluation.wording import decimals, interval
from modelyard.metrics.find import metric
from modelyard.metrics.reading import reading

SCHEMA = Schema((Column("y", "category", "label", "string"),), "binary", ("0", "1"))


def evidence(truth: np.ndarray, answers: np.ndarray, seed: int, groups: np.ndarray | None = None) -> Evidence:
    rows = Dataset(pl.DataFrame({"y": [str(int(v)) for v in truth]}), SCHEMA, "f" * 64)
    made = Evidence.of(rows, answers, 0.5, seed, 200)
    return made if groups is None else dataclasses.replace(made, groups=groups)


def test_the_paired_comparison_errs_as_often_as_it_says() -> None:
    """Two predictors that see the label through noise of the same size: at a nominal 5 %, 3 to 8 % differ."""
    wrong, runs = 0, 400
    for seed in range(runs):
        random = np.random.default_rng(seed)
        truth = (random.random(150) < 0.4).astype(np.int64)
        one, other = (1 / (1 + np.exp(-(truth - 0.5 + random.normal(size=150)))) for _ in range(2))
        found = evidence(truth, one, seed).gain(metric("roc_auc"), evidence(truth, other, seed))
        wrong += found.p_value < 0.05
    assert 0.02 <= wrong / runs <= 0.085


def test_the_paired_comparison_sees_a_better_model() -> None:
    seen = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        truth = (random.random(400) < 0.4).astype(np.int64)
        one = 1 / (1 + np.exp(-(truth - 0.5 + 0.6 * random.normal(size=400))))
        other = 1 / (1 + np.exp(-(truth - 0.5 + 1.2 * random.normal(size=400))))
        found = evidence(truth, one, seed).gain(metric("roc_auc"), evidence(truth, other, seed))
        seen += found.low > 0
    assert seen >= 36


def test_a_calibrated_model_is_called_off_as_often_as_it_says() -> None:
    wrong, runs, values = 0, 300, []
    for seed in range(runs):
        random = np.random.default_rng(seed)
        chance = random.beta(1, 4, size=400)
        _, error = calibration(evidence((random.random(400) < chance).astype(np.int64), chance, seed))
        assert error is not None
        wrong += error.p_value < 0.05
        values.append(error.value)
    assert 0.02 <= wrong / runs <= 0.09
    assert np.median(values) < 0.02  # the plug-in error of such models is about 0.05


def test_rows_that_are_alike_do_not_count_as_many() -> None:
    wrong, runs = 0, 150
    for seed in range(runs):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(60), 10)
        chance = random.beta(2, 4, size=60)[groups]
        truth = (random.random(60)[groups] < chance).astype(np.int64)  # one outcome for each group
        _, error = calibration(evidence(truth, chance, seed, groups))
        assert error is not None
        wrong += error.p_value < 0.05
    assert wrong / runs <= 0.12


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(1, 12))
def test_the_threshold_curve_agrees_with_the_metrics(seed: int, n: int, distinct: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.append(random.integers(0, 2, size=n), [0, 1])
    answers = random.integers(0, distinct + 1, size=n + 2) / distinct
    curve = Curve(truth, answers)
    for name in ("f1", "recall", "precision", "accuracy", "balanced_accuracy", "specificity"):
        threshold = curve.best(name)
        assert 0 <= threshold <= 1
        found = metric(name)
        reached = found(truth, reading(found, answers, threshold))
        everywhere = [found(truth, reading(found, answers, t)) for t in np.unique(answers)]
        assert reached == pytest.approx(curve.figures[name].max())
        assert reached >= np.nanmax(everywhere) - 1e-9


@settings(deadline=None, max_examples=100)
@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=60), st.integers(1, 8))
def test_levels_hold_every_row_once(values: list[float | None], bins: int) -> None:
    column = pl.Series("x", values, dtype=pl.Float64)
    levels = Levels.of(column, bins, 5)
    codes = levels.codes(column)
    assert ((codes >= 0) & (codes < len(levels))).all()
    assert [v is None for v in values] == [c == len(levels) - 1 for c in codes]
    known = sorted((v, c) for v, c in zip(values, codes, strict=True) if v is not None)
    assert [c for _, c in known] == sorted(c for _, c in known)


@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=1, max_size=40))
def test_levels_of_a_category_are_its_most_frequent(values: list[str | None]) -> None:
    column = pl.Series("x", values, dtype=pl.String)
    levels = Levels.of(column, 4, 2)
    for value, code in zip(values, levels.codes(column), strict=True):
        expected = len(levels) - 1 if value is None else (*levels.names, value).index(value)
        assert code == expected


def test_level_means_lean_on_the_whole_where_rows_are_few() -> None:
    codes = np.array([0] * 1000 + [1])
    wanted = np.array([0.0] * 1000 + [1.0])[:, None]
    means = level_means(codes, 3, wanted, None)
    assert means[0, 0] < 0.001
    assert means[1, 0] < 0.1
    assert means[2, 0] == pytest.approx(1 / 1001)


def test_many_random_levels_explain_nothing() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 50, size=500)
    shares = [explained(codes, 50, random.normal(size=(500, 1))) for _ in range(50)]
    assert np.mean(shares) < 0.03
    assert explained(codes, 50, codes[:, None].astype(float)) > 0.85


def test_halves_keep_entities_whole() -> None:
    frame = pl.DataFrame({"g": [i // 3 for i in range(60)], "y": ["0", "1"] * 30})
    schema = Schema((Column("g", "id", "group", "integer"), *SCHEMA.columns), "binary", ("0", "1"))
    one, other = halves(Dataset(frame, schema, ""), 7)
    assert sorted([*one, *other]) == list(range(60))
    assert not {i // 3 for i in one} & {i // 3 for i in other}


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [(0.8261, 0.8113, 0.8402, "0.826 [0.811, 0.840]"), (45_123.4, 44_000, 46_000, "45,123 [44,000, 46,000]")],
)
def test_figures_have_the_decimals_their_interval_deserves(value: float, low: float, high: float, text: str) -> None:
    from modelyard.evaluation.report import Estimate

    assert interval(Estimate("rmse", value, low, high, 10)) == text
    assert decimals(float("nan")) == 3
