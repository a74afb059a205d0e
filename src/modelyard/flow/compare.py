"""compare: what two runs were asked, what differs, and which is better on rows neither has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.brief.brief import Brief
from modelyard.brief.target import target_text
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.core.canonical import to_plain
from modelyard.core.errors import ModelyardError, WorkspaceError
from modelyard.data.dataset import Dataset
from modelyard.evaluation.store import load_report
from modelyard.flow.prepare import prepare
from modelyard.flow.workspace import Record, Workspace
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import Gain, paired
from modelyard.metrics.reading import reading
from modelyard.training.recipe import read_recipe


def compare(yard: Workspace, one: Record, other: Record) -> dict[str, Any]:
    """Compare two finished runs.

    Returns
    -------
    dict
        ``runs``, ``asked`` (what differs between the briefs), ``reports``, and ``gain`` of the first over the second on
        the same untouched rows, by paired bootstrap, or None with ``why`` it cannot be had.

    Raises
    ------
    WorkspaceError
        If one of them is not finished.
    """
    for record in (one, other):
        if record.status != "finished":
            raise WorkspaceError(f"Run '{record.id}' is not finished.", do="Run develop with its brief again.")
    briefs = [run_brief(yard, r) for r in (one, other)]
    reports = [load_report(yard.folder(r) / "report.json") for r in (one, other)]
    found, n, why = gain(yard, one, other)
    return {
        "runs": [one.name, other.name],
        "asked": _differences(_plain(briefs[0]), _plain(briefs[1])),
        "reports": [to_plain(r.estimate) | {"target_met": r.target_met, "on": r.on} for r in reports],
        "gain": None if found is None else {**to_plain(found), "n": n},
        "why": why,
    }


def compare_lines(result: Mapping[str, Any]) -> list[str]:
    """Return a comparison as a terminal shows it."""
    lines = []
    for name, report in zip(result["runs"], result["reports"], strict=True):
        figures = f"{report['value']:.5g} [{report['low']:.5g}, {report['high']:.5g}]"
        lines.append(
            f"{name}  {report['metric']} {figures} on {report['n']:,} rows, target met: {report['target_met']}"
        )
    lines += [f"  asked    {key}: {a!r} / {b!r}" for key, (a, b) in result["asked"].items()]
    found = result["gain"]
    if found is None:
        lines.append(f"  gain     not comparable: {result['why']}")
    else:
        lines.append(
            f"  gain     {found['gain']:+.5g} [{found['low']:+.5g}, {found['high']:+.5g}], p = {found['p_value']:.2g}, "
            f"on the same {found['n']:,} untouched rows"
        )
    return lines


def run_brief(yard: Workspace, record: Record) -> Brief:
    """Return the brief of a run, as its recipe keeps it."""
    import msgspec

    return msgspec.convert(read_recipe(yard.folder(record) / "recipe.json")["brief"], Brief)


def bundle_answers(bundle: Bundle, rows: Dataset) -> NDArray[np.float64]:
    """Return what a bundle answers, shaped as `Blend.answer` shapes it."""
    if not bundle.schema.classes:
        return np.asarray(bundle.predict(rows.frame), dtype=np.float64)
    answers = bundle.predict_proba(rows.frame)
    return answers[:, 1] if bundle.schema.task == "binary" else answers


def gain(yard: Workspace, one: Record, other: Record) -> tuple[Gain | None, int, str]:
    """Return how much better one run is than another on rows neither has learnt from.

    Returns
    -------
    (Gain or None, int, str)
        The gain by paired bootstrap and the rows it was taken on; or None, 0 and why there is none.
    """
    if one.metric != other.metric:
        return None, 0, "they optimise different metrics"
    recipes = [read_recipe(yard.folder(r) / "recipe.json") for r in (one, other)]
    if recipes[0]["fingerprint"] != recipes[1]["fingerprint"]:
        return None, 0, "they were trained on different data, so one may have learnt from what the other is tested on"
    brief, former = run_brief(yard, one), run_brief(yard, other)
    if _splitting(brief) != _splitting(former):
        return None, 0, "their splits differ, so one may have learnt from what the other is tested on"
    try:
        _, parts, _ = prepare(brief)
    except ModelyardError as error:
        return None, 0, f"the data cannot be read again ({error.what})"
    rows = parts.test
    if rows is None:
        return None, 0, "no untouched rows were kept"
    if rows.fingerprint != recipes[0]["fingerprint"]:
        return None, 0, "the data has changed since"
    metric = find_metric(one.metric)
    bundles = [load_bundle(yard.folder(r) / "bundle") for r in (one, other)]
    answers = [reading(metric, bundle_answers(b, rows), b.threshold or 0.5) for b in bundles]
    found = paired(
        metric, rows.truth(), answers[0], answers[1],
        weights=rows.weights(), groups=rows.groups(), context=rows.extras, seed=brief.seed,
    )  # fmt: skip
    return found, len(rows), ""


def _splitting(brief: Brief) -> object:
    """Return what decides which rows are kept untouched."""
    return brief.validation, brief.forecast, brief.seed, brief.data.label, brief.data.group, brief.data.time


def _plain(brief: Brief) -> dict[str, Any]:
    """Return a brief as plain JSON, without the file it came from and with targets as people write them."""
    plain: dict[str, Any] = to_plain(replace(brief, source=""))
    limits = {"latency": str(brief.latency or ""), "size": str(brief.size or "")}
    return {**plain, "target": [target_text(t) for t in brief.target], **limits}


def _differences(one: Any, other: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return {} if one == other else {path: (one, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*one, *(k for k in other if k not in one)]:
        found |= _differences(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    return found
