"""Doubts: what a brief asks that the rows, the label, the time or the machine are unlikely to give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelyard.brief.brief import Brief, Latency, Target, Task
from modelyard.brief.doubt import Doubt
from modelyard.brief.presets import fold_count, scored_count, scored_share
from modelyard.brief.target import latency_text, target_text
from modelyard.brief.uncertainty import auc_half_width, calibrated_ece, needed_for, rows_without_error, share_half_width
from modelyard.metrics.find import metric as find_metric

FEW = 30
"""Rows of a class below which a figure about it says little."""
_TEST = 0.15  # the share of rows the test part gets when the brief does not say: 10 to 20 %
_GREEDY = 0.5  # of the way from the target to perfect
_CELLS_A_SECOND = 3e6  # rows x columns x folds that boosted trees of usual size get through on a small machine
_SHARES = {"accuracy", "balanced_accuracy", "recall", "precision", "specificity", "f1", "f1_macro", "precision_macro"}
_ONE_CALL = 0.02  # milliseconds: a graph of one node takes about as long in process
_MANY_FOLDS = 20
_COLD = ("serverless", "lambda", "cloud run", "cloud function", "fargate")


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of the table before anything is trained."""

    task: Task
    rows: int
    counts: Mapping[str, int]
    features: int
    groups: int | None
    share: float

    def scored(self, n: int) -> int:
        """Return how many of `n` rows the estimate will rest on."""
        return round(n * self.share)


def doubts(
    brief: Brief, *, task: Task, rows: int, classes_counts: Mapping[str, int], features: int, groups: int | None
) -> tuple[Doubt, ...]:
    """Say what is doubtful about a brief before compute is spent.

    Parameters
    ----------
    brief : Brief
        Settled: its targets suit the task.
    task : {"binary", "multiclass", "regression", "forecast"}
        What is predicted.
    rows : int
        Of the whole table.
    classes_counts : mapping of str to int
        Rows of each class, the positive one of two last; empty for numbers.
    features : int
        Columns a model may use.
    groups : int or None
        Entities, or series of a forecast; None when none are named.

    Returns
    -------
    tuple of Doubt
        Each with its reasoning and what to do; empty when nothing is doubtful.
    """
    fraction = brief.validation.test_fraction
    share = _TEST if fraction is None else fraction or scored_share(brief, rows, classes_counts.values())
    facts = _Facts(task, rows, classes_counts, features, groups, share)
    found = [*_label(facts)]
    if not (classes_counts and len(classes_counts) < 2):
        for target in brief.target:
            found += _target(target, facts)
    found += _entities(facts)
    if brief.latency is not None:
        found += _latency(brief.latency, brief.infrastructure or "")
    return (*found, *_folds(brief, facts), *_budget(brief, facts), *_horizon(brief, facts))


def _label(facts: _Facts) -> list[Doubt]:
    if facts.task not in ("binary", "multiclass"):
        return []
    if len(facts.counts) < 2:
        return [
            Doubt(
                "The label has one class only.",
                "There is nothing to tell apart: any model would answer the same for every row.",
                "Name another label, or bring rows of another class.",
            )
        ]
    few = sorted((n, name) for name, n in facts.counts.items() if n < FEW)
    if not few:
        return []
    n, name = few[0]
    others = f" ({len(few)} classes have fewer than {FEW})" if len(few) > 1 else ""
    scored = facts.scored(n)
    return [
        Doubt(
            f"Class '{name}' has {n:,} rows only{others}.",
            f"About {scored} of them will test the model, so a figure about this class is within "
            f"{100 * share_half_width(0.5, max(1, scored)):.0f} points of the truth at best.",
            "Bring more rows of it, merge it with another class, or read figures about it with care.",
        )
    ]


