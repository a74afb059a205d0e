"""Fit one framework on one split and measure it, inside that framework's own environment.

    VENV/bin/python runner.py FRAMEWORK SPLIT_DIR BUDGET PACKAGE OUT

Writes one JSON object to OUT. Of this project nothing is imported here unless it is the framework: a peer's
environment holds the peer, pandas and scikit-learn.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
warnings.filterwarnings("ignore")
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

SECONDS = 4.0
"""How long single rows are sent."""
ROWS = 2000
"""Single rows sent at most."""
CORES = 2
"""Cores each framework is told to use."""


@dataclass
class Fitted:
    """A fitted framework.

    Attributes
    ----------
    predict : callable
        Probabilities ``[n, k]`` or values ``[n]`` of a frame, through the public API.
    classes : sequence or None
        What the probabilities are of; None for numbers.
    facts : dict
        What else is worth recording.
    single : callable or None
        Milliseconds of one row by other ways in, if there are any.
    """

    predict: Callable[[pd.DataFrame], Any]
    classes: Any = None
    facts: dict[str, Any] = field(default_factory=dict)
    single: Callable[[pd.DataFrame], dict[str, float]] | None = None


def autogluon(train: pd.DataFrame, meta: dict[str, Any], budget: float) -> Fitted:
    """Fit AutoGluon with its best preset; the predictor is persisted in memory."""
    from autogluon.tabular import TabularPredictor

    metric = "root_mean_squared_error" if meta["task"] == "regression" else "log_loss"
    made = TabularPredictor(
        label=meta["target"], problem_type=meta["task"], eval_metric=metric, path="model", verbosity=1
    )
    made = made.fit(train, time_limit=budget, presets="best_quality_v150", num_cpus=CORES)
    made.persist()
    facts = {"best": made.model_best}
    if meta["task"] == "regression":
        return Fitted(lambda x: made.predict(x).to_numpy(), None, facts)
    return Fitted(lambda x: made.predict_proba(x).to_numpy(), made.class_labels, facts)


def flaml(train: pd.DataFrame, meta: dict[str, Any], budget: float) -> Fitted:
    """Fit FLAML; strings are given as pandas categories."""
    from flaml import AutoML

    x = train.drop(columns=[meta["target"]])
    prepare, made, numbers = _categories(x), AutoML(), meta["task"] == "regression"
    made.fit(
        prepare(x), train[meta["target"]], task="regression" if numbers else "classification",
        metric="rmse" if numbers else "log_loss", time_budget=budget, verbose=0, n_jobs=CORES, seed=1,
    )  # fmt: skip
    facts = {"best": str(made.best_estimator)}
    if numbers:
        return Fitted(lambda x: made.predict(prepare(x)), None, facts)
    return Fitted(lambda x: made.predict_proba(prepare(x)), made.classes_, facts)


def mljar(train: pd.DataFrame, meta: dict[str, Any], budget: float) -> Fitted:
    """Fit MLJAR in the mode it recommends for competitions."""
    from supervised import AutoML

    numbers, label = meta["task"] == "regression", train[meta["target"]]
    made = AutoML(
        results_path="model", mode="Compete", ml_task="regression" if numbers else f"{meta['task']}_classification",
        eval_metric="rmse" if numbers else "logloss", total_time_limit=int(budget), n_jobs=CORES, random_state=1,
        verbose=0, explain_level=0,
    )  # fmt: skip
    made.fit(train.drop(columns=[meta["target"]]), label)
    if numbers:
        return Fitted(made.predict)
    return Fitted(made.predict_proba, sorted(label.unique()))


def lightgbm(train: pd.DataFrame, meta: dict[str, Any], budget: float) -> Fitted:
    """Fit plain LightGBM, its number of trees tuned by early stopping; it takes no budget."""
    import lightgbm as lgb
    from sklearn.model_selection import train_test_split

    x, y, classes = train.drop(columns=[meta["target"]]), train[meta["target"]], None
    prepare = _categories(x)
    if meta["task"] != "regression":
        classes = sorted(map(str, y.unique()))
        y = y.astype(str).map({c: i for i, c in enumerate(classes)})
    learn, stop, y_learn, y_stop = train_test_split(prepare(x), y, test_size=0.15, random_state=0)
    kind = lgb.LGBMRegressor if classes is None else lgb.LGBMClassifier
    made = kind(n_estimators=3000, learning_rate=0.05, n_jobs=CORES, verbose=-1)
    made.fit(learn, y_learn, eval_X=stop, eval_y=y_stop, callbacks=[lgb.early_stopping(100, verbose=False)])
    facts = {"trees": made.best_iteration_}
    if classes is None:
        return Fitted(lambda x: made.predict(prepare(x)), None, facts)
    return Fitted(lambda x: made.predict_proba(prepare(x)), classes, facts)


def modelyard(train: pd.DataFrame, meta: dict[str, Any], budget: float) -> Fitted:
    """Develop through the command line and load through the public loader, as a user would."""
    import yaml

    import modelyard as my

    train.to_parquet("train.parquet", index=False)
    known = {k: meta[k] for k in ("group", "time") if meta.get(k)}
    brief = {
        "use_case": meta["name"],
        "task": meta["task"],
        "metric": "rmse" if meta["task"] == "regression" else "log_loss",
        "data": {"path": str(Path("train.parquet").resolve()), "label": meta["target"], **known},
        "budget": {"seconds": budget},
        "validation": {"test_fraction": 0.0},
    }
    Path("brief.yaml").write_text(yaml.safe_dump(brief), encoding="utf-8")
    command = str(Path(sys.executable).with_name("modelyard"))
    # Read the libraries from the disk once: peers import theirs before their budget begins.
    subprocess.run([command, "plan", "brief.yaml"], capture_output=True, check=True)
    words = [command, "develop", "brief.yaml", "--workspace", "yard", "--json"]
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    took = round(time.perf_counter() - began, 1)
    if done.returncode not in (0, 2, 3):
        raise RuntimeError(done.stderr[-2000:])
    out = json.loads(done.stdout.strip().splitlines()[-1])
    if not out.get("bundle"):
        raise RuntimeError(f"no bundle was made: {out}"[:2000])
    bundle = my.load_bundle(out["bundle"])
    facts = {"run": out["run"], "trees": out["trees"], "command_s": took, "out_of_fold": out["estimate"]["value"]}
    predict = bundle.predict if meta["task"] == "regression" else bundle.predict_proba
    classes = None if meta["task"] == "regression" else list(bundle.classes)
    return Fitted(predict, classes, facts, lambda x: _dict_and_bare(bundle, predict, x))


FITS = {f.__name__: f for f in (modelyard, autogluon, flaml, mljar, lightgbm)}


def _dict_and_bare(bundle: Any, predict: Callable[[Any], Any], x: pd.DataFrame) -> dict[str, float]:
    """Time one row as a dict, and the bare ONNX Runtime call on its encoded values, in turn."""
    import onnxruntime as ort

    from modelyard.bundle.examples import plain_rows

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(Path(bundle.path) / "model.onnx", options, providers=["CPUExecutionProvider"])
    run = getattr(session, "_sess", session).run  # without the wrapper, as ours calls it
    # One row alone must bring what was never missing where the model learnt.
    whole = bundle.frame(x.head(ROWS)).drop_nulls([c.name for c in bundle.schema.features if c.missing == 0.0])
    rows = plain_rows(whole, bundle.schema)
    encoding = bundle.manifest.encoding
    feeds = [encoding.inputs_of_rows([bundle.schema.check_row(row)]) for row in rows]
    timed = _turns([lambda i: predict(rows[i % len(rows)]), lambda i: run(["answer"], feeds[i % len(feeds)], None)])
    return {"dict_ms_p50": timed[0], "bare_ms_p50": timed[1]}


def _turns(ways: list[Callable[[int], Any]]) -> list[float]:
    """Return the median milliseconds of each way of answering one row, asked in turn."""
    taken: list[list[float]] = [[] for _ in ways]
    end = time.perf_counter() + SECONDS
    while (time.perf_counter() < end and len(taken[0]) < ROWS) or len(taken[0]) < 5:
        i = len(taken[0])
        for way, times in zip(ways, taken, strict=True):
            began = time.perf_counter()
            way(i)
            times.append(time.perf_counter() - began)
    return [round(float(np.median(times)) * 1e3, 4) for times in taken]


def _categories(x: pd.DataFrame) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Return what turns strings to the pandas categories seen here."""
    seen = {
        c: pd.CategoricalDtype(sorted(x[c].dropna().astype(str).unique()))
        for c in x
        if not pd.api.types.is_numeric_dtype(x[c])
    }

    def prepare(x: pd.DataFrame) -> pd.DataFrame:
        x = x.copy()
        for c, kind in seen.items():
            x[c] = x[c].where(x[c].isna(), x[c].astype(str)).astype(kind)
        return x

    return prepare


