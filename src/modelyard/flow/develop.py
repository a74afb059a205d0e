"""develop: the stages in order, from a brief to a packed model and six documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.brief.brief import Brief
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.latency import measure
from modelyard.bundle.pack import pack
from modelyard.core.canonical import content_hash, pretty_json
from modelyard.core.files import write_atomic
from modelyard.core.progress import Progress, Silent
from modelyard.data.dataset import Parts
from modelyard.data.finding import Finding
from modelyard.evaluation.evaluate import evaluate
from modelyard.evaluation.report import Report
from modelyard.evaluation.store import save_report
from modelyard.flow.documents import write_documents
from modelyard.flow.prepare import prepare, stop_at
from modelyard.flow.workspace import Record, Workspace, now
from modelyard.selection.plan import Plan
from modelyard.selection.select import select
from modelyard.training.clock import Clock
from modelyard.training.recipe import write_recipe
from modelyard.training.run import Run
from modelyard.training.store import save_run
from modelyard.training.tracker import Tracker
from modelyard.training.train import run_name, train

EXIT_CODES = {"yes": 0, "no": 2, "inconclusive": 3}


@dataclass(frozen=True, slots=True)
class Development:
    """What came of a brief: the run, what it is worth, the bundle, and where the six documents lie."""

    run: Run
    report: Report
    bundle: Bundle
    folder: Path
    deliverables: Mapping[str, Path]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 when the target is met, 2 when it is missed, 3 when the evidence does not decide."""
        return EXIT_CODES[self.report.target_met]

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain JSON, the last line of ``develop --json``."""
        estimate = self.report.estimate
        return {
            "run": self.run.name,
            "bundle": str(self.bundle.path),
            "verdict": self.report.target_met,
            "target_met": {"yes": True, "no": False, "inconclusive": None}[self.report.target_met],
            "metric": self.report.metric,
            "estimate": {"value": estimate.value, "low": estimate.low, "high": estimate.high},
            "on": self.report.on,
            "trees": self.bundle.manifest.facts.get("trees", 0),
            "seconds": round(self.seconds, 1),
            "deliverables": {name: str(path) for name, path in self.deliverables.items()},
        }


def develop(
    brief: Brief,
    data: object = None,
    *,
    workspace: Path | str | None = None,
    progress: Progress | None = None,
    replay: Mapping[str, Any] | None = None,
    commands: tuple[str, ...] = (),
    began: float | None = None,
) -> Development:
    """Take a brief to a packed model and six documents.

    The brief's budget is wall clock of all of it: training ends early enough, as far as can be reckoned, for
    evaluation, bundle and documents to end within it, but has half of it at least. A run of the same brief and data
    that was killed is taken up again: its finished steps are not done twice.

    Parameters
    ----------
    brief : Brief
        What is asked.
    data : path, table or Dataset, optional
        Default: the path the brief names.
    workspace : path, optional
        Default: ``MODELYARD_WORKSPACE``, else ``yard``.
    progress : Progress, optional
        Who watches; default nobody.
    replay : mapping, optional
        A recipe (see `modelyard.training.recipe`): fit just its members, as often and as weighted as it says.
    commands : tuple of str
        Commands the documents name as those that made them.
    began : float, optional
        ``time.monotonic()`` from which on the budget counts; default: now.

    Returns
    -------
    Development
        The run, its report, its bundle, its documents.

    Raises
    ------
    GateFailed
        If a finding must be answered first, or the packed model does not answer as the trained one did.
    ModelyardError
        For anything else that cannot be done; what was finished is kept.
    """
    clock = Clock(brief.budget.seconds, began)
    watch = progress or Silent()
    yard = Workspace.open(workspace)
    watch.stage("data")
    table, parts, findings = prepare(brief, data)
    for finding in findings:
        if finding.severity != "note":
            watch.say(f"  finding    {finding.what}")
    stop_at(findings)
    watch.stage("plan")
    plan = select(brief, table, parts=parts)
    for doubt in plan.doubts:
        watch.say(f"  doubt      {doubt.what} {doubt.do}")
    record = _record(yard, plan, replay)
    with yard.lock(record):
        folder = yard.folder(record)
        try:
            result = _work(yard, record, plan, parts, findings, watch, replay, commands, clock)
        except Exception:
            yard.close(record, "failed")
            raise
        yard.close(record, "finished", result.summary())
        write_atomic(folder / "summary.json", pretty_json(result.summary()))
        return result


def _record(yard: Workspace, plan: Plan, replay: Mapping[str, Any] | None) -> Record:
    """Take up a killed run of the same brief and data, or begin a new one."""
    key = content_hash({"brief": plan.brief, "data": plan.fingerprint, "replay": replay})
    unfinished = yard.unfinished(key)
    if unfinished is not None:
        return yard.close(unfinished, "running")
    name = run_name(plan, taken=[r.id for r in yard.records()])
    record = Record(name, name.rsplit("-", 1)[-1], key, "running", now(), plan.brief.use_case, plan.metric, {})
    return yard.write(record)


def _work(
    yard: Workspace,
    record: Record,
    plan: Plan,
    parts: Parts,
    findings: tuple[Finding, ...],
    watch: Progress,
    replay: Mapping[str, Any] | None,
    commands: tuple[str, ...],
    clock: Clock,
) -> Development:
    folder = yard.folder(record)
    write_atomic(folder / "plan.json", pretty_json(plan))
    write_atomic(folder / "findings.json", pretty_json(findings))
    tracker = _tracker(yard, plan)
    watch.stage("train")
    clock.keep(plan.after * clock.slowness(plan.before))
    run = train(
        plan, parts, folder=folder, tracker=tracker, progress=watch, replay=replay, name=record.name, clock=clock
    )
    try:
        save_run(run, folder)
        write_recipe(run, folder)
        watch.stage("evaluate")
        report = evaluate(run, run.development if parts.test is None else parts.test, findings=findings, progress=watch)
        save_report(report, folder / "report.json")
        watch.stage("pack")
        bundle = pack(run, report, parts, folder / "bundle", created=record.created, findings=findings)
        timing = measure(bundle, parts.development)
        write_atomic(folder / "latency.json", pretty_json(timing))
        watch.stage("documents")
        deliverables = write_documents(yard, folder, run, report, bundle, parts, findings, timing, commands)
        tracker.metrics(_figures(report))
        tracker.files(folder)
    except BaseException:
        tracker.finish("failed")
        raise
    tracker.finish("finished")
    return Development(run, report, bundle, folder, deliverables, clock.elapsed)


def _tracker(yard: Workspace, plan: Plan) -> Tracker:
    from modelyard.adapters.mlflow_tracking import MLflowTracker

    return MLflowTracker(yard.root, plan.brief.use_case)


def _figures(report: Report) -> dict[str, float]:
    """Return the report's figures under the names the tracker shows."""
    part = "test" if report.on == "test" else "validation"
    return {
        f"{part}_{e.metric}{suffix}": value
        for e in (report.estimate, *report.others)
        for suffix, value in (("", e.value), ("_low", e.low), ("_high", e.high))
        if value == value  # NaN has no place on a chart
    }
