"""Small bundles made by hand: real files and real runtimes, without training anything."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper

from modelyard.brief.brief import Brief, DataBrief, Target
from modelyard.bundle.load import Bundle, load_bundle
from modelyard.bundle.manifest import FORMAT, Lineage, Manifest
from modelyard.bundle.write import write_bundle
from modelyard.data.dataset import Dataset, Parts, Split
from modelyard.data.profile import ColumnProfile, Profile
from modelyard.data.schema import Column, Schema
from modelyard.encoding.encoding import Encoding
from modelyard.evaluation.report import Baseline, Confusion, Estimate, Importance, Report, TargetResult
from modelyard.families.fitted import Blend, Candidate, Cost, Export, Fitted
from modelyard.selection.plan import Plan
from modelyard.training.run import Entry, Run

CITIES = ("Bergen", "Oslo", "Tromsø")
FEATURES = (
    Column("age", "number", "feature", "integer", distinct=60, low=18.0, high=90.0),
    Column("income", "number", "feature", "float", missing=0.1, distinct=500, low=0.0, high=9e4),
    Column("city", "category", "feature", "string", missing=0.05, distinct=3, levels=CITIES),
    Column("member", "boolean", "feature", "boolean", distinct=2, levels=("false", "true")),
    Column("joined", "date", "feature", "date", missing=0.1, distinct=300),
)
LABELS: Mapping[str, tuple[Column, tuple[str, ...]]] = {
    "binary": (Column("left", "category", "label", "integer", distinct=2, levels=("0", "1")), ("0", "1")),
    "multiclass": (
        Column("plan", "category", "label", "string", distinct=3, levels=("basic", "family", "pro")),
        ("basic", "family", "pro"),
    ),
    "regression": (Column("spend", "number", "label", "float", distinct=900, low=0.0, high=500.0), ()),
}
ROW: dict[str, Any] = {"age": 41, "income": 52_000.0, "city": "Oslo", "member": True, "joined": "2024-03-09"}

PLAIN = {name: value for name, value in ROW.items() if name != "joined"}
"""A row without the date, whose parts the graph of `Stumps` is given: the server has a quick way for it."""


def schema(task: str) -> Schema:
    """Return a schema of five features and the label of the task."""
    label, classes = LABELS[task]
    return Schema((Column("id", "id", "ignored", "integer"), *FEATURES, label), task, classes)  # type: ignore[arg-type]


def table(task: str, rows: int = 300, seed: int = 0) -> Dataset:
    """Return typed rows of that schema, with gaps."""
    random = np.random.default_rng(seed)
    made = schema(task)
    days = random.integers(0, 700, rows)
    columns: dict[str, Any] = {
        "id": pl.Series([str(i) for i in range(rows)]),
        "age": pl.Series(random.integers(18, 91, rows).astype(float)),
        "income": _with_gaps(random, random.uniform(0, 9e4, rows).tolist()),
        "city": _with_gaps(random, [CITIES[i] for i in random.integers(0, 3, rows)]),
        "member": pl.Series(random.random(rows) < 0.5),
        "joined": _with_gaps(random, [datetime(2023, 1, 1) + timedelta(days=int(d)) for d in days]),
    }
    label, classes = LABELS[task]
    columns[label.name] = (
        pl.Series([classes[i] for i in random.integers(0, len(classes), rows)])
        if classes
        else pl.Series(random.uniform(0, 500, rows))
    )
    return Dataset(pl.DataFrame(columns), made, "f" * 64)


def _with_gaps(random: np.random.Generator, values: list[Any]) -> pl.Series:
    return pl.Series([None if gap < 0.1 else v for v, gap in zip(values, random.random(len(values)), strict=True)])


class Stumps:
    """A family small enough to check by eye: one split for each number, one value for each city."""

    name = "stumps"
    tasks = frozenset({"binary", "multiclass", "regression"})
    refits = False

    nudge = False

    def candidates(self, brief: Brief, profile: Profile, data: Dataset) -> tuple[Candidate, ...]:
        return (Candidate("stumps", self.name, "Stumps", {}, {}, "for tests", Cost(0.0, 1.0)),)

    def fit(self, candidate: Candidate, parts: Parts, seed: int, watch: Any = None, rounds: Any = None) -> Fitted:
        made = parts.development.schema
        outputs = len(made.classes) if len(made.classes) > 2 else 1
        random = np.random.default_rng(seed)
        numbers, _ = Encoding.of(made).frame(parts.development.frame)
        arrays = {
            "thresholds": np.nanmedian(numbers, axis=0).astype(np.float32),
            "left": random.normal(size=(numbers.shape[1], outputs)).astype(np.float32),
            "right": random.normal(size=(numbers.shape[1], outputs)).astype(np.float32),
            "cities": random.normal(size=(len(CITIES) + 1, outputs)).astype(np.float32),
        }
        fitted = Fitted(candidate, {}, arrays, {}, np.zeros((len(parts.development), outputs)), (1,))
        return replace(fitted, scores=self.predict(fitted, parts.development))

    def predict(self, fitted: Fitted, rows: Dataset) -> Any:
        numbers, strings = Encoding.of(rows.schema).frame(rows.frame)
        a = fitted.arrays
        goes_left = (numbers <= a["thresholds"])[:, :, None]  # NaN goes right
        places = [CITIES.index(c) if c in CITIES else len(CITIES) for c in strings[:, 0]]
        raw = np.where(goes_left, a["left"][None], a["right"][None]).astype(np.float64).sum(axis=1)
        return raw + a["cities"][places]

    def export(self, blend: Blend, data: Dataset) -> Export:
        ((fitted, _),) = blend.members
        graph = stumps_graph(fitted.arrays, blend.link, self.nudge)
        return Export("onnx", {"model.onnx": graph}, {"trees": len(fitted.arrays["thresholds"]), "members": ["stumps"]})


class Nudged(Stumps):
    """Exports thresholds one float32 too high: the fault the parity gate is there to find."""

    nudge = True


def stumps_graph(arrays: Mapping[str, Any], link: str, nudge: bool = False) -> bytes:
    """Return the graph of `Stumps` as ONNX."""
    thresholds, outputs = arrays["thresholds"], arrays["left"].shape[1]
    if nudge:
        thresholds = np.nextafter(thresholds, np.float32(np.inf))
    p = len(thresholds)
    trees, feature, mode, value, yes, no, node = [], [], [], [], [], [], []
    at_tree, at_node, at_target, weight = [], [], [], []
    for tree in range(p):
        trees += [tree] * 3
        node += [0, 1, 2]
        feature += [tree, 0, 0]
        mode += ["BRANCH_LEQ", "LEAF", "LEAF"]
        value += [float(thresholds[tree]), 0.0, 0.0]
        yes, no = [*yes, 1, 0, 0], [*no, 2, 0, 0]
        for leaf, side in ((1, "left"), (2, "right")):
            for target in range(outputs):
                at_tree.append(tree)
                at_node.append(leaf)
                at_target.append(target)
                weight.append(float(arrays[side][tree, target]))
    forest = helper.make_node(
        "TreeEnsembleRegressor", ["numbers"], ["forest"], domain="ai.onnx.ml", n_targets=outputs,
        nodes_treeids=trees, nodes_nodeids=node, nodes_featureids=feature, nodes_modes=mode, nodes_values=value,
        nodes_truenodeids=yes, nodes_falsenodeids=no, nodes_missing_value_tracks_true=[0] * len(node),
        target_treeids=at_tree, target_nodeids=at_node, target_ids=at_target, target_weights=weight,
    )  # fmt: skip
    encode = helper.make_node(
        "LabelEncoder", ["strings"], ["places"], domain="ai.onnx.ml",
        keys_strings=list(CITIES), values_int64s=list(range(len(CITIES))), default_int64=len(CITIES),
    )  # fmt: skip
    nodes = [
        forest,
        encode,
        helper.make_node("Gather", ["cities", "places"], ["picked"], axis=0),
        helper.make_node("Squeeze", ["picked", "one"], ["city"]),
        helper.make_node("Add", ["forest", "city"], ["raw"]),
    ]
    if link == "softmax":
        nodes.append(helper.make_node("Softmax", ["raw"], ["answer"], axis=1))
    elif link == "logistic":
        nodes += [
            helper.make_node("Neg", ["raw"], ["against"]),
            helper.make_node("Concat", ["against", "raw"], ["both"], axis=1),
            helper.make_node("Sigmoid", ["both"], ["answer"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["raw"], ["answer"]))
    width = 2 if link == "logistic" else outputs
    graph = helper.make_graph(
        nodes,
        "stumps",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["n", p]),
            helper.make_tensor_value_info("strings", TensorProto.STRING, ["n", 1]),
        ],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["n", width])],
        [
            numpy_helper.from_array(arrays["cities"], "cities"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString(deterministic=True)


LINKS = {"binary": "logistic", "multiclass": "softmax", "regression": "identity"}


def blend(task: str, data: Dataset, seed: int = 3) -> Blend:
    """Return a blend of one fitted member."""
    family = Stumps()
    rows = np.arange(len(data))
    parts = Parts(data, None, Split("random", "for tests", rows, rows[:0], ()))
    (candidate,) = family.candidates(Brief(), Profile(0, ()), data)
    fitted = family.fit(candidate, parts, seed=seed)
    return Blend(((fitted, 1.0),), LINKS[task], 1.0, (0.0,) * fitted.scores.shape[1])  # type: ignore[arg-type]


FORECAST = Schema(
    (
        Column("shop", "category", "group", "string", distinct=2, levels=("north", "south")),
        Column("day", "date", "time", "date", distinct=200),
        Column("sold", "number", "label", "float", low=0.0, high=100.0),
    ),
    "forecast",
)


def forecast_export(horizon: int = 7) -> Export:
    """Return the forecast of two shops for a week."""
    start = int(np.datetime64("2024-01-01", "us").astype(np.int64))
    times = start + np.arange(horizon, dtype=np.int64) * 86_400 * 10**6
    mean = np.array([np.arange(horizon) + 10.0, np.arange(horizon) + 50.0])
    held = {
        "series": np.array(["north", "south"]),
        "times": np.stack([times, times]),
        "mean": mean,
        "low_80": mean - 3,
        "high_80": mean + 3,
        "low_95": mean - 6,
        "high_95": mean + 6,
    }
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    return Export("arrays", {"forecast.npz": buffer.getvalue()}, {"members": ["naive"]})


def draft(made: Schema, export: Export, **changes: Any) -> Manifest:
    """Return a manifest without files."""
    estimate = {"metric": "roc_auc", "value": 0.8, "low": 0.75, "high": 0.85, "n": 100, "on": "test"}
    manifest = Manifest(
        format=FORMAT,
        name="churn",
        brief=Brief(use_case="churn", task=made.task, data=DataBrief(path="churn.csv", label="left")),
        schema=made,
        encoding=Encoding.of(made, moments=export.moments),
        runtime=export.runtime,
        threshold=0.4 if made.task == "binary" else None,
        facts=dict(export.facts),
        estimate=estimate,
        files={},
        lineage=Lineage("stumps-1", "2024-03-09T12:00:00Z", None, "f" * 64, {"python": "3.11", "lightgbm": "4.7.0"}),
    )
    return replace(manifest, **changes)


def make(folder: Path, task: str = "binary", **changes: Any) -> Path:
    """Write a bundle of that task and return its folder."""
    if task == "forecast":
        made, export = FORECAST, forecast_export()
        examples: list[dict[str, Any]] = [{"shop": "north", "day": "2024-01-02"}]
    else:
        data = table(task)
        made, export = data.schema, Stumps().export(blend(task, data), data)
        examples = [ROW]
    column = ColumnProfile("age", "number", (30.0, 60.0), (), (3, 4, 5), 0)
    profile = Profile(12, (column,))
    return write_bundle(
        folder, draft(made, export, **changes), export, profile=profile, card="# Card\n", examples=examples
    )


def make_plain(folder: Path, task: str = "binary", seed: int = 3, **changes: Any) -> Path:
    """Write a bundle without the date and return its folder; another seed is another model."""
    label, classes = LABELS[task]
    made = Schema((*(c for c in FEATURES if c.name != "joined"), label), task, classes)  # type: ignore[arg-type]
    data = table(task)
    data = Dataset(data.frame.select([c.name for c in made.columns]), made, data.fingerprint)
    export = Stumps().export(blend(task, data, seed), data)
    profile = Profile(12, ())
    return write_bundle(
        folder, draft(made, export, **changes), export, profile=profile, card="# Card\n", examples=[PLAIN]
    )


def bundle(folder: Path, task: str = "binary", **changes: Any) -> Bundle:
    """Write a bundle of that task and load it."""
    return load_bundle(make(folder, task, **changes))


def trained(task: str, rows: int = 300, name: str = "stumps-1") -> tuple[Run, Parts]:
    """Return a run of `Stumps` and the parts it was given."""
    data = table(task, rows)
    cut = rows * 4 // 5
    split = Split("random", "for tests", np.arange(cut), np.arange(cut, rows), ())
    parts = Parts(data.take(split.development), data.take(split.test), split)
    brief = Brief(
        use_case="Who leaves?",
        task=data.schema.task,
        data=DataBrief(path=f"/home/{name}/churn.csv"),
        source="/x/b.yaml",
    )
    (candidate,) = Stumps().candidates(brief, Profile(0, ()), data)
    plan = Plan(
        brief, data.schema, data.fingerprint, rows, "stumps", METRICS[task], (candidate,), (), (), candidate.cost, (), 2
    )
    made = blend(task, parts.development)
    ((fitted, _),) = made.members
    answers = made.answer(fitted.scores)
    entry = Entry("stumps", "Stumps", {}, 0.8, 1.0, 0.1)
    environment = {"python": "3.11", "platform": f"Linux-{name}", "numpy": np.__version__}
    run = Run(
        name,
        "1",
        plan,
        parts.development,
        made,
        answers,
        (entry,),
        0.8,
        0.1,
        environment,
        None,
        {"uri": f"sqlite:{name}"},
    )
    return run, parts


METRICS = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse", "forecast": "mase"}


def report(run: Run) -> Report:
    """Return a report with figures that are easy to recognise."""
    classes = run.plan.schema.classes
    estimate = Estimate(run.plan.metric, 0.8, 0.75, 0.85, 60)
    confusion = Confusion(classes, ((30, 10), (5, 15)), 0.37, "F1") if len(classes) == 2 else None
    target = TargetResult(Target(run.plan.metric, ">=", 0.7), estimate, "yes")
    baseline = Baseline("mean", "Mean", estimate, 0.1, 0.05, 0.15, 0.01)
    return Report(
        run=run.name,
        task=run.plan.schema.task,
        metric=run.plan.metric,
        on="test",
        rows=60,
        estimate=estimate,
        others=(Estimate("accuracy", 0.7, float("nan"), float("nan"), 60),),
        targets=(target,),
        target_met="yes",
        baselines=(baseline,),
        beats_baseline=True,
        calibration=(),
        confusion=confusion,
        slices=(),
        importance=(Importance("age", 0.1, 0.05, 0.15),),
        worries=("Made by hand.",),
    )
