"""Parity: the packed model answers as the trained one did, on real rows and on the rows most likely to differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.runtimes.runtime import Answers, Runtime
from modelyard.core.errors import GateFailed
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats
from modelyard.families.family import Family
from modelyard.families.fitted import Blend

LIMIT = 1e-5
"""Largest difference allowed: of a probability, or of the label's standard deviation."""
UNSEEN = "\u2205 never seen"
_SAMPLE = 256
"""Real rows that boundary and missing rows are made from."""

Thresholds = Mapping[str, NDArray[np.float32]]


def check_parity(
    runtime: Runtime, family: Family, blend: Blend, rows: Dataset, deviation: float, thresholds: Thresholds, seed: int
) -> dict[str, Any]:
    """Compare packed answers with those of the fitted members.

    Compared are all the rows given, rows whose numbers stand exactly at a split's threshold or one float32 beside
    it, and rows with missing values and categories never seen. A forecast is compared on everything it can answer.

    Parameters
    ----------
    runtime : Runtime
        The packed model.
    family, blend : Family, Blend
        The trained one.
    rows : Dataset
        Real rows: the test part, or the development part where there is none.
    deviation : float
        Standard deviation of a numeric label; 1 for classes.
    thresholds : mapping of str to float32 array
        Split points of number columns (see `graph_thresholds`).
    seed : int
        Seeds the choice of rows.

    Returns
    -------
    dict
        Facts for the manifest: rows compared of each kind, the largest difference (one digit) and its limit.

    Raises
    ------
    GateFailed
        If any answer differs by more than the limit.
    """
    facts: dict[str, Any] = {"rows": 0, "at_thresholds": 0, "missing": 0}
    largest, limit = 0.0, LIMIT * deviation
    for kind, part in _parts(runtime, rows, thresholds, seed):
        expected = as_answers(trained_answers(family, blend, part), len(rows.schema.classes))
        found = runtime.frame(part.frame)
        allowed = max(limit, _coarseness(expected))
        apart = np.abs(found.astype(np.float64) - expected).max(axis=1, initial=0.0)
        worst = int(np.argmax(np.where(np.isnan(apart), np.inf, apart))) if len(apart) else 0
        if len(apart) and not apart[worst] <= allowed:
            raise _different(kind, part, worst, found, expected, allowed)
        facts[kind] = len(part)
        largest = max(largest, float(apart.max(initial=0.0)))
    # One digit: the rest differs between processors and says nothing.
    return {**facts, "largest": float(f"{largest:.0e}"), "limit": float(f"{limit:.3g}")}


def _coarseness(answers: Floats) -> float:
    """Return a few steps of float32 at the largest answer: a graph's 1,000,000 cannot be nearer than that."""
    return 4.0 * float(np.spacing(np.float32(np.abs(answers).max(initial=0.0))))


def trained_answers(family: Family, blend: Blend, rows: Dataset) -> Floats:
    """Return the blend's answers for rows it has not seen, shaped as `Blend.answer` returns them."""
    raw = [weight * family.predict(fitted, rows) for fitted, weight in blend.members]
    return blend.answer(np.sum(raw, axis=0))


def as_answers(answers: Floats, classes: int) -> Floats:
    """Return answers as the runtimes shape them, ``[n, k]``."""
    if answers.ndim == 2:
        return answers
    return np.stack([1.0 - answers, answers], axis=1) if classes else answers[:, None]


def graph_thresholds(graph: bytes, rows: Dataset) -> Thresholds:
    """Return, for each number column, split points of the graph's trees that lie within the column's range.

    A tree's feature is a place in the graph's own feature matrix, which no column name leads back to; the range
    leaves those of its own and some of others, and both are rows worth comparing.
    """
    from modelyard.core.optional import need

    model = need("onnx", "train", "The parity gate").load_from_string(graph)
    pool = np.unique(np.concatenate([np.zeros(0, np.float32), *_split_points(model.graph.node)]))
    columns = [c for c in rows.schema.features if c.kind == "number" and c.low is not None and c.high is not None]
    found = {c.name: pool[(pool >= np.float32(c.low)) & (pool <= np.float32(c.high))] for c in columns}
    return {name: values for name, values in found.items() if len(values)}


def _split_points(nodes: Sequence[Any]) -> Iterator[NDArray[np.float32]]:
    from onnx import numpy_helper

    for node in nodes:
        for attribute in node.attribute:
            if attribute.name == "nodes_values":
                yield np.asarray(attribute.floats, dtype=np.float32)
            elif attribute.name in {"nodes_values_as_tensor", "nodes_splits"}:
                yield numpy_helper.to_array(attribute.t).astype(np.float32)


def _parts(runtime: Runtime, rows: Dataset, thresholds: Thresholds, seed: int) -> Iterator[tuple[str, Dataset]]:
    if isinstance(runtime, ArraysRuntime):
        yield "rows", replace(rows, frame=runtime.known(), extras={})
        return
    yield "rows", rows
    random = np.random.default_rng(derive_seed(seed, "parity"))
    sample = rows.take(random.choice(len(rows), size=min(_SAMPLE, len(rows)), replace=False))
    if thresholds:
        yield "at_thresholds", replace(sample, frame=_at_thresholds(sample.frame, thresholds, random))
    yield "missing", replace(sample, frame=_with_gaps(sample, random))


def _at_thresholds(frame: pl.DataFrame, thresholds: Thresholds, random: np.random.Generator) -> pl.DataFrame:
    """Move every number to a threshold of its column, to the float32 below it or to the one above."""
    moved = []
    for name, values in thresholds.items():
        chosen = random.choice(values, size=frame.height)
        beside = random.choice(np.array([-np.inf, 0.0, np.inf], dtype=np.float32), size=frame.height)
        put = np.where(beside == 0, chosen, np.nextafter(chosen, beside))
        moved.append(pl.Series(name, put.astype(np.float64)))
    return frame.with_columns(moved)


def _with_gaps(sample: Dataset, random: np.random.Generator) -> pl.DataFrame:
    """Leave a third of all values out, and turn a third of all categories into one that was never seen."""
    changed = []
    for column in sample.schema.features:
        if column.role == "time":
            continue
        dice = pl.Series(random.random(len(sample)))
        value = pl.when(dice < 1 / 3).then(None).otherwise(pl.col(column.name))
        if column.kind == "category":
            value = pl.when(dice > 2 / 3).then(pl.lit(UNSEEN)).otherwise(value)
        changed.append(value.alias(column.name))
    return sample.frame.with_columns(changed)


def _different(kind: str, part: Dataset, worst: int, found: Answers, expected: Floats, limit: float) -> GateFailed:
    where = {"rows": "a real row", "at_thresholds": "a row at a threshold", "missing": "a row with gaps"}[kind]
    row = {c.name: part.frame[c.name][worst] for c in part.schema.features}
    return GateFailed(
        f"The packed model does not answer as the trained one did: it says {found[worst].tolist()} for {where}, "
        f"the trained one {expected[worst].tolist()}.",
        where=f"The row: {row}",
        allowed=f"A difference of {limit:.1e}.",
        do="Nothing was packed. Please report this row and the recipe: the export is wrong.",
    )
