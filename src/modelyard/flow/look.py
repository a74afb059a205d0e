"""What a terminal shows of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from modelyard.core.canonical import to_plain
from modelyard.data.finding import Finding
from modelyard.evaluation.report import Report, TargetResult
from modelyard.evaluation.store import load_report
from modelyard.evaluation.wording import p, rows
from modelyard.flow.develop import Development
from modelyard.flow.workspace import Record, Workspace
from modelyard.metrics.find import metric as find_metric
from modelyard.training.run import Entry
from modelyard.training.store import load_diagnostics, load_leaderboard

_SHOWN = 8
ANSWERS = {"yes": "Yes", "no": "No", "inconclusive": "Not decided"}


def answer_lines(done: Development) -> list[str]:
    """Return the answer, the worries, the model's size and what comes next."""
    lines = report_lines(done.report)
    facts = done.bundle.manifest.facts
    size = sum(p.stat().st_size for p in done.bundle.path.glob("model.onnx")) / 1e6
    if facts.get("trees"):
        kinds = len(done.run.blend.members)
        lines.append(
            f"{'Model':<10} {facts['trees']:,} trees, {kinds} kind{'s' if kinds > 1 else ''}, "
            f"in one ONNX graph of {size:.1f} MB{_asked_size(done)}"
        )
    lines += board_lines(done.run.leaderboard, done.run.plan.metric)
    names = " ".join(path.stem for path in done.deliverables.values())
    lines.append(f"{'Documents':<10} {done.folder}/")
    lines.append(f"{'':<10} {names}")
    run = done.run.id
    lines.append(f"{'Next':<10} modelyard register {run} · modelyard serve {run} · modelyard show {run} --open")
    return lines


def _asked_size(done: Development) -> str:
    """Say whether the file keeps to the size the brief asks for."""
    asked, held = done.run.plan.brief.size, done.bundle.manifest.facts.get("bytes")
    if asked is None or held is None:
        return ""
    return f", {'within' if held < asked.bytes else 'over'} the {asked.megabytes:g} MB asked"


def report_lines(report: Report) -> list[str]:
    """Return the verdict with its interval, the gains over baselines, and the worries."""
    title = find_metric(report.metric).title
    e = report.estimate
    asked = ", ".join(_target(t, report.metric) for t in report.targets) or _untargeted(report)
    lines = [
        f"{'Answer':<10} {ANSWERS[report.target_met]}: {title} {e.value:.4g} [{e.low:.4g}, {e.high:.4g}] "
        f"on {rows(report)}; {asked}"
    ]
    lines += [
        f"{'':<10} {b.gain:+.4g} [{b.gain_low:+.4g}, {b.gain_high:+.4g}] over {b.title} ({p(b)})"
        for b in report.baselines[:2]
    ]
    lines += [f"{'Worry' if i == 1 else '':<10} {i} {text}" for i, text in enumerate(report.worries[:3], start=1)]
    return lines


def _target(result: TargetResult, metric: str) -> str:
    """Return a target, with its own figure where that is not the one already told."""
    asked, e = result.target, result.estimate
    if asked.metric == metric and asked.label is None:
        return str(asked)
    return f"{asked}: {ANSWERS[result.met].lower()}, {e.value:.4g} [{e.low:.4g}, {e.high:.4g}]"


def _untargeted(report: Report) -> str:
    if not report.baselines:
        return "no target, no baseline"
    said = {"yes": "better", "no": "not better", "inconclusive": "not certainly better"}
    return f"no target: {said[report.target_met]} than the best baseline"


def run_lines(yard: Workspace, record: Record) -> list[str]:
    """Return one run as a terminal shows it, finished or not."""
    folder = yard.folder(record)
    lines = [f"{'Run':<10} {record.name} ({record.status}), {record.use_case}, started {record.created}"]
    if record.status != "finished":
        return [*lines, f"{'Next':<10} Run develop with the same brief again: it goes on from the last finished step."]
    lines += report_lines(load_report(folder / "report.json"))
    lines += board_lines(load_leaderboard(folder), record.metric)
    lines.append(f"{'Bundle':<10} {folder / 'bundle'}")
    lines += [
        f"{'Documents' if i == 0 else '':<10} {p.name}" for i, p in enumerate(sorted(folder.glob("[1-6]-*.html")))
    ]
    return lines


def board_lines(board: Sequence[Entry], metric: str) -> list[str]:
    """Return the leaderboard a line each: score, share, seconds, microseconds, and why a fit was left out.

    Members all have their line; of the others the best, and those that failed.
    """
    failed = [e for e in board if e.why.startswith(("failed", "on every row"))]
    shown = [e for e in board if e.weight > 0]
    shown += [e for e in board if e.weight == 0 and e not in failed][: max(0, _SHOWN - len(shown))] + failed[:_SHOWN]
    timed = any(e.microseconds > 0 for e in board)
    wide = max((len(e.name) for e in shown), default=0)
    lines = []
    for entry in shown:
        score = f"{entry.score:<8.5g}" if math.isfinite(entry.score) else f"{'–':<8}"
        time = f"{entry.seconds:>4.0f} s"
        if timed:
            time += f" {entry.microseconds:>5.0f} µs" if math.isfinite(entry.microseconds) else " " * 9
        share = f"share {entry.weight:.0%}" if entry.weight else entry.why or "not used"
        lines.append(f"{entry.name:<{wide}}  {score}  {time}  {share}")
    if len(shown) < len(board):
        lines.append(f"and {len(board) - len(shown)} more in 2-training.md")
    head = f"{find_metric(metric).title} out-of-fold, fit, {'answer, ' if timed else ''}share or why not"
    return [f"{'Fits' if i == 0 else '':<10} {line}" for i, line in enumerate([head, *lines])]


def run_plain(yard: Workspace, record: Record) -> dict[str, Any]:
    """Return one run as plain JSON: its record, and once it is finished its report, leaderboard and diagnostics."""
    plain: dict[str, Any] = dict(to_plain(record))
    if record.status == "finished":
        folder = yard.folder(record)
        plain["report"] = to_plain(load_report(folder / "report.json"))
        plain["leaderboard"] = to_plain(load_leaderboard(folder))
        plain["diagnostics"] = to_plain(load_diagnostics(folder))
    return plain


def finding_lines(findings: tuple[Finding, ...]) -> list[str]:
    """Return findings a line each, what to do below those that matter."""
    lines = []
    for finding in findings:
        lines.append(f"  {'-' if finding.severity == 'note' else '!'} {finding.what}")
        if finding.severity != "note":
            lines.append(f"    {finding.do}")
    return lines
