"""The comparison as Markdown, and its last line."""

from __future__ import annotations

import math

import numpy as np

from serving.bars import Results, bars, mean, merged, percentile, ratio, whole
from serving.servers import OURS, SERVERS
from tabular.report import word
from tabular.results import BUSY

MARKS = "<!-- bench-serving: begin -->", "<!-- bench-serving: end -->"
SHARES = (0.5, 0.99, 0.999)


def markdown(found: Results) -> str:
    """Return the tables and the bars."""
    rows = [f"| {b.question} | {b.found} | {word(b)} |" for b in bars(found)]
    parts = [_about(found), _closed(found), *(_open(found, rate) for rate in found.about["rates"])]
    parts.append("\n".join(["| bar | found | holds |", "|---|---|---|", *rows]))
    return "\n\n".join([*parts, *_notes(found)]) + "\n"


def last_line(found: Results) -> tuple[str, bool]:
    """Return the line that says which bars hold, and whether all do, on a run large enough."""
    answered = bars(found)
    lost = [b.question for b in answered if b.holds is False]
    said = [f"{sum(b.holds is True for b in answered)} of {len(answered)} bars hold"]
    if lost:
        said.append(f"NOT HELD: {'; '.join(lost)}")
    if found.about["failed"]:
        said.append(f"not measured: {', '.join(found.about['failed'])}")
    if not whole(found.about):
        said.append("a part of the benchmark, which answers nothing for the whole")
    return f"bench-serving: {', '.join(said)}", all(b.holds for b in answered) and whole(found.about)


def _about(found: Results) -> str:
    about = found.about
    versions = {**about["versions"], **{p: pins[0].rpartition("==")[2] for p, pins in _first(about["pins"]).items()}}
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return (
        f"{about['rounds']} rounds of {about['seconds']:g} s for each load, on {about['cores']} cores, Python "
        f"{about['python']}: {named}. {about['trees']} trees; a request of ours is {about['request_bytes']} bytes with "
        f"its head. Source of {OURS}: {about['code']}."
    )


def _first(pins: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return each peer's requirements, its own before those of what it draws."""
    return {peer: sorted(held, key=lambda p: not p.startswith(peer[:3])) for peer, held in pins.items()}


def _closed(found: Results) -> str:
    count = found.about["connections"]
    lines = [
        f"**As fast as answers come**, {count} connections, {2 * count} to two workers: CPU of the server's whole "
        "process tree for a request, geometric mean over rounds, and how many times ours it is with its 95 % interval.",
        "",
        "| server | what it does | processes | us CPU | times ours | answers a second | generator us |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    ours = found.cpu(OURS)
    for name in found.about["servers"]:
        figures = found.of(name, None)
        if not figures:
            continue
        cpu = found.cpu(name)
        times = "" if name == OURS else _ratio(*ratio(cpu, ours))
        rate = float(np.median([f["answered"] / f["seconds"] for f in figures]))
        own = mean([1e6 * f["generator_s"] / max(1, f["answered"]) for f in figures])
        what, processes = SERVERS[name].what, max(f["processes"] for f in figures)
        lines.append(
            f"| {name} | {what} | {processes} | {mean(list(cpu.values())):,.0f} | {times} | {rate:,.0f} | {own:,.0f} |"
        )
    return "\n".join(lines)


def _open(found: Results, rate: int) -> str:
    lines = [
        f"**{rate:,} requests a second**, whatever comes: milliseconds from the moment a request was due, all rounds "
        "together.",
        "",
        "| server | p50 | p99 | p99.9 | us CPU | lost |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in found.about["servers"]:
        figures = found.of(name, rate)
        if figures:
            counts = merged(figures, "latency")
            cells = [_number(percentile(counts, share)) for share in SHARES]
            lost = sum(f["refused"] + f["unanswered"] for f in figures)
            lines.append(
                f"| {name} | {' | '.join(cells)} | {mean(list(found.cpu(name, rate).values())):,.0f} | {lost} |"
            )
        elif any(f["server"] == name and f["rate"] == rate for f in found.figures):
            lines.append(f"| {name} | more than it can hold | | | | |")
    return "\n".join(lines)


def _notes(found: Results) -> list[str]:
    taken = [f for f in found.figures if "answered" in f]
    notes = []
    if taken:
        lags = merged([f for f in taken if f["rate"] is not None], "lag")
        share = np.median([f["generator_s"] / f["seconds"] for f in taken if f["rate"] is None])
        notes.append(
            f"The generator sent what was due within {_number(percentile(lags, 0.5))} ms in the median and "
            f"{_number(percentile(lags, 0.99))} ms at p99, and took {share:.0%} of one core in the closed loop "
            "(median), which is not counted as the servers'."
        )
    busy = sum(f.get("others", 0) > BUSY for f in taken)
    if busy:
        notes.append(f"{busy} of {len(taken)} loads shared the machine: others used over {BUSY:.0%} of it meanwhile.")
    broken = sorted({f["server"] for f in found.figures if "error" in f})
    if broken:
        notes.append(f"Some loads failed, and are left out: {', '.join(broken)}.")
    if not whole(found.about):
        notes.append("This is a part of the benchmark, which answers nothing for the whole.")
    return notes


def _ratio(value: float, low: float, high: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
