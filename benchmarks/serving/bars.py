"""The arithmetic of the comparison: CPU of a request, ratios with intervals over rounds, percentiles, bars."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.generator import BASE
from serving.rounds import Record
from serving.servers import BARE, OURS, TWICE
from tabular.bars import Bar

OVER_BARE = 1.15
"""How many times the CPU of the bare endpoint a request of ours may take."""
LESS = {
    "fastapi": 4.0, "kserve": 6.0, "mlserver": 7.0, "mlserver, no parallel worker": 7.0, "litserve": 14.0,
    "bentoml": 17.0, "ray serve": 100.0, "mlflow": 100.0,
    "mlflow, tensors": 100.0,
}  # fmt: skip
"""How many times the CPU of ours a request of each peer must take."""
APART = 0.10
"""How far CPU per request may move from one worker to two."""
STEADY_MOST = 1.1
"""How many times the known time of the steady server the generator may see in the median."""
ROUNDS = 5
"""Rounds a comparison must at least have before its bars speak for the project."""
SEEN = 5
"""Latencies that must lie beyond a percentile for it to be shown."""
_DRAWS = 10_000


@dataclass(frozen=True)
class Results:
    """One run: what it was, and its figures by server, rate (None: the closed loop) and round."""

    about: Record
    figures: tuple[Record, ...]

    def of(self, server: str, rate: int | None) -> list[Record]:
        """Return a server's figures at a rate, those of failed measurements left out."""
        return [f for f in self.figures if f["server"] == server and f["rate"] == rate and "answered" in f]

    def cpu(self, server: str, rate: int | None = None) -> dict[int, float]:
        """Return the microseconds of CPU a request took in each round."""
        return {
            f["round"]: 1e6 * f["server_s"] / f["answered"]
            for f in self.of(server, rate)
            if f["answered"] and "error" not in f
        }


def read(path: Path) -> Results:
    """Return the last run on record; a line cut short by a kill is none.

    Raises
    ------
    ValueError
        If there is no run.
    """
    runs: dict[str, tuple[Record, list[Record]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "about" in record:
            runs[record["run"]] = (record["about"], [])
        elif record["run"] in runs:
            runs[record["run"]][1].append(record)
    if not runs:
        raise ValueError(f"{path} holds no run: make bench-serving makes one")
    about, figures = list(runs.values())[-1]
    return Results(about, tuple(figures))


def mean(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the geometric mean; NaN of nothing."""
    return float(np.exp(np.mean(np.log(values)))) if len(values) else math.nan


def ratio(above: dict[int, float], below: dict[int, float]) -> tuple[float, float, float]:
    """Return how many times ``below`` ``above`` is, and its 95 % interval by bootstrap over rounds.

    Parameters
    ----------
    above, below : dict of int to float
        Figures by round; those of one round were taken within a minute or two, and are compared with each other.
    """
    rounds = sorted(above.keys() & below.keys())
    if not rounds:
        return math.nan, math.nan, math.nan
    logs = np.log([above[r] / below[r] for r in rounds])
    draws = np.random.default_rng(0).choice(logs, (_DRAWS, len(logs))).mean(axis=1)
    low, high = np.exp(np.quantile(draws, [0.025, 0.975]))
    return float(np.exp(logs.mean())), float(low), float(high)


def merged(figures: Sequence[Record], what: str) -> dict[int, int]:
    """Return the histogram of all rounds."""
    counts: dict[int, int] = {}
    for figure in figures:
        for place, count in figure[what].items():
            counts[int(place)] = counts.get(int(place), 0) + count
    return counts


def percentile(counts: dict[int, int], share: float) -> float:
    """Return the milliseconds that a share of a histogram lies at or below; NaN where too few lie beyond."""
    total = sum(counts.values())
    if total * (1 - share) < SEEN:
        return math.nan
    reached = 0
    for place in sorted(counts):
        reached += counts[place]
        if reached >= share * total:
            return BASE**place / 1e3
    return math.nan


def bars(found: Results) -> list[Bar]:
    """Answer every bar; it holds where the whole interval is on its side, and is None where figures are missing."""
    asked = found.about["servers"]
    ours = found.cpu(OURS)
    answers = []
    if BARE in asked:
        value, low, high = ratio(ours, found.cpu(BARE))
        answers.append(_bar(f"CPU at most {OVER_BARE:g}x the bare endpoint's", value, low, high, high <= OVER_BARE))
    for name, least in LESS.items():
        if name in asked:
            value, low, high = ratio(found.cpu(name), ours)
            answers.append(_bar(f"CPU at least {least:g}x less than {name}", value, low, high, low >= least))
    if TWICE in asked:
        value, low, high = ratio(found.cpu(TWICE), ours)
        within = low >= 1 - APART and high <= 1 + APART
        answers.append(_bar(f"CPU within {APART:.0%} from one worker to two", value, low, high, within))
    return [*answers, steady(found.about["steady"])]


def steady(figures: Record) -> Bar:
    """Answer whether the generator saw the steady server as it is."""
    from serving.rounds import CONNECTIONS, STEADY_MS, STEADY_RATE

    question = f"the generator sees a server of {STEADY_MS:g} ms to {STEADY_MOST - 1:.0%}, and every request answered"
    if any("error" in one for one in figures.values()):
        return Bar(question, "it failed", None)
    closed, opened = figures["closed"], figures["open"]
    times = [percentile(merged([one], "latency"), 0.5) for one in (closed, opened)]
    rates = [one["answered"] / one["seconds"] for one in (closed, opened)]
    lost = sum(one["unanswered"] + one["refused"] for one in (closed, opened))
    text = (
        f"p50 {times[0]:.2f} and {times[1]:.2f} ms; {rates[0]:,.0f} of at most {1e3 * CONNECTIONS / STEADY_MS:,.0f}/s, "
        f"{rates[1]:,.0f} of {STEADY_RATE:,.0f}/s; {lost} lost"
    )
    # A bucket is 2 % wide, so that its upper end may be as much more.
    return Bar(question, text, all(1 <= t / STEADY_MS <= STEADY_MOST for t in times) and not lost)


def whole(about: Record) -> bool:
    """Say whether a run is large enough for its bars to speak for the project."""
    return about["rounds"] >= ROUNDS and {OURS, TWICE, BARE, *LESS} <= set(about["servers"]) - set(about["failed"])


def _bar(question: str, value: float, low: float, high: float, holds: bool) -> Bar:
    known = not math.isnan(value)
    return Bar(question, f"{value:.2f} [{low:.2f}, {high:.2f}]" if known else "no figures", holds if known else None)
