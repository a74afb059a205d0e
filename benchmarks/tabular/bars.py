"""The arithmetic of the comparison: ranks, intervals over seeds, distances, and which bars hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tabular.environments import FRAMEWORKS
from tabular.results import UNTIMED, Asked, Key, Record
from tabular.sets import MAIN

OURS = "modelyard"
RIVAL = "autogluon"
WINS = 0.7
"""Share of set-seeds on which we must be better than the rival."""
BEHIND = 0.01
"""How far behind the best peer the mean of a set may be, relative."""
LATE, WORSE = 0.05, 0.001
"""How far our command may be over its budget, and our out-of-fold loss on a set over that of a smaller budget."""
WHOLE = (3, (60, 240))
"""Seeds and budgets a comparison must at least have, beside the main sets, before its bars speak for the project."""
ROW_MS = ((30, 0.3), (75, 0.6))
"""Milliseconds one row as a dict may take, for tables of at most so many columns."""
FASTER, FASTER_MEDIAN, OVER_BARE = 10.0, 50.0, 4.0
"""How many times faster than the rival: on every set, in the median; and how many times the bare call at most."""


@dataclass(frozen=True)
class Bar:
    """A question and its answer; ``holds`` is None where figures to answer it are missing."""

    question: str
    found: str
    holds: bool | None


def record_of(found: Mapping[Key, Record], framework: str, name: str, seed: int, budget: int) -> Record | None:
    """Return the run that stands for a framework at a budget."""
    return found.get(Key(framework, name, seed, 0 if framework in UNTIMED else budget))


def losses(found: Mapping[Key, Record], asked: Asked, budget: int) -> NDArray[np.float64]:
    """Return the losses at a budget.

    Returns
    -------
    float64 array of shape [sets, seeds, frameworks]
        Log loss or RMSE; infinite where the framework failed, NaN where there is no run.
    """
    table = np.full((len(asked.sets), len(asked.seeds), len(asked.frameworks)), np.nan)
    for i, name in enumerate(asked.sets):
        for j, seed in enumerate(asked.seeds):
            for k, framework in enumerate(asked.frameworks):
                record = record_of(found, framework, name, seed, budget)
                if record is not None:
                    table[i, j, k] = record.get("rmse", record.get("log_loss", math.inf))
    return table


def ranks(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each framework on each set-seed that all have run, 1 the best, ties shared: ``[n, k]``."""
    from scipy.stats import rankdata

    rows = table.reshape(-1, table.shape[-1])
    rows = rows[~np.isnan(rows).any(axis=1)]
    return np.asarray(rankdata(rows, axis=1)) if len(rows) else rows


