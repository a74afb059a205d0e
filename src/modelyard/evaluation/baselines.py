"""Simple predictors a model must beat, fitted on the development rows alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from modelyard.brief.rule import Rule
from modelyard.core.errors import BriefError
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.evaluation.answers import halves
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.levels import Levels, explained, level_means, level_quantiles
from modelyard.evaluation.report import Baseline
from modelyard.evaluation.threshold import Curve, aimed_at
from modelyard.metrics.metric import Metric
from modelyard.metrics.objective import objective, quantile
from modelyard.metrics.reading import reading
from modelyard.training.run import Run

_BINS, _NAMES = 20, 50
_ROWS = 50_000  # development rows a single feature is chosen on
_SCREEN_ROWS, _SCREENED = 5_000, 60  # more columns than this are screened first, on this many rows
_MEDIANS = {"mase", "rmsle"}  # no model is trained for their medians, but a constant does best there
_MANY = 20_000  # from here on, other baselines than the best get a fifth of the resamples

Fit = Callable[[Dataset, Dataset], Floats]
"""From rows to learn from and rows to answer, to answers shaped as `Blend.answer` shapes them."""


@dataclass(frozen=True, slots=True)
class _Simple:
    name: str
    title: str
    fit: Fit
    threshold: float | None = None  # None: chosen on what it answers for the rows it learnt from


def baselines(run: Run, evidence: Evidence, metric: Metric, held_out: bool) -> tuple[Baseline, ...]:
    """Compare the model with simple predictors, best first.

    Parameters
    ----------
    run : Run
        Its development rows are what baselines learn from.
    evidence : Evidence
        The evaluated rows.
    metric : Metric
        What is compared.
    held_out : bool
        Whether the rows were never seen; if not, each half of them is answered by what the other half taught.
    """
    found = []
    for simple in _simple(run, metric, evidence.rows):
        other = _apply(simple, run, evidence, held_out)
        value = metric(
            evidence.truth, reading(metric, other.answers, other.threshold), other.weights, other.rows.extras
        )
        found.append((simple, other, value))
    found = [f for f in found if not np.isnan(f[2])]
    found.sort(key=lambda f: metric.loss(f[2]))
    made = []
    for i, (simple, other, _) in enumerate(found):
        draws = evidence.resamples if i == 0 or len(evidence.truth) <= _MANY else max(200, evidence.resamples // 5)
        gain = evidence.gain(metric, other, draws)
        estimate = other.estimate(metric, resamples=draws)
        made.append(Baseline(simple.name, simple.title, estimate, gain.gain, gain.low, gain.high, gain.p_value))
    return tuple(made)


def rule_trouble(run: Run) -> str | None:
    """Return why the brief's rule cannot be applied to the rows, or None."""
    if run.plan.brief.rule is None:
        return None
    try:
        _ruled(Rule.parse(run.plan.brief.rule), run.development)
    except BriefError as error:
        return error.what
    return None


def _simple(run: Run, metric: Metric, rows: Dataset) -> list[_Simple]:
    task = run.plan.schema.task
    level = None if run.plan.schema.classes else quantile_level(metric)
    middle = "mean" if level is None else "median" if level == 0.5 else f"{level:g} quantile"
    constant = "the majority class" if run.plan.schema.classes else f"the {middle} of the label"
    found = [_Simple("constant", constant, lambda train, score: _constant(train, score, level), 0.5)]
    if task == "forecast":
        if "naive" in rows.extras:
            naive = _Simple(
                "seasonal_naive", "the seasonal naive forecast", lambda _, score: score.extras["naive"], 0.5
            )
            found = [naive]
    elif (column := best_feature(run, metric)) is not None:
        title = f"the best single feature, {column}"
        found.append(_Simple("single_feature", title, lambda train, score: _by_level(train, score, column, level)))
    if run.plan.brief.rule is not None and rule_trouble(run) is None:
        rule = Rule.parse(run.plan.brief.rule)
        title = f'your rule "{rule.text}"'
        found.append(_Simple("rule", title, lambda train, score: _by_rule(train, score, rule, level)))
    return found


def _apply(simple: _Simple, run: Run, evidence: Evidence, held_out: bool) -> Evidence:
    train = run.development
    if held_out:
        answers = simple.fit(train, evidence.rows)
    else:
        one, other = halves(evidence.rows, run.plan.brief.seed)
        answers = np.empty_like(evidence.answers)
        for learnt, scored in ((one, other), (other, one)):
            answers[scored] = simple.fit(evidence.rows.take(learnt), evidence.rows.take(scored))
    threshold = simple.threshold
    if threshold is None:
        threshold = 0.5
        if run.plan.schema.task == "binary":
            truth = np.asarray(train.truth(), dtype=np.int64)
            threshold = Curve(truth, simple.fit(train, train), train.weights()).best(aimed_at(run))
    return evidence.of_other(answers, threshold)