def _target(target: Target, facts: _Facts) -> list[Doubt]:
    metric, shown = find_metric(target.metric), target_text(target)
    easy = _easy(target, facts)
    if easy is not None:
        return [easy]
    if metric.name == "ece":
        scored = facts.scored(facts.rows)
        reads = calibrated_ece(scored)
        if reads < target.value:
            return []
        return [
            Doubt(
                f"{shown}: a perfectly calibrated model reads about {reads:.3f} on {scored:,} rows.",
                "Calibration error is never zero on finite rows, so this target cannot be told from noise.",
                "Ask for a Brier score or log loss, or bring more rows.",
            )
        ]
    if metric.name not in _SHARES | {"roc_auc"} or not facts.counts:
        return []
    least, rest, what = _rows_that_decide(target, facts)
    if metric.name == "roc_auc":
        half = auc_half_width(target.value, least, rest)
        needed = needed_for(target.value, lambda v: auc_half_width(v, least, rest))
    else:
        half = share_half_width(target.value, least)
        needed = needed_for(target.value, lambda v: share_half_width(v, least))
    if needed is None:
        enough = rows_without_error(target.value)
        say = (
            f"about {enough / facts.share:,.0f} rows of that kind"
            if enough
            else "a lower target: no number of rows can show this"
        )
        return [
            Doubt(
                f"{shown} cannot be shown on about {least:,} {what}.",
                f"Even a model without a single error there would leave the interval's low end under {target.value:g}.",
                f"Bring {say}, or lower the target.",
            )
        ]
    if needed - target.value > _GREEDY * (1 - target.value):
        return [
            Doubt(
                f"{shown} is a lot to show on about {least:,} {what}.",
                f"The interval around {target.value:g} is about ±{half:.3f} there; its low end clears the target only "
                f"if the model reads {needed:.3f} or better.",
                "Bring more rows, lower the target, or expect the answer 'inconclusive'.",
            )
        ]
    if 1 - target.value < 0.005:
        return [
            Doubt(
                f"{shown} is close to perfect.",
                "Real tables seldom allow it: a model that reaches it has usually seen a column recorded afterwards.",
                "Check the findings about leaks before believing it.",
            )
        ]
    return []


def _easy(target: Target, facts: _Facts) -> Doubt | None:
    """Doubt a target that a model which has learnt nothing meets."""
    idle: float | None = None
    total = sum(facts.counts.values())
    if target.metric in {"roc_auc", "balanced_accuracy"}:
        idle = 0.5 if target.metric == "roc_auc" else 1 / max(1, len(facts.counts))
    elif target.metric == "accuracy" and total and target.label is None:
        idle = max(facts.counts.values()) / total
    elif target.metric == "average_precision" and facts.task == "binary" and total:
        idle = _named(target, facts) / total
    elif target.metric == "r2":
        idle = 0.0
    if idle is None or target.value > idle:
        return None
    most = max(facts.counts, key=lambda name: facts.counts[name], default="")
    by = f"always answering '{most}'" if target.metric == "accuracy" else "a model that has learnt nothing"
    return Doubt(
        f"{target_text(target)} is met by {by} ({idle:.3g}).",
        "Meeting it says nothing about the model.",
        "Ask for more, or name a metric that chance does not win: roc_auc, average_precision or mcc.",
    )


def _rows_that_decide(target: Target, facts: _Facts) -> tuple[int, int, str]:
    """Return how many scored rows a share rests on, how many others there are, and what they are called."""
    named = _named(target, facts)
    total = sum(facts.counts.values())
    if target.metric == "accuracy":
        return max(1, facts.scored(total)), 0, "test rows"
    if target.metric == "specificity":
        return max(1, facts.scored(total - named)), facts.scored(named), "test rows that are not positive"
    rest = max(1, facts.scored(total - named))
    return max(1, facts.scored(named)), rest, f"test rows of class '{_class(target, facts)}'"


def _class(target: Target, facts: _Facts) -> str:
    """Return the class a target speaks of: its label, the positive class, or the rarest of several."""
    if target.label is not None and target.label in facts.counts:
        return target.label
    names = list(facts.counts)
    return names[-1] if len(names) == 2 else min(names, key=lambda name: facts.counts[name])


