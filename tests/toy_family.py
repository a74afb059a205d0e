"""A family small enough to see through: generalised linear models by gradient descent on numbers alone.

Training is tested with it, which also shows that the seam asks for no more than its four words.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl

from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.data.dataset import Dataset, Fold, Parts, Split
from modelyard.data.schema import Column, Schema
from modelyard.families.fitted import Blend, Candidate, Cost, Curve, Export, Fitted, Range
from modelyard.selection.plan import Plan

MOST_STEPS = 60


class Toy:
    """Linear scores of the numeric features, optionally squared too; steps of descent are its rounds.

    Parameters
    ----------
    pause : float
        Seconds every fold waits, to be slow on purpose.
    log : path, optional
        Gets a line for every fold fitted, with its number and rows, so that another process can count them.
    """

    name = "toy"
    tasks = frozenset({"binary", "multiclass", "regression"})
    refits = False

    def __init__(self, pause: float = 0.0, log: Path | None = None) -> None:
        self.pause, self.log = pause, log

    def candidates(self, brief, profile, data):
        return (candidate("plain"), candidate("squares", squares=True))

    def fit(self, candidate, parts, seed, watch=None, rounds=None):
        began = time.monotonic()
        if candidate.parameters.get("fails"):
            raise RuntimeError("the toy broke")
        data = parts.development
        x, truth = matrix(data, candidate.parameters["squares"]), data.truth()
        outputs = len(data.schema.classes) if data.schema.task == "multiclass" else 1
        target = np.eye(outputs)[truth] if outputs > 1 else truth[:, None].astype(float)
        scores = np.full((len(data), outputs), np.nan)
        random = np.random.default_rng(seed)
        weights, counts, curves = [], [], []
        for number, fold in enumerate(parts.split.folds):
            time.sleep(self.pause)
            if self.log is not None:
                with self.log.open("a") as file:
                    file.write(f"{candidate.name} {number} {len(fold.train)}\n")
            held = random.random(len(fold.train)) < 0.2
            limit = MOST_STEPS if rounds is None else rounds[number]
            w, count, curve = descend(
                x[fold.train], target[fold.train], held, candidate.parameters["rate"], limit, rounds is None,
                data.schema.task,
            )  # fmt: skip
            scores[fold.score] = x[fold.score] @ w
            weights.append(w)
            counts.append(count)
            curves.append(Curve(number, tuple(range(1, len(curve) + 1)), tuple(curve), tuple(curve)))
            if watch is not None:
                seen = np.isfinite(scores[:, 0])
                watch(number, loss_of(scores[seen], target[seen], data.schema.task))
        return Fitted(
            candidate,
            {"outputs": outputs},
            {"weights": np.array(weights)},
            {"note": f"{candidate.name}: {counts}"},
            scores,
            tuple(counts),
            time.monotonic() - began,
            tuple(curves),
        )

    def predict(self, fitted, rows):
        return matrix(rows, fitted.candidate.parameters["squares"]) @ fitted.arrays["weights"].mean(axis=0)

    def export(self, blend: Blend, data: Dataset) -> Export:
        raise NotImplementedError


def descend(x, target, held, rate, limit, stopping, task):
    w = np.zeros((x.shape[1], target.shape[1]))
    best, best_w, best_count, curve = np.inf, w, 0, []
    learn = ~held
    for step in range(1, limit + 1):
        slack = link(x[learn] @ w, task) - target[learn]
        w = w - rate * x[learn].T @ slack / learn.sum()
        loss = loss_of(x[held] @ w, target[held], task)
        curve.append(loss)
        if not stopping or loss < best:
            best, best_w, best_count = loss, w, step
    return best_w, best_count, curve


def link(z, task):
    if task == "regression":
        return z
    if z.shape[1] == 1:
        return 1 / (1 + np.exp(-z))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def loss_of(z, target, task):
    p = link(z, task)
    if task == "regression":
        return float(np.mean((p - target) ** 2))
    p = np.clip(p, 1e-12, 1 - 1e-12)
    if z.shape[1] == 1:
        return float(-np.mean(target * np.log(p) + (1 - target) * np.log(1 - p)))
    return float(-np.mean(np.sum(target * np.log(p), axis=1)))


def matrix(data, squares):
    names = [c.name for c in data.schema.features]
    x = data.frame.select(pl.col(names).cast(pl.Float64)).to_numpy()
    return np.hstack([np.ones((len(x), 1)), x, *([x**2] if squares else [])])


def candidate(name, *, squares=False, rate=0.3, seconds=0.05, searched=True, title="", fails=False):
    return Candidate(
        name,
        "toy",
        title or name.title(),
        {"squares": squares, "rate": rate, **({"fails": True} if fails else {})},
        {"rate": Range("float", 0.01, 0.5, log=True)} if searched else {},
        "a toy",
        Cost(seconds, 1.0),
    )


def dataset(task="binary", rows=300, seed=0, classes=3):
    """Return a table of two numbers and a label they explain, its second one by its square."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 2))
    z = x[:, 0] + x[:, 1] ** 2 - 1 + random.normal(size=rows)
    if task == "regression":
        label, names = z, ()
    elif task == "binary":
        label, names = np.where(z > 0, "yes", "no"), ("no", "yes")
    else:
        cuts = np.quantile(z, np.linspace(0, 1, classes + 1)[1:-1])
        names = tuple(f"c{i}" for i in range(classes))
        label = np.array(names)[np.searchsorted(cuts, z)]
    columns = (
        Column("a", "number", "feature", "float"),
        Column("b", "number", "feature", "float"),
        Column("y", "category" if names else "number", "label", "string" if names else "float"),
    )
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": label})
    return Dataset(frame, Schema(columns, task, names), f"{seed:04x}" * 16)


def parts_of(data, folds=3, strategy="random"):
    """Return interleaved folds, or expanding windows; the last tenth is the test part."""
    kept = len(data) * 9 // 10
    rows = np.arange(kept)
    if strategy == "time":
        block = rows * (folds + 1) // kept
        made = tuple(Fold(rows[block < i], rows[block == i]) for i in range(1, folds + 1))
    else:
        made = tuple(Fold(rows[rows % folds != i], rows[rows % folds == i]) for i in range(folds))
    split = Split(strategy, "interleaved", rows, np.arange(kept, len(data)), made)
    return Parts(data.take(rows), data.take(split.test), split)


def plan_of(data, candidates=None, metric=None, seconds=60.0, trials=0, **brief):
    task = data.schema.task
    metric = metric or {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[task]
    made = Brief(
        use_case="toy", task=task, metric=metric, data=DataBrief(label="y"), budget=Budget(seconds, trials), **brief
    )
    tried = candidates or (candidate("plain"), candidate("squares", squares=True))
    return Plan(made, data.schema, data.fingerprint, len(data), "toy", metric, tried, (), (), Cost(1.0, 1.0), (), 1)
