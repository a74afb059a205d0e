"""What a plan does not try, and why: said, so that nobody has to wonder."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import polars as pl

from modelyard.brief.brief import Brief
from modelyard.brief.presets import PRESETS
from modelyard.core.optional import has
from modelyard.data.dataset import Dataset
from modelyard.families.deep import DEEP_SECONDS, NETWORK, wants_network
from modelyard.families.fitted import Candidate
from modelyard.families.monotone import LOOSE
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.objective import objective
from modelyard.selection.plan import LeftOut

TEXT_WORDS = 20
"""Words of a text column under which a language model has little to read."""


def left_out(brief: Brief, data: Dataset, candidates: Sequence[Candidate]) -> tuple[LeftOut, ...]:
    """Return the kinds of model this table and brief speak against.

    Parameters
    ----------
    brief : Brief
        Its latency limit and the model it names.
    data : Dataset
        The development rows, and their text columns.
    candidates : sequence of Candidate
        What is in the plan.
    """
    names = {str(c.parameters.get("algorithm", c.name.split("-")[0])) for c in candidates}
    if brief.model != "auto":
        return (LeftOut("every other kind", f"the brief asks for {brief.model}"),)
    if data.schema.task == "forecast":
        found = []
        if names <= {"seasonal_naive"} and not has("statsforecast"):
            found.append(LeftOut("AutoETS", 'statsforecast is not installed (pip install "modelyard[forecast]")'))
        return (*found, LeftOut("neural forecasters", "this version brings none"))
    found = []
    if "catboost" not in names and not has("catboost"):
        found.append(LeftOut("CatBoost", 'it is not installed (pip install "modelyard[catboost]")'))
    limits = " and ".join(str(limit) for limit in (brief.latency, brief.size) if limit is not None)
    if names <= {"linear"} and limits:
        found.append(LeftOut("boosted trees", f"even the fewest worth growing would take too much of {limits}"))
    loose = [title for name, title in LOOSE.items() if name not in names]
    if (
        loose
        and brief.data.monotone
        and objective(find_metric(str(brief.metric))).name in ("absolute_error", "pinball")
    ):
        why = f"where {brief.metric} is fitted, their leaves do not keep to rising or falling with a column"
        found.append(LeftOut(" and ".join(loose), why))
    if NETWORK not in names:
        found.append(LeftOut("deep tabular", _deep(brief, data)))
    return (*found, _language(data), *_neighbours(brief, data))


def _deep(brief: Brief, data: Dataset) -> str:
    if brief.data.monotone:
        return f"nothing holds a network to rising or falling with {', '.join(brief.data.monotone)}"
    if not PRESETS[brief.presets].networks:
        return f"the preset {brief.presets} tries none"
    if not wants_network(brief, len(data)):
        return (
            f"{len(data):,} rows, under 10M, and a budget of {brief.budget.seconds:,.0f} s, under {DEEP_SECONDS:,.0f}"
        )
    if all(column.kind in ("text", "id") for column in data.schema.features):
        return "it reads no texts, and the table has nothing else"
    if not has("torch"):
        return 'torch is not installed (pip install "modelyard[nets]")'
    limit = "" if brief.latency is None else f", or one answer too much of {brief.latency}"
    limit += "" if brief.size is None else f", or its weights too much of {brief.size}"
    return f"even a short training would take too much of {brief.budget.seconds:,.0f} s{limit}"


def _language(data: Dataset) -> LeftOut:
    texts = [c.name for c in data.schema.features if c.kind == "text"]
    if not texts:
        return LeftOut("BERT on text", f"no text column over {TEXT_WORDS} words")
    head = data.frame.head(2_000)
    words = {name: head.select(pl.col(name).str.split(" ").list.len().mean()).item() or 0.0 for name in texts}
    longest = max(words, key=lambda name: words[name])
    if words[longest] <= TEXT_WORDS:
        return LeftOut("BERT on text", f"{longest} holds {words[longest]:.0f} words on average, not over {TEXT_WORDS}")
    return LeftOut(
        f"BERT on {longest}", f"{words[longest]:.0f} words on average would feed it, but this version brings none"
    )


def _neighbours(brief: Brief, data: Dataset) -> tuple[LeftOut, ...]:
    """Leave out models that keep their rows where reading them all takes over half the latency limit."""
    if brief.latency is None:
        return ()
    columns = max(1, len(data.schema.features))
    rows = min(len(data), 20_000_000 // columns)
    kept, one = np.ones((rows, columns), dtype=np.float32), np.ones(columns, dtype=np.float32)
    kept @ one
    began = time.perf_counter()
    kept @ one
    milliseconds = (time.perf_counter() - began) * 1e3 * len(data) / rows
    shown = f"{milliseconds:.2g}" if milliseconds < 1 else f"{milliseconds:,.1f}"
    if milliseconds < brief.latency.milliseconds / 2:
        return ()
    return (
        LeftOut(
            "nearest neighbours, Gaussian processes",
            f"one answer reads all {len(data):,} rows, {shown} ms here, over half of {brief.latency}",
        ),
    )
