"""The six documents of a run, each built by the stage that vouches for it, linked to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.latency import Timing
from modelyard.core.markup import Document
from modelyard.data.dataset import Parts
from modelyard.data.finding import Finding
from modelyard.evaluation.document import evaluation_document
from modelyard.evaluation.report import Report
from modelyard.flow.export import alert_rules, ci_workflow, export_all
from modelyard.flow.watch import write_runbooks
from modelyard.flow.workspace import Workspace, now
from modelyard.monitoring.document import monitoring_document
from modelyard.monitoring.runbooks import runbooks
from modelyard.registry.document import mlops_document
from modelyard.registry.register import evidence
from modelyard.registry.store import Registry
from modelyard.retraining.triggers import trigger_rows
from modelyard.selection.document import architecture_document
from modelyard.serving.capacity import capacity
from modelyard.serving.document import deployment_document
from modelyard.serving.rehearsal import rehearse, starting
from modelyard.training.document import training_document
from modelyard.training.run import Run

STEMS = {
    "architecture": "1-architecture",
    "training": "2-training",
    "evaluation": "3-evaluation",
    "deployment": "4-deployment",
    "mlops": "5-mlops",
    "monitoring": "6-monitoring",
}


def write_documents(
    yard: Workspace,
    folder: Path,
    run: Run,
    report: Report,
    bundle: Bundle,
    parts: Parts,
    findings: Sequence[Finding],
    timing: Timing,
    commands: Sequence[str],
) -> Mapping[str, Path]:
    """Write the six documents of a run, and the files its deployment document speaks of.

    Parameters
    ----------
    yard : Workspace
        Its registry is what the fifth document shows.
    folder : path
        The run's folder; each document becomes ``N-name.md`` and ``N-name.html`` in it.
    run, report, bundle, parts, findings, timing
        What the stages made.
    commands : sequence of str
        The commands that made the run.

    Returns
    -------
    mapping of str to Path
        The page of each document, by its name.
    """
    with starting(bundle) as server:
        # The longest of the pages to make needs nothing of the server, which takes a moment to come up.
        watched = monitoring_document(bundle, rules=alert_rules(bundle), runbooks=runbooks(bundle))
        rehearsal = rehearse(bundle, server)
    needs = capacity(bundle, rehearsal.microseconds)
    files = export_all(bundle, folder / "deployment", needs=needs)
    write_runbooks(bundle, folder)
    registry = Registry(yard.registry)
    name = bundle.manifest.name
    releases = registry.releases(name)
    pages: dict[str, Document] = {
        "architecture": architecture_document(
            run.plan, run, report, bundle.manifest.facts, parts.split.reason, timing.p50
        ),
        "training": training_document(run, parts),
        "evaluation": evaluation_document(report, findings, run.plan),
        "deployment": deployment_document(
            bundle, timing=timing, rehearsal=rehearsal, needs=needs, files=[p.relative_to(folder) for p in files]
        ),
        "mlops": mlops_document(
            run,
            bundle.hash,
            releases,
            registry.history(name) if releases else (),
            evidence(bundle, report, latency=timing, findings=findings),
            ci_workflow(bundle),
            name=name,
            written=now(),
            triggers=trigger_rows(),
        ),
        "monitoring": watched,
    }
    written = {}
    for key, page in pages.items():
        links = [(other, stem) for other, stem in STEMS.items() if other != key]
        _, written[key] = replace(page, links=links, commands=tuple(commands)).write(folder, STEMS[key])
    return written
