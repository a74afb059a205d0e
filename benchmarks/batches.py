"""How fast are 100,000 rows, and one: a bundle beside the libraries' own boosters and the bare ONNX Runtime call.

``make bench-batches [SETS="adult"] [ROUNDS=200]``. Boosters of each library are fitted for so many rounds, packed alone
and all together, and timed on the same thread count, in turn within one run, the best of ``--repeats`` each.

Batch, per tree and row: the native booster predicts from its encoded float32 matrix; the bundle from the typed table,
encoding, blend and calibration included (``bundle``), and the graph alone from its inputs (``graph``). The ratio
is bundle over native: 1 or more means at least the native booster's own throughput. It fails below ``--least``.

One row, microseconds at the median: ``Bundle.predict_proba`` (or `predict`) of a dict beside the bare ONNX Runtime call
on ready matrices. It fails over 4 times that call.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parent))
from made import blend, brief_of, bundle, fitted, installed, offered
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.runtimes.onnx import OnnxRuntime
from modelyard.data.dataset import Parts
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.fitted import Fitted
from modelyard.families.tabular.models import Model, load_models, read_for
from modelyard.families.tabular.tables import look_up
from modelyard.families.tabular.text_tables import with_figures

BATCH = 100_000
SINGLES = 2_000
MOST = 4.0
BOOSTERS = ("lightgbm", "xgboost", "catboost")


def main() -> int:
    """Time each set, print the table and one last line; return 1 where a bar does not hold."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("sets", nargs="*", default=[], metavar="SET")
    words.add_argument("--rows", type=int, default=20_000, help="rows drawn from each set, at most")
    words.add_argument("--rounds", type=int, default=200)
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--least", type=float, default=1.0)
    asked = words.parse_args()
    print(
        f"{'set':<20}{'members':<11}{'trees':>6}  ns a tree and row: {'native':>7}{'graph':>7}{'bundle':>7}{'ratio':>6}"
        f"  one row, us: {'bare':>6}{'dict':>6}{'ratio':>6}  holds"
    )
    failed = []
    for one, frame in installed(asked.sets):
        frame = frame.sample(min(asked.rows, frame.height), seed=0)
        brief = brief_of(one, 120.0, 0)
        parts = split(read_data(frame, brief), brief)
        candidates = offered(brief, parts)
        members = [fitted(candidates[name], parts, asked.rounds) for name in BOOSTERS if name in candidates]
        chosen: list[Sequence[Fitted]] = [*([m] for m in members), members]
        for some in chosen:
            name = some[0].candidate.name if len(some) == 1 else "all"
            line, good = _timed(some, bundle(blend(some, brief, parts), parts), parts, asked.repeats, asked.least)
            failed += [] if good else [f"{one.name} {name}"]
            print(f"{one.name:<20}{name:<11}{line}", flush=True)
    print(f"batches: {'all hold' if not failed else 'NOT HELD: ' + ', '.join(failed)}")
    return 1 if failed else 0


def _timed(members: Sequence[Fitted], packed: Bundle, parts: Parts, repeats: int, least: float) -> tuple[str, bool]:
    runtime = packed.runtime
    assert isinstance(runtime, OnnxRuntime)
    frame = (parts.development if parts.test is None else parts.test).frame.select(
        c.name for c in packed.schema.features
    )
    batch = pl.concat([frame] * -(-BATCH // len(frame))).head(BATCH)
    inputs = packed.manifest.encoding.inputs_of_frame(batch)
    natives = [_native(model, x) for model, x in _features(members, parts, batch)]
    ask = packed.predict if packed.labels is None else packed.predict_proba
    found = _in_turn(
        {
            "native": lambda: [call() for call in natives],
            "graph": lambda: _graph(runtime, inputs),
            "bundle": lambda: ask(batch),
        },
        repeats,
    )
    trees = packed.manifest.facts["trees"]
    each = {name: 1e9 * seconds / (BATCH * max(1, trees)) for name, seconds in found.items()}
    rows = plain_rows(frame.head(SINGLES), packed.schema)
    bare, single = _singles(packed, runtime, rows, ask)
    ratio, over = each["native"] / each["bundle"], single / bare
    good = ratio >= least and over <= MOST
    return (
        f"{trees:>6}  {'':<19}{each['native']:>7.2f}{each['graph']:>7.2f}{each['bundle']:>7.2f}{ratio:>6.2f}"
        f"  {'':<13}{bare:>6.0f}{single:>6.0f}{over:>6.1f}  {'yes' if good else 'NO'}"
    ), good


def _features(members: Sequence[Fitted], parts: Parts, batch: pl.DataFrame) -> list[tuple[Model, Any]]:
    """Return each booster beside the matrix it predicts from."""
    rows = parts.development.take(np.zeros(1, dtype=np.int64))
    data = type(rows)(batch, rows.schema, rows.fingerprint)
    found = []
    for member in members:
        inputs = read_for(member, data)
        for model in load_models(member):
            read = model.derived.extend(with_figures(inputs, model.texts))
            found.append((model, np.ascontiguousarray(look_up(read, model.tables))))
    return found


def _native(model: Model, x: Any) -> Callable[[], Any]:
    """Return the library's own call on one thread, its model loaded beforehand."""
    if model.algorithm == "lightgbm":
        import lightgbm

        booster = lightgbm.Booster(model_str=model.text)
        return lambda: booster.predict(x, raw_score=True, num_threads=1)
    if model.algorithm == "xgboost":
        from modelyard.families.tabular.xgboost_trees import _booster

        native = _booster(model.text)
        return lambda: native.inplace_predict(x, predict_type="margin")
    from modelyard.families.tabular.catboost_trees import _model

    trees = _model(model.text)
    return lambda: trees.predict(x, prediction_type="RawFormulaVal", thread_count=1)


def _graph(runtime: OnnxRuntime, inputs: dict[str, Any]) -> None:
    runtime.answer(inputs)


def _in_turn(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the least seconds of each call, all in turn, the first round left out."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if turn:
                found[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in found.items()}


def _singles(packed: Bundle, runtime: OnnxRuntime, rows: list[dict[str, Any]], ask: Any) -> tuple[float, float]:
    """Return the median microseconds of a bare call and of a dict, each of other rows: their trees must not be warm."""
    checked = [packed.schema.check_row(row) for row in rows]
    ready = [packed.manifest.encoding.inputs_of_rows([row]) for row in checked]
    ready = ready[len(ready) // 2 :] + ready[: len(ready) // 2]
    bare, single = [], []
    for row, inputs in zip(rows, ready, strict=True):
        began = time.perf_counter_ns()
        runtime.answer(inputs)
        between = time.perf_counter_ns()
        ask(row)
        bare.append(between - began)
        single.append(time.perf_counter_ns() - between)
    return float(np.median(bare)) / 1e3, float(np.median(single)) / 1e3


if __name__ == "__main__":
    sys.exit(main())
