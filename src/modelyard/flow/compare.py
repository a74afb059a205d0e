"""compare: what two runs were asked, what differs, and which is better on rows neither has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.brief.brief import Brief
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.core.canonical import to_plain
from modelyard.core.errors import ModelyardError, WorkspaceError
from modelyard.data.dataset import Dataset, Parts
from modelyard.evaluation.report import Report
from modelyard.evaluation.store import load_report
from modelyard.flow.prepare import prepare
from modelyard.flow.workspace import Record, Workspace
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import paired
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
    gain, why = _gain(yard, (one, other), briefs[0], reports)
    return {
        "runs": [one.name, other.name],
        "asked": _differences(*(to_plain(replace(b, source="")) for b in briefs)),
        "reports": [to_plain(r.estimate) | {"target_met": r.target_met, "on": r.on} for r in reports],
        "gain": gain,
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
    gain = result["gain"]
    if gain is None:
        lines.append(f"  gain     not comparable: {result['why']}")
    else:
        lines.append(
            f"  gain     {gain['gain']:+.5g} [{gain['low']:+.5g}, {gain['high']:+.5g}], p = {gain['p_value']:.2g}, "
            f"on the same {gain['n']:,} untouched rows"
        )
    return lines


def run_brief(yard: Workspace, record: Record) -> Brief:
    """Return the brief of a run, as its recipe keeps it."""
    import msgspec

    return msgspec.convert(read_recipe(yard.folder(record) / "recipe.json")["brief"], Brief)


def test_rows(brief: Brief) -> Parts:
    """Read the brief's data again and split it as the run did."""
    _, parts, _ = prepare(brief)
    return parts


def bundle_answers(bundle: Bundle, rows: Dataset) -> NDArray[np.float64]:
    """Return what a bundle answers, shaped as `Blend.answer` shapes it."""
    if not bundle.schema.classes:
        return np.asarray(bundle.predict(rows.frame), dtype=np.float64)
    answers = bundle.predict_proba(rows.frame)
    return answers[:, 1] if bundle.schema.task == "binary" else answers


def _gain(
    yard: Workspace, records: tuple[Record, Record], brief: Brief, reports: list[Report]
) -> tuple[dict[str, float] | None, str]:
    if records[0].metric != records[1].metric:
        return None, "they optimise different metrics"
    recipes = [read_recipe(yard.folder(r) / "recipe.json") for r in records]
    if recipes[0]["fingerprint"] != recipes[1]["fingerprint"]:
        return None, "they were trained on different data"
    if _differences(recipes[0]["brief"]["validation"], recipes[1]["brief"]["validation"]) or (
        recipes[0]["brief"]["seed"] != recipes[1]["brief"]["seed"]
    ):
        return None, "their splits differ, so one has learnt from rows the other is tested on"
    if any(r.on != "test" for r in reports):
        return None, "one kept no untouched rows"
    try:
        rows = test_rows(brief).test
    except ModelyardError as error:
        return None, f"the data cannot be read again ({error.what})"
    if rows is None or rows.fingerprint != recipes[0]["fingerprint"]:
        return None, "the data has changed since"
    metric = find_metric(records[0].metric)
    bundles = [load_bundle(yard.folder(r) / "bundle") for r in records]
    answers = [reading(metric, bundle_answers(b, rows), b.threshold or 0.5) for b in bundles]
    result = paired(
        metric, rows.truth(), answers[0], answers[1],
        weights=rows.weights(), groups=rows.groups(), context=rows.extras, seed=brief.seed,
    )  # fmt: skip
    return {**to_plain(result), "n": float(len(rows))}, ""


def _differences(one: Any, other: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return {} if one == other else {path: (one, other)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*one, *(k for k in other if k not in one)]:
        found |= _differences(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    return found