def quality(answers: Any, classes: Any, label: pd.Series, known: pd.Series) -> dict[str, float]:
    """Score a test part: RMSE of numbers; log loss and more of classes, a class never seen counting as 1e-7.

    Raises
    ------
    ValueError
        If an answer is no finite number: the framework has failed, and a loss of NaN would read as a run not made.
    """
    answers = np.asarray(answers, dtype=float)
    if not np.isfinite(answers).all():
        raise ValueError("not every answer is a finite number")
    if classes is None:
        return {"rmse": float(np.sqrt(np.mean((answers.ravel() - label.to_numpy()) ** 2)))}
    from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

    names = sorted(map(str, pd.concat([known, label]).unique()))
    at = {c: i for i, c in enumerate(names)}
    p = np.zeros((len(answers), len(names)))
    for j, c in enumerate(classes):
        p[:, at[str(c)]] = answers[:, j]
    p = np.clip(p, 1e-7, 1)
    p /= p.sum(axis=1, keepdims=True)
    truth = label.astype(str).map(at).to_numpy()
    chosen = p.argmax(axis=1)
    scores = {
        "log_loss": float(-np.mean(np.log(p[np.arange(len(p)), truth]))),
        "accuracy": float((chosen == truth).mean()),
        "f1_macro": float(f1_score(truth, chosen, average="macro")),
    }
    if len(names) == 2:
        rare = int(np.bincount(truth).argmin())
        scores["roc_auc"] = float(roc_auc_score(truth == rare, p[:, rare]))
        scores["average_precision"] = float(average_precision_score(truth == rare, p[:, rare]))
    return scores


