"""select: from a brief and a table to a plan, with a reason and a cost for everything in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.doubts import doubts
from modelyard.brief.settle import settle
from modelyard.core.errors import BriefError, did_you_mean
from modelyard.core.machine import usable_cores
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.profile import profile
from modelyard.data.splitting import split
from modelyard.families.around import after_seconds, before_seconds, left_of
from modelyard.families.deep import NAMES, NETWORK
from modelyard.families.family import Family
from modelyard.families.find import family_for
from modelyard.families.fitted import Candidate
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.metric import Metric
from modelyard.metrics.objective import objective
from modelyard.selection.cost import run_cost
from modelyard.selection.left_out import left_out
from modelyard.selection.plan import Plan
from modelyard.selection.prices import prices

_GROUPS = {
    "gbdt": ("lightgbm", "xgboost", "catboost"),
    "boosted trees": ("lightgbm", "xgboost", "catboost"),
    "gradient boosting": ("lightgbm", "xgboost", "catboost"),
    "logistic regression": ("linear",),
    "linear regression": ("linear",),
    "ets": ("autoets",),
    **dict.fromkeys(NAMES, (NETWORK,)),
}


def select(brief: Brief, data: Dataset, *, parts: Parts | None = None, family: Family | None = None) -> Plan:
    """Choose what to try, in which order, and say what it will cost. Trains nothing but a short probe.

    Parameters
    ----------
    brief : Brief
        What is asked.
    data : Dataset
        The whole table.
    parts : Parts, optional
        How it was divided; default, how `modelyard.data.splitting.split` divides it. Models are chosen from the
        development rows alone: those are the rows they will have, and nothing is chosen on the rows that test them.
    family : Family, optional
        Default: the one found for the task.

    Returns
    -------
    Plan
        Candidates best bet first; the brief in it has its task and metric settled.

    Raises
    ------
    BriefError
        If the brief asks for what does not fit the table, or for a model nobody brings.
    FamilyError
        If no family fits the task.
    SplitError
        If no honest split of the table exists.
    """
    schema = data.schema
    brief = settle(brief, schema.task, schema.classes)
    _check_label(brief, data)
    family = family or family_for(schema.task)
    development = (parts or split(data, brief)).development
    candidates = family.candidates(brief, profile(development), development)
    if brief.model != "auto":
        candidates = _named(brief, candidates)
    rows, columns = len(development), len(schema.features)
    before = before_seconds(rows, columns)
    after = after_seconds(rows, columns, len(schema.classes) if len(schema.classes) > 2 else 1)
    after += sum(c.cost.seconds for c in candidates) if family.refits else 0.0
    budget = brief.budget
    cost = run_cost(candidates, replace(budget, seconds=left_of(budget.seconds, before + after)))
    cores = usable_cores()
    groups = data.groups()
    return Plan(
        brief=brief,
        schema=schema,
        fingerprint=data.fingerprint,
        rows=len(data),
        family=family.name,
        metric=str(brief.metric),
        candidates=candidates,
        left_out=left_out(brief, development, candidates),
        doubts=doubts(
            brief,
            task=schema.task,
            rows=len(data),
            classes_counts=_class_counts(data),
            features=len(schema.features),
            groups=None if groups is None else len(set(groups.tolist())),
        ),
        cost=cost,
        prices=prices(cost.seconds, cores),
        cores=cores,
        before=before,
        after=after,
    )


def _check_label(brief: Brief, data: Dataset) -> None:
    """Refuse labels of which a metric that is asked for has no value, whatever is answered."""
    for name in (brief.metric, *(t.metric for t in brief.target)):
        undefined = None if name is None else _undefined(find_metric(name), data)
        if name is not None and undefined is not None:
            seen, allowed, others = undefined
            raise BriefError(
                f"{find_metric(name).title} has no meaning for {seen}.",
                where=f"{brief.source}: {'metric' if name == brief.metric else 'target'}, label {brief.data.label}",
                allowed=allowed,
                do=f"Correct the labels, or name another metric: {others}.",
            )


def _undefined(metric: Metric, data: Dataset) -> tuple[str, str, str] | None:
    """Return which labels a metric has no value for, which it takes, and other metrics; None where it has one."""
    deviance = objective(metric).positive
    if not deviance and metric.name not in ("mape", "rmsle"):
        return None
    truth, weights = data.truth(), data.weights()
    if weights is not None and not deviance:
        truth = truth[weights > 0]  # the others do not count
    zeros, below = int((truth == 0).sum()), truth[truth < 0]
    if metric.name == "mape":
        return (f"{zeros:,} label{'s'[: zeros > 1]} of 0", "Labels other than 0.", "smape, mae") if zeros else None
    allowed = "Labels of 0 or more, some of them above 0." if deviance else "Labels of 0 or more."
    if len(below):
        seen = f"{len(below):,} label{'s'[: len(below) > 1]} below 0, such as {below[0]:g}"
        return seen, allowed, "rmse, mae"
    return ("labels that are all 0", allowed, "rmse, mae") if deviance and zeros == len(truth) else None


def _named(brief: Brief, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    asked = _plain(brief.model)
    if asked == "logistic" and brief.task == "regression":
        raise BriefError(
            f"Logistic regression tells classes apart, and '{brief.data.label}' is a number.",
            where=f"{brief.source}: model",
            do="Write model: linear, or task: binary where the numbers are names of classes.",
        )
    wanted = next((names for group, names in _GROUPS.items() if _plain(group) == asked), (asked,))
    chosen = tuple(c for c in candidates if _goes_by(c, wanted))
    if chosen:
        return tuple(replace(c, reason=f"the brief asks for it; {c.reason}") for c in chosen)
    known = sorted({c.name.split("-")[0] for c in candidates})
    raise BriefError(
        f"No model is called '{brief.model}' for this task.",
        where=f"{brief.source}: model",
        allowed=did_you_mean(brief.model, known) or f"auto, {', '.join(known)}.",
        do="Write one of these, or leave model out.",
    )


def _goes_by(candidate: Candidate, names: Sequence[str]) -> bool:
    own = {candidate.name, candidate.name.split("-")[0], candidate.title, candidate.parameters.get("algorithm", "")}
    return bool({_plain(str(name)) for name in own} & set(names))


def _plain(text: str) -> str:
    words = text.lower().replace("-", " ").replace("_", " ").split()
    kinds = {"model", "classifier", "regressor", "regression", "forecaster"}
    kept = [w for w in words if w not in kinds] or words
    return "".join(kept)


def _class_counts(data: Dataset) -> dict[str, int]:
    classes = data.schema.classes
    if not classes:
        return {}
    counts = np.bincount(data.truth().astype(np.int64), minlength=len(classes))
    return {name: int(n) for name, n in zip(classes, counts, strict=True)}