def _named(target: Target, facts: _Facts) -> int:
    return facts.counts[_class(target, facts)]


def _entities(facts: _Facts) -> list[Doubt]:
    if facts.groups is None or facts.task == "forecast" or facts.scored(facts.groups) >= FEW:
        return []
    scored = facts.scored(facts.groups)
    return [
        Doubt(
            f"There are {facts.groups:,} entities, so about {scored} will test the model.",
            "Rows of one entity are alike: intervals rest on the number of entities, and will be wide.",
            "Bring more entities, or expect the answer 'inconclusive'.",
        )
    ]


def _latency(latency: Latency, infrastructure: str) -> list[Doubt]:
    shown, tail = latency_text(latency), latency.percentile >= 99
    if tail and latency.milliseconds < 20 and any(word in infrastructure for word in _COLD):
        return [
            Doubt(
                f"{shown} on {infrastructure}.",
                "Where instances are started on demand, the first request of each waits for it to start: hundreds of "
                "milliseconds and more, and the slowest 1 % of requests are those.",
                "Keep at least one instance warm, serve from a running container, or relax the limit.",
            )
        ]
    if latency.milliseconds < _ONE_CALL:
        return [
            Doubt(
                f"{shown} is less than one answer takes.",
                "Calling a model in process takes tens of microseconds before it reads a number, whatever it is.",
                "Relax the limit, or answer many rows at once, where a row takes far less.",
            )
        ]
    if latency.milliseconds < 1 and infrastructure not in {"edge", "local", "embedded"}:
        return [
            Doubt(
                f"{shown} over a network.",
                "A request over HTTP takes about a tenth of a millisecond of CPU and waits for the network, which "
                "takes a millisecond or more between machines on its own.",
                "Call the bundle in process (Python, or its ONNX graph), or relax the limit.",
            )
        ]
    return []


def _budget(brief: Brief, facts: _Facts) -> list[Doubt]:
    if facts.task == "forecast":
        return []
    count = scored_count(brief, facts.rows, facts.counts.values())
    needed = count * facts.rows * max(1, facts.features) / _CELLS_A_SECOND
    if brief.budget.seconds >= max(1.0, needed):
        return []
    return [
        Doubt(
            f"{brief.budget.seconds:g} seconds is short for {facts.rows:,} rows x {facts.features:,} columns x "
            f"{count} folds.",
            f"One kind of boosted trees takes about {max(1.0, needed):,.0f} s for as much on a small machine; the "
            "first candidate is trained whatever it takes, the others only while time is left.",
            "Raise budget.seconds" + (", or leave validation.folds out." if brief.validation.folds else "."),
        )
    ]


def _folds(brief: Brief, facts: _Facts) -> list[Doubt]:
    count = fold_count(brief)
    if count <= _MANY_FOLDS:
        return []
    return [
        Doubt(
            f"{count:,} folds: every candidate is fitted up to {min(count, facts.rows):,} times.",
            "Beyond ten folds the estimate hardly changes; time grows with their number.",
            "Ask for 5 or 10 in validation.folds.",
        )
    ]


def _horizon(brief: Brief, facts: _Facts) -> list[Doubt]:
    if facts.task != "forecast":
        return []
    length = facts.rows / max(1, facts.groups or 1)
    horizon, season = brief.forecast.horizon, brief.forecast.season
    if horizon is not None and 3 * horizon > length:
        longer = "longer than" if horizon > length else "a large part of"
        return [
            Doubt(
                f"A horizon of {horizon:,} is {longer} the history: {length:,.0f} observations a series.",
                "One horizon is kept for the test and one for the first fold, so little is left to learn from.",
                "Shorten forecast.horizon, or bring longer series.",
            )
        ]
    if season is not None and 2 * season > length:
        return [
            Doubt(
                f"A season of {season:,} observations is seen less than twice in {length:,.0f}.",
                "What repeats cannot be told from what happened once.",
                "Bring longer series, or leave forecast.season out.",
            )
        ]
    return []
