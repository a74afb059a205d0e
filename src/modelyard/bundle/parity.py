"""Parity: the packed model answers as the trained one did, on real rows and on the rows most likely to differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.bundle.adversarial import UNSEEN, Thresholds, adversarial
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.bundle.runtimes.runtime import Answers, Runtime
from modelyard.core.errors import GateFailed
from modelyard.core.optional import need
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats
from modelyard.encoding.encoding import Encoding
from modelyard.families.turned import SIGNS, straight

LIMIT = 1e-5
"""Largest difference allowed: of a probability, or of the label's standard deviation."""
ROWS, LEAST_ROWS, ROWS_TIMES_TREES = 10_000, 1_000, 25_000_000
"""Real rows compared, fewer of very many trees, of more a sample: a graph that errs does so on every row that takes the
same way through it."""
_TINY = np.finfo(np.float32).tiny
_SAMPLE = 256
"""Real rows that boundary and missing rows are made from."""
ADVERSARIAL = 1_024
_CELLS = 100_000
"""Cells of adversarial rows, of which tables of thousands of columns get fewer."""
_ONE_BY_ONE = 64
"""Adversarial rows that are also asked as single rows, whose values take another way into the graph."""

Trained = Callable[[Dataset], Floats]


def check_parity(
    runtime: Runtime,
    trained: Trained,
    rows: Dataset,
    deviation: float,
    thresholds: Thresholds,
    seed: int,
    count: int = ADVERSARIAL,
    most: int = ROWS,
    logarithm: bool = False,
) -> dict[str, Any]:
    """Compare packed answers with those of the trained model.

    Compared are the rows given, rows whose numbers stand exactly at a split's threshold or one float32 beside
    it, rows with missing values and categories never seen, and adversarial rows (see `adversarial`). A forecast is
    compared on everything it can answer.

    Parameters
    ----------
    runtime : Runtime
        The packed model.
    trained : callable
        The trained one: from rows to answers, shaped as `Blend.answer` returns them.
    rows : Dataset
        Real rows: the test part, or the development part where there is none.
    deviation : float
        Standard deviation of a numeric label; 1 for classes.
    thresholds : mapping of str to float32 array
        Split points of number columns (see `graph_thresholds`).
    seed : int
        Seeds the choice of rows.
    count : int
        Adversarial rows.
    most : int
        Rows compared of those given.
    logarithm : bool
        Whether answers are exponentials of what the graph sums; see `coarseness`.

    Returns
    -------
    dict
        Facts for the manifest: rows compared of each kind, the largest difference (one digit) and its limit.

    Raises
    ------
    GateFailed
        If any answer differs by more than the limit.
    """
    facts: dict[str, Any] = {"rows": 0, "at_thresholds": 0, "missing": 0, "adversarial": 0}
    largest, limit = 0.0, LIMIT * deviation
    for kind, part in _parts(runtime, rows, thresholds, seed, count, most):
        expected = as_answers(trained(part), len(rows.schema.classes))
        found = runtime.frame(part.frame)
        if kind == "adversarial":
            names = [c.name for c in rows.schema.features]
            one_by_one = part.frame.select(names).head(_ONE_BY_ONE).to_dicts()
            found = np.concatenate([*(runtime.rows([row]) for row in one_by_one), found[len(one_by_one) :]])
        allowed = np.maximum(LIMIT * deviation, coarseness(expected, logarithm))
        apart = np.abs(found.astype(np.float64) - expected).max(axis=1, initial=0.0)
        over = np.where(np.isnan(apart), np.inf, apart / allowed)
        worst = int(np.argmax(over)) if len(apart) else 0
        if len(apart) and over[worst] > 1:
            raise _different(kind, part, worst, found, expected, float(allowed[worst]))
        limit = max(limit, float(allowed.max(initial=0.0)))
        facts[kind] = len(part)
        largest = max(largest, float(apart.max(initial=0.0)))
    limit = float(f"{limit:.3g}")
    # One digit: the rest differs between processors and says nothing.
    return {**facts, "largest": min(float(f"{largest:.0e}"), limit), "limit": limit}


