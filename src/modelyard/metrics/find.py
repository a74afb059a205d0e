"""All metrics by name, with the spellings a brief may use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from math import isnan

from numpy import format_float_positional

from modelyard.core.errors import BriefError
from modelyard.metrics import classes, probabilities, ranking, values
from modelyard.metrics.metric import Metric, Prepare

_INF = float("inf")
_BINARY = frozenset({"binary"})
_CLASSES = frozenset({"binary", "multiclass"})
_NUMBERS = frozenset({"regression", "forecast"})
_REGRESSION = frozenset({"regression"})
_ANY_K = 10  # the k that stands for all in the list of metrics
_ANY_LEVEL, _USUAL_POWER = 0.9, 1.5


def _probabilities(
    name: str, title: str, also: str, prepare: Prepare, high: float = 1.0, greater: bool = False
) -> Metric:
    return Metric(name, title, _words(also), "probabilities", _CLASSES, greater, 0.0, high, prepare)


def _classes(
    name: str, title: str, also: str, read: classes.Reading, tasks: frozenset[str], low: float = 0.0
) -> Metric:
    return Metric(name, title, _words(also), "classes", tasks, True, low, 1.0, classes.from_table(read))


def _values(
    name: str, title: str, also: str, prepare: Prepare, tasks: frozenset[str] = _NUMBERS, high: float = _INF
) -> Metric:
    return Metric(name, title, _words(also), "values", tasks, False, 0.0, high, prepare)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


_METRICS = (
    _probabilities("roc_auc", "ROC AUC", "auc, AUROC, AUC-ROC", probabilities.roc_auc, greater=True),
    _probabilities(
        "average_precision",
        "average precision",
        "AP, PR AUC, AUPRC, AUC-PR",
        probabilities.average_precision,
        greater=True,
    ),
    _probabilities("log_loss", "log loss", "cross entropy, NLL", probabilities.log_loss, high=_INF),
    _probabilities("brier", "Brier score", "Brier score loss", probabilities.brier),
    _probabilities("ece", "expected calibration error", "calibration error", probabilities.expected_calibration_error),
    _classes("accuracy", "accuracy", "acc", classes.accuracy, _CLASSES),
    _classes(
        "balanced_accuracy", "balanced accuracy", "recall macro, macro recall, UAR", classes.balanced_accuracy, _CLASSES
    ),
    _classes("f1", "F1", "F1 score, F-measure", classes.f1, _BINARY),
    _classes("f1_macro", "macro F1", "macro F1 score", classes.f1_macro, _CLASSES),
    _classes("precision", "precision", "PPV, positive predictive value", classes.precision, _BINARY),
    _classes("precision_macro", "macro precision", "", classes.precision_macro, _CLASSES),
    _classes("recall", "recall", "sensitivity, TPR, true positive rate, hit rate", classes.recall, _BINARY),
    _classes("specificity", "specificity", "TNR, true negative rate, selectivity", classes.specificity, _BINARY),
    _classes("mcc", "Matthews correlation", "phi coefficient", classes.mcc, _CLASSES, low=-1.0),
    _values("rmse", "RMSE", "root mean squared error, root mean square error", values.rmse),
    _values("mae", "MAE", "mean absolute error", values.mae),
    Metric("r2", "R²", ("R^2", "R squared"), "values", _NUMBERS, True, -_INF, 1.0, values.r2),
    _values("mape", "MAPE", "mean absolute percentage error", values.mape),
    _values("smape", "sMAPE", "symmetric MAPE", values.smape, high=2.0),
    _values("rmsle", "RMSLE", "root mean squared log error", values.rmsle),
    replace(
        _values("pinball", "pinball loss at the median", "pinball loss, quantile loss", values.pinball(0.5)), at=0.5
    ),
    _values("mase", "MASE", "mean absolute scaled error", values.mase, frozenset({"forecast"})),
    replace(
        _values(
            "poisson_deviance", "Poisson deviance", "mean Poisson deviance", values.tweedie_deviance(1.0), _REGRESSION
        ),
        at=1.0,
    ),
    replace(
        _values(
            "tweedie_deviance",
            "Tweedie deviance",
            "mean Tweedie deviance",
            values.tweedie_deviance(_USUAL_POWER),
            _REGRESSION,
        ),
        at=_USUAL_POWER,
    ),
)

_AT_K: dict[str, tuple[str, Callable[[int], Prepare]]] = {
    "ndcg": ("NDCG", ranking.ndcg),
    "recall": ("recall", ranking.recall_at),
    "hit_rate": ("hit rate", ranking.hit_rate),
}
_DEFAULT = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse", "forecast": "mase"}


def _at(name: str, k: int) -> Metric:
    title, make = _AT_K[name]
    tasks = frozenset({"recommend"})
    return Metric(f"{name}@{k}", f"{title}@{k}", (), "values", tasks, True, 0.0, 1.0, make(k))


def _pinball(level: float) -> Metric | None:
    if not 0 < level < 1:
        return None
    if level == 0.5:
        return _BY_SPELLING["pinball"]
    text = format_float_positional(level)
    made = _values(f"pinball@{text}", f"pinball loss@{text}", "", values.pinball(level), _REGRESSION)
    return replace(made, at=level)


def _tweedie(power: float) -> Metric | None:
    if not 1 < power < 2:
        return None
    if power == _USUAL_POWER:
        return _BY_SPELLING["tweediedeviance"]
    text = format_float_positional(power)
    title = f"Tweedie deviance@{text}"
    made = _values(f"tweedie_deviance@{text}", title, "", values.tweedie_deviance(power), _REGRESSION)
    return replace(made, at=power)


def _plain(name: str) -> str:
    """Return a spelling without case, spaces, hyphens and the like, so that "AUC-ROC" and "auc_roc" are one."""
    return re.sub(r"[\s_\-.]+", "", name).lower().replace("²", "2")


def _spellings(metrics: Iterable[Metric]) -> dict[str, Metric]:
    return {_plain(s): m for m in metrics for s in (m.name, m.title, *m.aliases)}


_BY_SPELLING = _spellings(_METRICS)
_WITH_NUMBER: dict[str, tuple[Callable[[float], Metric | None], str]] = {
    "pinball": (_pinball, "A level over 0 and under 1, such as pinball@0.9."),
    "tweedie_deviance": (_tweedie, "A power over 1 and under 2, such as tweedie_deviance@1.5."),
}
"""Metrics with a number of their own behind the name."""
_AT_BY_SPELLING = {_plain(name): name for name in _AT_K}


def metric(name: str) -> Metric:
    """Return the metric of that name, in any of its spellings; ``ndcg@10``, ``pinball@0.9`` and their like for any.

    Raises
    ------
    BriefError
        If there is none, with the nearest name, or its number is out of range.
    """
    plain = _plain(name)
    if plain in _BY_SPELLING:
        return _BY_SPELLING[plain]
    numbered = re.fullmatch(r"(.+?)\s*(?:@|\bat\b)\s*([\d.]+)\s*", name, re.ASCII | re.IGNORECASE)
    base = _BY_SPELLING.get(_plain(numbered[1])) if numbered else None
    if numbered and base is not None and base.name in _WITH_NUMBER:
        make, allowed = _WITH_NUMBER[base.name]
        found = make(float(numbered[2])) if re.fullmatch(r"\d*\.?\d+", numbered[2]) else None
        if found is None:
            raise BriefError(f"'{name}' is out of range.", allowed=allowed)
        return found
    at = re.fullmatch(r"([a-z]+)(?:@|at)([1-9]\d{0,3})", plain, re.ASCII)
    if at and at[1] in _AT_BY_SPELLING:
        return _at(_AT_BY_SPELLING[at[1]], int(at[2]))
    known = {spelling: m.name for spelling, m in (_spellings(all_metrics()) | _BY_SPELLING).items()}
    near = get_close_matches(plain, known, n=1, cutoff=0.6)
    hint = f"Did you mean '{known[near[0]]}'? " if near else ""
    raise BriefError(f"No metric is called '{name}'.", do=f"{hint}All metrics: modelyard help metrics")


def all_metrics() -> tuple[Metric, ...]:
    """Return every metric; those of the first k rows once, at k = 10, and those of a quantile at the median and 0.9."""
    return (*_METRICS, metric(f"pinball@{_ANY_LEVEL}"), *(_at(name, _ANY_K) for name in _AT_K))


def beside(asked: Metric, task: str) -> tuple[Metric, ...]:
    """Return the metrics of a task that are told beside the one a model was made for.

    A deviance or another quantile is told only where it is asked for; a model of a quantile is no worse for what means
    and medians say of it.
    """
    if asked.name.startswith("pinball@"):
        return ()
    usual = (m for m in all_metrics() if task in m.tasks and (isnan(m.at) or m.at == 0.5))
    return tuple(m for m in usual if m.name != asked.name)


def default_metric(task: str) -> Metric:
    """Return what is optimised for a task when the brief does not say: roc_auc, log_loss, rmse or mase."""
    return metric(_DEFAULT[task])