def spread(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean and the half-width of its 95 % interval by Student's t; NaN for fewer than two values."""
    from scipy.stats import t

    if len(values) < 2 or not np.isfinite(values).all():
        return float(values.mean()) if len(values) else math.nan, math.nan
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(half)


def behind(table: NDArray[np.float64], asked: Asked) -> NDArray[np.float64]:
    """Return how far our mean loss lies behind the best peer's on each set, relative; below zero where ahead.

    Means are over the seeds that all have run, NaN where there is none, and beside each peer over those that it did not
    fail on: a mean of easier splits is no better mean. A peer that failed on all is the whole loss behind.
    """
    ours, away = asked.frameworks.index(OURS), []
    for rows in table:
        known = rows[~np.isnan(rows).any(axis=1)]
        if not len(known) or known.shape[1] < 2:
            away.append(math.nan)
            continue
        each = [-1.0]
        for peer in np.delete(known, ours, axis=1).T:
            both = np.isfinite(peer)
            each += [float(known[both, ours].mean() / peer[both].mean() - 1)] if both.any() else []
        away.append(math.inf if np.isinf(known[:, ours]).any() else max(each))
    return np.array(away)


def quality_bars(found: Mapping[Key, Record], asked: Asked, budget: int) -> list[Bar]:
    """Answer whether we are first, ahead of the rival, and never far behind, at one budget."""
    if OURS not in asked.frameworks or len(asked.frameworks) < 2:
        return [Bar(f"{budget} s: quality", f"{OURS} and a peer must be asked", None)]
    table = losses(found, asked, budget)
    known = not np.isnan(table).any()
    bars = []
    mean = ranks(table).mean(axis=0) if len(ranks(table)) else np.full(len(asked.frameworks), math.nan)
    ours = asked.frameworks.index(OURS)
    others = np.delete(mean, ours)
    text = ", ".join(f"{f} {m:.2f}" for f, m in sorted(zip(asked.frameworks, mean, strict=True), key=lambda p: p[1]))
    bars.append(Bar(f"{budget} s: first by mean rank", text, bool(mean[ours] < others.min()) if known else None))
    if RIVAL in asked.frameworks:
        pair = table[:, :, [ours, asked.frameworks.index(RIVAL)]].reshape(-1, 2)
        pair = pair[~np.isnan(pair).any(axis=1)]
        won = int((pair[:, 0] < pair[:, 1]).sum())
        text = f"{won} of {len(pair)}"
        holds = bool(won >= WINS * len(pair)) if known else None
        bars.append(Bar(f"{budget} s: better than {RIVAL} on {WINS:.0%} of set-seeds", text, holds))
    away = behind(table, asked)
    far = [f"{n} {a:+.1%}" for n, a in zip(asked.sets, away, strict=True) if a > BEHIND]
    question = f"{budget} s: at most {BEHIND:.0%} behind the best peer on every set"
    bars.append(Bar(question, ", ".join(far) or "none further", bool((away <= BEHIND).all()) if known else None))
    return bars


def own_bars(found: Mapping[Key, Record], asked: Asked) -> list[Bar]:
    """Answer what we promise of ourselves: one source made all figures, budgets are kept, and more time is no loss."""
    if OURS not in asked.frameworks:
        return []
    keys = [Key(OURS, name, seed, budget) for name in asked.sets for seed in asked.seeds for budget in asked.budgets]
    ours = {key: found[key] for key in keys if key in found}
    known, sources = len(ours) == len(keys), {record.get("code") for record in ours.values()}
    late = [
        f"{k.name} seed {k.seed}, {k.budget} s: {record.get('command_s', math.inf):.0f} s"
        for k, record in ours.items()
        if not record.get("command_s", math.inf) <= (1 + LATE) * k.budget
    ]
    unlike = [
        f"{name} seed {seed}"
        for name in asked.sets
        for seed in asked.seeds
        if len({r.get("data") for k, r in found.items() if (k.name, k.seed) == (name, seed) and "error" not in r}) > 1
    ]
    bars = [
        Bar(f"{OURS}: one source made all its figures", f"{len(sources)}", len(sources) == 1 if known else None),
        Bar("all were given the same rows", ", ".join(unlike) or "all", not unlike if known else None),
        Bar(f"{OURS}: budgets are kept to {LATE:.0%}", ", ".join(late) or "none later", not late if known else None),
    ]
    if len(asked.budgets) > 1:
        least, most = min(asked.budgets), max(asked.budgets)
        worse = []
        for name in asked.sets:
            short, long = (
                float(np.mean([ours.get(Key(OURS, name, s, b), {}).get("out_of_fold", math.nan) for s in asked.seeds]))
                for b in (least, most)
            )
            if known and not long <= (1 + WORSE) * short:  # nor where one of them failed
                worse.append(f"{name} {long / short - 1:+.1%}")
        question = f"{OURS}: out of fold, {most} s are at most {WORSE:.1%} worse than {least} s on every set"
        bars.append(Bar(question, ", ".join(worse) or "none worse", not worse if known else None))
    return bars


def latency(found: Mapping[Key, Record], asked: Asked, budget: int, framework: str, name: str, figure: str) -> float:
    """Return the median over seeds of a figure of a framework on a set; NaN where there is none."""
    records = (record_of(found, framework, name, seed, budget) for seed in asked.seeds)
    values = [r[figure] for r in records if r is not None and r.get(figure) is not None]
    return float(np.median(values)) if values else math.nan


def latency_bars(found: Mapping[Key, Record], asked: Asked, budget: int) -> list[Bar]:
    """Answer how one row as a dict compares with the rival's predictor and with the bare ONNX Runtime call."""
    if OURS not in asked.frameworks:
        return []
    ours, bare, columns = (
        np.array([latency(found, asked, budget, OURS, name, figure) for name in asked.sets])
        for figure in ("dict_ms_p50", "bare_ms_p50", "columns")
    )
    over = ours / bare
    known = not np.isnan(over).any()
    limits = np.array([next((ms for width, ms in ROW_MS if c <= width), math.inf) for c in columns])
    slow = [f"{n} {v:.2f} ms" for n, v, ms in zip(asked.sets, ours, limits, strict=True) if v > ms]
    wide = [f"{n} {v:.1f}x" for n, v in zip(asked.sets, over, strict=True) if v > OVER_BARE]
    allowed = ", ".join(f"{ms} ms up to {width} columns" for width, ms in ROW_MS)
    within, most = f"{budget} s: one row within {allowed}", f"{budget} s: one row at most {OVER_BARE:g}x the bare call"
    bars = [
        Bar(within, ", ".join(slow) or "none slower", not slow if known else None),
        Bar(most, ", ".join(wide) or "none more", not wide if known else None),
    ]
    if RIVAL in asked.frameworks:
        rival = np.array([latency(found, asked, budget, RIVAL, n, "row_ms_p50") for n in asked.sets]) / ours
        # A set the rival failed on says nothing of its speed.
        times = rival[~np.isnan(rival)]
        known &= all(Key(RIVAL, n, s, budget) in found for n in asked.sets for s in asked.seeds)
        text = f"least {times.min():.0f}x, median {np.median(times):.0f}x" if len(times) else "no figures"
        holds = bool(times.min() >= FASTER and np.median(times) >= FASTER_MEDIAN) if known and len(times) else None
        question = f"{budget} s: one row {FASTER:g}x faster than {RIVAL} on every set, {FASTER_MEDIAN:g}x in the median"
        bars.append(Bar(question, text, holds))
    return bars


def whole(asked: Asked) -> bool:
    """Say whether a comparison is large enough for its bars to speak for the project."""
    seeds, budgets = WHOLE
    return (
        set(MAIN) <= set(asked.sets)
        and len(asked.seeds) >= seeds
        and set(budgets) <= set(asked.budgets)
        and set(FRAMEWORKS) <= set(asked.frameworks)
    )