def _peak() -> int:
    """Return the most kB of memory this process had: getrusage counts what it was started from, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _objects(frame: pd.DataFrame) -> pd.DataFrame:
    for c in frame.columns[[not pd.api.types.is_numeric_dtype(t) for t in frame.dtypes]]:
        frame[c] = frame[c].astype(object).where(frame[c].notna(), None)
    return frame


def measure(framework: str, folder: Path, budget: float, package: str) -> dict[str, Any]:
    """Fit a framework and return its figures."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    train, test = (_objects(pd.read_parquet(folder / f"{part}.parquet")) for part in ("train", "test"))
    x, label = test.drop(columns=[meta["target"]]), test[meta["target"]]
    began = time.perf_counter()
    made = FITS[framework](train, meta, budget)
    figures: dict[str, Any] = {"fit_s": round(time.perf_counter() - began, 1), "version": version(package)}
    figures["peak_mb"] = round(max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024)
    began = time.perf_counter()
    answers = made.predict(x)
    figures["batch_s"] = round(time.perf_counter() - began, 3)
    figures |= quality(answers, made.classes, label, train[meta["target"]])
    rows = [x.iloc[[i]] for i in range(min(ROWS, len(x)))]
    figures["row_ms_p50"] = _turns([lambda i: made.predict(rows[i % len(rows)])])[0]
    if made.single is not None:
        figures |= made.single(x)
    figures |= {"rows": len(train), "test_rows": len(test), "columns": x.shape[1], "data": meta.get("digest")}
    return figures | made.facts


if __name__ == "__main__":
    # Some frameworks look for themselves how many cores there are.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    framework, folder, budget, package, out = sys.argv[1:]
    Path(out).write_text(
        json.dumps(measure(framework, Path(folder), float(budget), package), default=str), encoding="utf-8"
    )
    # Some frameworks leave threads that never end.
    os._exit(0)
