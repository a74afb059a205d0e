"""Packing: a run becomes a bundle, or nothing at all when the packed model answers otherwise than the trained one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.brief.brief import Brief
from modelyard.bundle.adversarial import Thresholds
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.directions import check_directions
from modelyard.bundle.examples import plain_rows, spread, synthetic
from modelyard.bundle.load import load_bundle
from modelyard.bundle.manifest import FORMAT, Lineage, Manifest
from modelyard.bundle.parity import check_parity, graph_thresholds, real_rows
from modelyard.bundle.runtimes import arrays, onnx
from modelyard.bundle.runtimes.runtime import Runtime
from modelyard.bundle.write import write_bundle
from modelyard.core.canonical import to_plain
from modelyard.core.names import slug
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.finding import Finding
from modelyard.data.profile import profile
from modelyard.data.schema import Schema
from modelyard.encoding.encoding import Encoding
from modelyard.evaluation.answers import answers, out_of_fold
from modelyard.evaluation.bounds import uncertainty
from modelyard.evaluation.card import model_card
from modelyard.evaluation.report import Estimate, Report
from modelyard.families.family import Family
from modelyard.families.find import family_named
from modelyard.families.fitted import Blend, Export
from modelyard.training.run import Run


def pack(
    run: Run,
    report: Report,
    parts: Parts,
    folder: Path | str,
    *,
    commit: str | None = None,
    created: str | None = None,
    findings: Sequence[Finding] = (),
) -> Bundle:
    """Pack a run: export, parity gate, manifest, model card, bill of materials, archive.

    Parameters
    ----------
    run : Run
        What was trained.
    report : Report
        What it is worth, and its threshold.
    parts : Parts
        The rows: the test part is what parity is checked on, and a family that refits learns from all of them.
    folder : path
        Where the bundle is written; its ``.tar.gz`` lies beside it.
    commit : str, optional
        Code commit for the lineage; default the run's.
    created : str, optional
        Moment for the lineage, UTC, ISO 8601; default now.
    findings : sequence of Finding
        What was seen in the data, for the model card.

    Returns
    -------
    Bundle
        Loaded back from the folder.

    Raises
    ------
    GateFailed
        If the packed model does not answer as the trained one did, or goes against a direction the brief asks for;
        nothing is written.
    WorkspaceError
        If the folder cannot be written.
    """
    folder = Path(folder)
    family = family_named(run.plan.family)
    blend, learnt = _final(run, parts, family)
    schema = parts.development.schema
    export = family.export(blend, learnt)
    encoding = Encoding.of(schema, moments=export.moments)
    runtime = _runtime(export, schema, encoding)
    checked, thresholds = parts.development if parts.test is None else parts.test, _thresholds(export, encoding)
    logarithm = blend.link == "log"
    parity = check_parity(
        runtime,
        partial(answers, replace(run, blend=blend)),
        checked,
        _deviation(parts.development),
        thresholds,
        run.plan.brief.seed,
        most=real_rows(int(export.facts.get("trees", 0))),
        logarithm=logarithm,
    )
    directions = check_directions(runtime, checked, thresholds, run.plan.brief.seed, logarithm)
    draft = Manifest(
        format=FORMAT,
        name=slug(run.plan.brief.use_case),
        brief=_without_places(run.plan.brief),
        schema=schema,
        encoding=encoding,
        runtime=export.runtime,
        threshold=_threshold(report, schema),
        facts={
            **export.facts,
            "parity": parity,
            "bytes": len(export.files[arrays.FILE if export.runtime == "arrays" else onnx.FILE]),
            **({"directions": directions} if directions else {}),
        },
        estimate=_estimate(report),
        files={},
        lineage=Lineage(
            run=run.name,
            created=created or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            commit=commit or run.commit,
            fingerprint=run.plan.fingerprint,
            environment=dict(run.environment),
        ),
    )
    if isinstance(runtime, arrays.ArraysRuntime):
        shown = spread(runtime.known())
    else:
        shown = synthetic(parts.development.frame, schema, run.plan.brief.seed)
    write_bundle(
        folder,
        draft,
        export,
        # What live traffic is to look like: rows as answered by folds that had not seen them.
        profile=profile(*out_of_fold(run)),
        card=model_card(report, run.plan, (*parts.development.notes, *findings)),
        examples=plain_rows(shown, schema),
        uncertainty=uncertainty(run, draft.threshold),
    )
    return load_bundle(folder)


def _final(run: Run, parts: Parts, family: Family) -> tuple[Blend, Dataset]:
    """Return the blend that is packed and the rows it learnt from."""
    if not family.refits:
        return run.blend, parts.development
    data = _whole(parts)
    everything = Parts(
        data, None, replace(parts.split, development=np.arange(len(data)), test=np.zeros(0, np.int64), folds=())
    )
    members = tuple(
        (
            family.fit(
                fitted.candidate,
                everything,
                derive_seed(run.plan.brief.seed, "fit", fitted.candidate.name),
                rounds=fitted.rounds,
            ),
            weight,
        )
        for fitted, weight in run.blend.members
    )
    return replace(run.blend, members=members), data


def _whole(parts: Parts) -> Dataset:
    """Put development and test part together again, in the table's order."""
    if parts.test is None:
        return parts.development
    order = np.argsort(np.concatenate([parts.split.development, parts.split.test]), kind="stable")
    both = (parts.development, parts.test)
    frame = pl.concat([part.frame for part in both])
    extras = {
        name: np.concatenate([part.extras[name] for part in both])
        for name in parts.development.extras
        if name in parts.test.extras
    }
    return replace(parts.development, frame=frame, extras=extras, copies=None).take(order)


def _runtime(export: Export, schema: Schema, encoding: Encoding) -> Runtime:
    if export.runtime == "arrays":
        return arrays.ArraysRuntime(export.files[arrays.FILE], schema)
    return onnx.OnnxRuntime(export.files[onnx.FILE], encoding, max(1, len(schema.classes)))


def _thresholds(export: Export, encoding: Encoding) -> Thresholds:
    return graph_thresholds(export.files[onnx.FILE], encoding) if export.runtime == "onnx" else {}


def _deviation(data: Dataset) -> float:
    """Return what a difference is measured in: 1 for probabilities, else the label's standard deviation."""
    return 1.0 if data.schema.classes else float(np.std(data.truth())) or 1.0


def _threshold(report: Report, schema: Schema) -> float | None:
    if schema.task != "binary":
        return None
    chosen = None if report.confusion is None else report.confusion.threshold
    return 0.5 if chosen is None else chosen


def _without_places(brief: Brief) -> Brief:
    """Leave out folders: a bundle is passed on, and where its author keeps files is nobody's business."""
    path = None if brief.data.path is None else Path(brief.data.path).name
    return replace(brief, data=replace(brief.data, path=path), source=Path(brief.source).name)


def _estimate(report: Report) -> dict[str, Any]:
    """Return the report's figures and its decisions, which gates read and never recompute."""
    return {
        **_figure(report.estimate),
        "on": report.on,
        "rows": report.rows,
        "target_met": report.target_met,
        "beats_baseline": report.beats_baseline,
        "targets": [{"target": str(t.target), "met": t.met, **_figure(t.estimate)} for t in report.targets],
        "others": [_figure(e) for e in report.others],
    }


def _figure(estimate: Estimate) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(estimate)
    return plain
