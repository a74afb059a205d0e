"""The comparison as Markdown, and its last line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tabular.bars import (
    OURS,
    RIVAL,
    Bar,
    behind,
    latency,
    latency_bars,
    losses,
    own_bars,
    quality_bars,
    ranks,
    record_of,
    spread,
    whole,
)
from tabular.environments import FRAMEWORKS
from tabular.results import BUSY, Asked, Key, Record
from tabular.sets import SETS

BEGIN, END = "<!-- bench-tabular: begin -->", "<!-- bench-tabular: end -->"


def answered(found: Mapping[Key, Record], asked: Asked) -> list[Bar]:
    """Return every bar: quality at each budget, latency at the longest, and what we promise of ourselves."""
    quality = [bar for budget in asked.budgets for bar in quality_bars(found, asked, budget)]
    return quality + latency_bars(found, asked, max(asked.budgets)) + own_bars(found, asked)


def markdown(found: Mapping[Key, Record], asked: Asked) -> str:
    """Return the tables and the bars."""
    parts = [_versions(found, asked)]
    parts += [_quality(found, asked, budget) for budget in asked.budgets]
    parts.append(_latency(found, asked, max(asked.budgets)))
    parts.append(_budgets(found, asked))
    rows = [f"| {b.question} | {b.found} | {word(b)} |" for b in answered(found, asked)]
    parts.append("\n".join(["| bar | found | holds |", "|---|---|---|", *rows]))
    parts += _notes(found, asked)
    return "\n\n".join(parts) + "\n"


def last_line(found: Mapping[Key, Record], asked: Asked) -> tuple[str, bool]:
    """Return the line that says which bars hold, and whether all do, on a comparison large enough, with every run."""
    bars = answered(found, asked)
    lost = [b.question for b in bars if b.holds is False]
    absent = [key for key in asked.runs() if key not in found]
    said = [f"{sum(b.holds is True for b in bars)} of {len(bars)} bars hold"]
    if lost:
        said.append(f"NOT HELD: {'; '.join(lost)}")
    if absent:
        said.append(f"{len(absent)} of {len(asked.runs())} runs are missing")
    if not whole(asked):
        said.append("a part of the benchmark, which answers nothing for the whole")
    good = all(b.holds for b in bars) and not absent and whole(asked)
    return f"bench-tabular: {', '.join(said)}", good


def put(text: str, page: Path, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Replace what lies between the two marks of a page.

    Raises
    ------
    ValueError
        If the page has not both marks.
    """
    old = page.read_text(encoding="utf-8")
    begin, end = marks
    if begin not in old or end not in old:
        raise ValueError(f"{page} has not both marks: {begin} and {end}")
    head, _, rest = old.partition(begin)
    page.write_text(f"{head}{begin}\n\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def _quality(found: Mapping[Key, Record], asked: Asked, budget: int) -> str:
    table = losses(found, asked, budget)
    peers = OURS in asked.frameworks and len(asked.frameworks) > 1
    away = behind(table, asked) if peers else np.full(len(asked.sets), math.nan)
    lines = [
        f"**{budget} s.** Log loss of classes, RMSE of numbers, on the test part: mean over seeds and half its 95 % "
        "interval. The last column is our distance to the best peer.",
        "",
        f"| set | | rows | {' | '.join(asked.frameworks)} | behind |",
        f"|---|---|--:|{'--:|' * (len(asked.frameworks) + 1)}",
    ]
    for name, rows, distance in zip(asked.sets, table, away, strict=True):
        means = [_mean(rows[:, k]) for k in range(len(asked.frameworks))]
        best = min((m for m in means if math.isfinite(m)), default=math.nan)
        cells = [
            f"**{text}**" if m == best else text
            for m, text in ((m, _cell(rows[:, k])) for k, m in enumerate(means))
        ]  # fmt: skip
        what = f"{SETS[name].task}; {SETS[name].traits}" if name in SETS else ""
        gap = "" if math.isnan(distance) else f"{distance:+.1%}"
        lines.append(f"| {name} | {what} | {_rows(found, asked, name)} | {' | '.join(cells)} | {gap} |")
    drawn = np.array([name in SETS and SETS[name].split == "rows" for name in asked.sets])
    for what, some in (("mean rank", table), ("mean rank, new rows", table[drawn])):
        ranked = ranks(some)
        mean = [f"{m:.2f}" for m in ranked.mean(axis=0)] if len(ranked) else [""] * len(asked.frameworks)
        lines.append(f"| {what} | of {len(ranked)} set-seeds | | {' | '.join(mean)} | |")
    return "\n".join(lines)


def _latency(found: Mapping[Key, Record], asked: Asked, budget: int) -> str:
    peers = [f for f in asked.frameworks if f != OURS]
    lines = [
        f"**One row, p50, after {budget} s of development.** Ours is a dict through `predict_proba` or `predict`, "
        "beside the bare ONNX Runtime call on its encoded values; peers answer a frame of one row, and are shown as "
        "how many times our time they take.",
        "",
        f"| set | columns | {OURS} ms | times the bare call | {' | '.join(peers)} |",
        f"|---|--:|--:|--:|{'--:|' * len(peers)}",
    ]
    for name in asked.sets:
        ours = latency(found, asked, budget, OURS, name, "dict_ms_p50")
        bare = latency(found, asked, budget, OURS, name, "bare_ms_p50")
        ratios = [latency(found, asked, budget, f, name, "row_ms_p50") / ours for f in peers]
        told = [latency(found, asked, budget, f, name, "columns") for f in asked.frameworks]
        columns = max((c for c in told if not math.isnan(c)), default=math.nan)
        cells = [_number(columns, ".0f"), _number(ours, ".3f"), _number(ours / bare, ".1f")]
        cells += [_number(r, ".0f", "x") for r in ratios]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _budgets(found: Mapping[Key, Record], asked: Asked) -> str:
    lines = [
        "**What a budget cost.** Seconds of the fit over the budget, and peak memory.",
        "",
        "| framework | budget s | median | most | peak MB, most |",
        "|---|--:|--:|--:|--:|",
    ]
    for framework in asked.frameworks:
        for budget in asked.budgets:
            runs = [found.get(Key(framework, n, s, budget)) for n in asked.sets for s in asked.seeds]
            done = [r for r in runs if r is not None and "fit_s" in r]
            if done:
                over = [r["fit_s"] / budget for r in done]
                peak = max(r["peak_mb"] for r in done)
                lines.append(f"| {framework} | {budget} | {np.median(over):.2f} | {max(over):.2f} | {peak} |")
    return "\n".join(lines)


def _versions(found: Mapping[Key, Record], asked: Asked) -> str:
    known = {key: found[key] for key in asked.runs() if key in found}
    versions = {
        f: sorted({str(r["version"]) for key, r in known.items() if key.framework == f and "version" in r})
        for f in asked.frameworks
    }
    named = [f"{f} {', '.join(seen) or '?'}" for f, seen in versions.items()]
    machines = {f"{r['cores']} cores of {r['machine']}" for r in known.values() if "machine" in r}
    days = sorted({r["day"] for r in known.values() if "day" in r})
    code = ", ".join(sorted({r["code"] for r in known.values() if "code" in r}))
    return (
        f"{len(known)} of {len(asked.runs())} runs, seeds {', '.join(map(str, asked.seeds))}, on "
        f"{' and '.join(sorted(machines)) or '?'}, {' to '.join(dict.fromkeys([*days[:1], *days[-1:]])) or '?'}: "
        f"{'; '.join(named)}. Source of {OURS}: {code or '?'}."
    )


def _notes(found: Mapping[Key, Record], asked: Asked) -> list[str]:
    runs = {key: found[key] for key in asked.runs() if key in found}
    failed = [f"{k.framework} on {k.name} (seed {k.seed}, {k.budget} s)" for k, r in runs.items() if "error" in r]
    busy = sum(r.get("others", 0) > BUSY for r in runs.values())
    notes = []
    if failed:
        notes.append(f"Failed, and ranked last there: {'; '.join(failed)}.")
    if busy:
        notes.append(f"{busy} of {len(runs)} runs shared the machine: others used over {BUSY:.0%} of it meanwhile.")
    if not whole(asked):
        notes.append("This is a part of the benchmark, which answers nothing for the whole.")
    return notes


def _rows(found: Mapping[Key, Record], asked: Asked, name: str) -> str:
    runs = (record_of(found, f, name, s, b) for f in asked.frameworks for s in asked.seeds for b in asked.budgets)
    return next((f"{r['rows'] + r['test_rows']:,}" for r in runs if r is not None and "rows" in r), "")


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _cell(values: NDArray[np.float64]) -> str:
    known = values[~np.isnan(values)]
    if not len(known):
        return ""
    if np.isinf(known).any():
        return "failed"
    mean, half = spread(known)
    return f"{mean:.4g}" if math.isnan(half) else f"{mean:.4g} ± {half:.2g}"


def _number(value: float, form: str, after: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{form}}{after}"


def word(bar: Bar) -> str:
    """Say whether a bar holds."""
    return "not answered" if bar.holds is None else "yes" if bar.holds else "NO"


assert {OURS, RIVAL} <= set(FRAMEWORKS)
