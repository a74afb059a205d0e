"""The table of a run and its last line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from faults.judge import SECONDS, Call, Judged, calm
from faults.stage import Stage

_HEAD = ("window", "s", "requests", "in time", "p50", "p99", "max", "apart", "killed", "failed", "what shows it")


def report(stage: Stage, judged: Judged) -> str:
    """Return the table: a line a window, then calm and the whole run; times in milliseconds."""
    lines = [_HEAD]
    for window in stage.windows:
        calls = [call for call in judged.calls if window.began <= call.due <= window.ended]
        lines.append(_line(window.name, window.ended - window.began, calls, judged, window.felt))
    quiet = calm(stage.windows)
    broken = sum(window.ended - window.began for window in stage.windows)
    whole = stage.ended - stage.began
    lines.append(_line("nothing broken", whole - broken, [c for c in judged.calls if quiet(c.due)], judged, ""))
    lines.append(_line("the whole run", whole, judged.calls, judged, ""))
    widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
    table = "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, len(_HEAD) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
    return f"{table}\n\n{_questions(judged)}"


def last_line(stage: Stage, judged: Judged) -> tuple[str, bool]:
    """Return the last line, and whether everything holds."""
    lost = [question.text for question in judged.questions if not question.holds]
    said = f"bench-faults: {len(judged.questions) - len(lost)} of {len(judged.questions)} hold"
    if lost:
        said += f"; not: {'; '.join(lost)}"
    if stage.left_out:
        said += f"; not injected: {', '.join(stage.left_out)}"
    return said, not lost and not stage.left_out


def _line(name: str, seconds: float, calls: Sequence[Call], judged: Judged, felt: str) -> tuple[str, ...]:
    counted = [call for call in calls if call.number not in judged.apart]
    times = sorted(call.seconds for call in counted)
    good = sum(call.good and call.seconds <= SECONDS for call in counted)
    return (
        name,
        f"{seconds:.1f}",
        f"{len(calls):,}",
        f"{100 * good / len(counted):.2f} %" if counted else "-",
        _milliseconds(times, 0.5),
        _milliseconds(times, 0.99),
        _milliseconds(times, 1.0),
        str(len(calls) - len(counted)),
        str(sum(judged.with_worker[call.number] for call in calls)),
        str(sum(call.number in judged.failed for call in calls)),
        felt,
    )


def _milliseconds(times: Sequence[float], share: float) -> str:
    if not times:
        return "-"
    return f"{1e3 * times[max(0, math.ceil(share * len(times)) - 1)]:.1f}"


def _questions(judged: Judged) -> str:
    lines = []
    for question in judged.questions:
        lines.append(f"{'holds' if question.holds else 'DOES NOT HOLD'}: {question.text}: {question.found}")
        lines += [f"    {example}" for example in question.examples]
    return "\n".join(lines)