def real_rows(trees: int) -> int:
    """Return how many real rows of a model of so many trees are compared."""
    return min(ROWS, max(LEAST_ROWS, ROWS_TIMES_TREES // max(1, trees)))


def coarseness(answers: Floats, logarithm: bool = False) -> Floats:
    """Return a few steps of float32 at each row's largest answer: a graph's 1,000,000 cannot be nearer than that.

    An exponential multiplies the steps of the sum it is taken of by itself.
    """
    largest = np.abs(answers).max(axis=1, initial=0.0).astype(np.float32)
    steps = np.spacing(largest)
    if logarithm:
        steps = np.maximum(steps, largest * np.spacing(np.abs(np.log(np.maximum(largest, _TINY)))))
    return np.asarray(4.0 * steps, dtype=np.float64)


def as_answers(answers: Floats, classes: int) -> Floats:
    """Return answers as the runtimes shape them, ``[n, k]``."""
    if answers.ndim == 2:
        return answers
    return np.stack([1.0 - answers, answers], axis=1) if classes else answers[:, None]


def graph_thresholds(graph: bytes, encoding: Encoding) -> Thresholds:
    """Return the split points of the graph's trees for each number column, and for the day number of each date.

    The trees' first features are the columns of the matrix of numbers; what comes after them is the graph's own, and
    then all of it once more, negated.
    """
    onnx = need("onnx", "train", "The parity gate")
    found: dict[str, list[NDArray[np.float32]]] = {}
    whole = onnx.load_from_string(graph).graph
    width = next((constant.dims[0] // 2 for constant in whole.initializer if constant.name == SIGNS), None)
    for node in _ensembles(whole):
        held = {attribute.name: attribute for attribute in node.attribute}
        feature = np.array(held["nodes_featureids"].ints)
        value = np.array(held["nodes_values"].floats, dtype=np.float32)
        splits = np.array([mode != b"LEAF" for mode in held["nodes_modes"].strings])
        for place, column in enumerate(encoding.numbers):
            if column.part in ("value", "days"):
                of_column = found.setdefault(column.name, [])
                of_column.append(value[splits & (feature == place)])
                if width is not None:
                    of_column.append(straight(value[splits & (feature == width + place)]))
    points = {name: np.unique(np.concatenate(values)) for name, values in found.items()}
    # A split at the end of float32 asks whether a value is missing; no number stands beside it.
    inside = {name: values[np.abs(values) < np.finfo(np.float32).max] for name, values in points.items()}
    return {name: values for name, values in inside.items() if len(values)}


def _ensembles(graph: Any) -> Iterator[Any]:
    """Yield the tree ensembles of a graph and of its branches: symmetric trees lie within the branch for few rows."""
    for node in graph.node:
        if node.op_type == "TreeEnsembleRegressor":
            yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _ensembles(attribute.g)


def _parts(
    runtime: Runtime, rows: Dataset, thresholds: Thresholds, seed: int, count: int, most: int
) -> Iterator[tuple[str, Dataset]]:
    if isinstance(runtime, ArraysRuntime):
        yield "rows", replace(rows, frame=runtime.known(), extras={})
        return
    random = np.random.default_rng(derive_seed(seed, "parity"))
    yield "rows", rows if len(rows) <= most else rows.take(np.sort(random.choice(len(rows), most, replace=False)))
    sample = rows.take(random.choice(len(rows), size=min(_SAMPLE, len(rows)), replace=False))
    if thresholds:
        yield "at_thresholds", replace(sample, frame=_at_thresholds(sample.frame, thresholds, random))
    yield "missing", replace(sample, frame=_with_gaps(sample, random))
    count = min(count, max(_ONE_BY_ONE, _CELLS * count // ADVERSARIAL // len(rows.schema.features)))
    yield "adversarial", adversarial(rows, thresholds, count, random)


def _at_thresholds(frame: pl.DataFrame, thresholds: Thresholds, random: np.random.Generator) -> pl.DataFrame:
    """Move every number to a threshold of its column, to the float32 below it or to the one above."""
    moved = []
    for name, values in thresholds.items():
        if frame.schema.get(name) != pl.Float64:
            continue  # a boolean has no value beside its threshold, and a date is left to the adversarial rows
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
        if column.kind in ("category", "text"):
            value = pl.when(dice > 2 / 3).then(pl.lit(UNSEEN)).otherwise(value)
        changed.append(value.alias(column.name))
    return sample.frame.with_columns(changed)


def _different(kind: str, part: Dataset, worst: int, found: Answers, expected: Floats, limit: float) -> GateFailed:
    where = {
        "rows": "a real row",
        "at_thresholds": "a row at a threshold",
        "missing": "a row with gaps",
        "adversarial": "a row of values hard to answer",
    }[kind]
    row = {c.name: part.frame[c.name][worst] for c in part.schema.features}
    return GateFailed(
        f"The packed model does not answer as the trained one did: it says {found[worst].tolist()} for {where}, "
        f"the trained one {expected[worst].tolist()}.",
        where=f"The row: {row}",
        allowed=f"A difference of {limit:.1e}.",
        do="Nothing was packed. Please report this row and the recipe: the export is wrong.",
    )