def best_feature(run: Run, metric: Metric) -> str | None:
    """Return the column that alone predicts best, each half of the development rows judging what the other taught."""
    rows = _sample(run.development, _ROWS, derive_seed(run.plan.brief.seed, "single feature"))
    names = [c.name for c in rows.schema.features if c.kind not in {"text", "id"}]
    if len(names) > _SCREENED:
        few = _sample(rows, _SCREEN_ROWS, 0)
        wanted = _wanted(few)

        def worth(name: str) -> float:
            levels = Levels.of(few.frame[name], 10, 20)
            return explained(levels.codes(few.frame[name]), len(levels), wanted)

        names = sorted(names, key=worth, reverse=True)[:_SCREENED]
    one, other = halves(rows, run.plan.brief.seed)
    parts = [(rows.take(one), rows.take(other)), (rows.take(other), rows.take(one))]
    order = np.concatenate([other, one])
    truth, weights = rows.truth()[order], rows.weights()
    curve_aim, level = aimed_at(run), None if rows.schema.classes else quantile_level(metric)
    best, least = None, np.inf
    for name in names:
        answers = np.concatenate([_by_level(train, score, name, level) for train, score in parts])
        threshold = 0.5
        if metric.reads == "classes" and answers.ndim == 1:
            threshold = Curve(np.asarray(truth, dtype=np.int64), answers, None).best(curve_aim)
        value = metric(truth, reading(metric, answers, threshold), None if weights is None else weights[order])
        if metric.loss(value) < least:
            best, least = name, metric.loss(value)
    return best


def _sample(rows: Dataset, most: int, seed: int) -> Dataset:
    if len(rows) <= most:
        return rows
    return rows.take(np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False)))


def _wanted(rows: Dataset) -> Floats:
    """Return what a mean is taken of, [n, k]: the value, 1 for the positive class, or a column for each class."""
    truth = rows.truth()
    if len(rows.schema.classes) > 2:
        return np.asarray(truth[:, None] == np.arange(len(rows.schema.classes)), dtype=np.float64)
    return np.asarray(truth, dtype=np.float64)[:, None]


def _shaped(means: Floats, rows: Dataset) -> Floats:
    return means if len(rows.schema.classes) > 2 else means[:, 0]


def quantile_level(metric: Metric) -> float | None:
    """Return the level of the label's quantile that does best by a metric of numbers; None for the mean."""
    return 0.5 if metric.name in _MEDIANS else objective(metric).level


def _constant(train: Dataset, score: Dataset, level: float | None) -> Floats:
    wanted, weights = _wanted(train), train.weights()
    one = np.average(wanted, axis=0, weights=weights) if level is None else quantile(wanted[:, 0], weights, level)
    return _shaped(np.tile(one, (len(score), 1)), score)


def _middles(codes: Ints, count: int, train: Dataset, level: float | None) -> Floats:
    """Return what rows of each level are answered with, [count, k]: their mean, or their quantile."""
    wanted, weights = _wanted(train), train.weights()
    if level is None:
        return level_means(codes, count, wanted, weights)
    return level_quantiles(codes, count, wanted[:, 0], weights, level)[:, None]


def _by_level(train: Dataset, score: Dataset, name: str, level: float | None) -> Floats:
    levels = Levels.of(train.frame[name], _BINS, _NAMES)
    means = _middles(levels.codes(train.frame[name]), len(levels), train, level)
    return _shaped(means[levels.codes(score.frame[name])], score)


def _by_rule(train: Dataset, score: Dataset, rule: Rule, level: float | None) -> Floats:
    """Answer with the rule's own number for numbers, with the development's rate on each side of it for classes."""
    learnt, asked = _ruled(rule, train), _ruled(rule, score)
    if not train.schema.classes and not rule.condition:
        return np.where(np.isnan(asked), _constant(train, score, level), asked)
    if rule.condition:
        means = _middles(learnt.astype(np.int64), 2, train, level)
        return _shaped(means[asked.astype(np.int64)], score)
    name = "rule"
    held = [replace(rows, frame=rows.frame.with_columns(pl.Series(name, values).fill_nan(None)))
            for rows, values in ((train, learnt), (score, asked))]  # fmt: skip
    return _by_level(held[0], held[1], name, level)


def _ruled(rule: Rule, rows: Dataset) -> Floats:
    known = {name: rows.frame[name].to_numpy() for name in rule.columns if name in rows.frame.columns}
    return np.asarray(rule.evaluate(known), dtype=np.float64)
