"""Small tables with everything a tabular model can stumble over, and candidates quick enough for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import onnxruntime as ort
import polars as pl

from modelyard.brief.brief import Brief, Budget, DataBrief, Validation
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.encoding.encoding import Encoding
from modelyard.families.fitted import Blend, Candidate, Cost, Export, Fitted
from modelyard.families.tabular.tabular import Tabular
from modelyard.families.whole import fit_whole

TASKS = ("binary", "multiclass", "regression")
LINK = {"binary": "logistic", "multiclass": "softmax", "regression": "identity"}
SHARED = {
    "learning_rate": 0.2,
    "rounds": 25,
    "l2": 1.0,
    "subsample": 0.8,
    "columns": 0.8,
}
PARAMETERS = {
    "linear": {},
    "lightgbm": {**SHARED, "leaves": 12, "min_data_in_leaf": 5},
    "xgboost": {**SHARED, "depth": 4, "min_child_weight": 1.0},
    "catboost": {**SHARED, "depth": 4},
}
LIBRARIES = tuple(PARAMETERS)


def frame(task: str, rows: int = 320, *, seed: int = 0, numbers: bool = True, strings: bool = True) -> pl.DataFrame:
    """Return numbers of all sizes, some missing, one constant; categories few and many, some missing; a label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 5))
    city = rng.integers(0, 30, rows)
    colour = rng.integers(0, 4, rows)
    signal = x[:, 0] + np.abs(x[:, 1]) + 0.7 * x[:, 2] + (colour == 1) + (city % 3 == 0) + rng.normal(0, 0.4, rows)
    label = {
        "binary": np.where(signal > 1.4, "yes", "no"),
        "multiclass": np.array(["low", "mid", "high"])[np.digitize(signal, [0.9, 2.0])],
        "regression": 20.0 + 3.0 * signal,
    }[task]
    gone = rng.random((rows, 2)) < 0.15
    columns: dict[str, object] = {}
    if numbers:
        columns |= {
            "plain": x[:, 0],
            "holes": [None if g else v for g, v in zip(gone[:, 0], x[:, 1], strict=True)],
            "huge": x[:, 2] * 1e29,
            "tiny": x[:, 3] * 1e-41,
            "counts": np.round(x[:, 4] * 3),
        }
    if strings:
        columns |= {
            "colour": [None if g else "rød blå grøn hvit".split()[c] for g, c in zip(gone[:, 1], colour, strict=True)],
            "city": [f"city {c}" for c in city],
        }
    return pl.DataFrame({**columns, "label": label})


def dated(task: str = "binary", rows: int = 320) -> pl.DataFrame:
    """Return a table whose label follows from parts of dates, before 1970 too; a date and a moment missing at times."""
    rng = np.random.default_rng(5)
    days = rng.integers(-20_000, 20_000, rows)
    seen = [datetime(1960, 1, 1) + timedelta(seconds=int(s)) for s in rng.integers(0, 2_000_000_000, rows)]
    signal = np.array([m.hour / 8 + m.month / 6 for m in seen]) + (days % 7 < 3) + rng.normal(0, 0.3, rows)
    label = {
        "binary": np.where(signal > np.median(signal), "yes", "no"),
        "multiclass": np.array(["low", "mid", "high"])[np.digitize(signal, np.quantile(signal, [0.33, 0.67]))],
        "regression": 20.0 + 3.0 * signal,
    }[task]
    return frame(task, rows).with_columns(
        born=pl.Series(
            [
                None if i % 9 == 0 else (datetime(1970, 1, 1) + int(d) * timedelta(days=1)).date()
                for i, d in enumerate(days)
            ]
        ),
        seen=pl.Series([None if i % 11 == 0 else m for i, m in enumerate(seen)]),
        label=pl.Series(label),
    )


def with_texts(table: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return a table with two text columns, one of which says something of the label and is missing now and then."""
    rng = np.random.default_rng(seed)
    words = "the dress fits Perfectly and I love its colour but fabric feels thin after washing été 東京 GREAT".split()
    values = table["label"].cast(pl.String).rank("dense").to_numpy() / table["label"].n_unique()
    notes: list[str | None] = []
    for value in values:
        said = list(rng.choice(words, rng.integers(4, 30)))
        if rng.random() < 0.8:
            said.insert(int(rng.integers(len(said))), "not bad" if value > 0.5 else "bad, not good")
        notes.append(None if rng.random() < 0.1 else " ".join(said))
    return table.with_columns(note=pl.Series(notes), title=pl.Series([" ".join(rng.choice(words, 3)) for _ in values]))


def with_phrases(table: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return a table with a category of many levels made of few words, two of which tell the label; some missing."""
    rng = np.random.default_rng(seed)
    paints, grounds = "oil ink chalk wax gouache pencil tempera".split(), "canvas paper board silk wood slate".split()
    marks = "signed dated framed mounted varnished".split()
    values = table["label"].cast(pl.String).rank("dense").to_numpy() / table["label"].n_unique()
    said = [
        f"{rng.choice(paints[:3] if value > 0.5 else paints[2:])} on {rng.choice(grounds)}, {rng.choice(marks)}"
        for value in values
    ]
    return table.with_columns(medium=pl.Series([None if rng.random() < 0.1 else words for words in said]))


def brief(task: str, **data: object) -> Brief:
    return Brief(
        task=task,
        data=DataBrief(label="label", positive="yes" if task == "binary" else None, **data),
        validation=Validation(folds=3),
        budget=Budget(seconds=42),  # of which about 30 are for fits
    )


def parts(task: str, table: pl.DataFrame | None = None, **data: object) -> Parts:
    asked = brief(task, **data)
    return split(read_data(frame(task) if table is None else table, asked), asked)


def candidate(algorithm: str, **parameters: object) -> Candidate:
    given = {"algorithm": algorithm, **PARAMETERS[algorithm], **parameters}
    return Candidate(algorithm, "tabular", algorithm, given, {}, "", Cost(0.0, 0.0))


def whole(given: Candidate, split: Parts, seed: int = 0) -> Fitted:
    """Fit a candidate as a run does that ships it: over the folds, then on every row."""
    return fit_whole(Tabular(), Tabular().fit(given, split, seed), split, seed)


def blend(task: str, members: list[Fitted], *, scale: float = 1.0, offset: float = 0.0) -> Blend:
    outputs = members[0].scores.shape[1]
    shares = np.arange(1, len(members) + 1) / sum(range(1, len(members) + 1))
    return Blend(tuple(zip(members, shares.tolist(), strict=True)), LINK[task], scale, (offset,) * outputs)


def raw(mixed: Blend, data: Dataset) -> np.ndarray:
    return sum(weight * Tabular().predict(fitted, data) for fitted, weight in mixed.members)


def session(export: Export) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(export.files["model.onnx"], options, providers=["CPUExecutionProvider"])


def inputs_of(data: Dataset) -> dict[str, np.ndarray]:
    """Return rows as the graph of a blend takes them."""
    return Encoding.of(data.schema, moments=True).inputs_of_frame(data.frame)


def run_graph(running: ort.InferenceSession, data: Dataset) -> np.ndarray:
    """Answer rows by the graph, shaped as `Blend.answer` shapes them."""
    answer = running.run(["answer"], inputs_of(data))[0].astype(np.float64)
    if data.schema.task == "binary":
        np.testing.assert_allclose(answer.sum(axis=1), 1.0, atol=1e-6)
        return answer[:, 1]
    return answer[:, 0] if data.schema.task == "regression" else answer


def rows_of(data: Dataset, columns: dict[str, list[object]]) -> Dataset:
    """Return a table of the same schema holding the given features and no label."""
    kept = {name: dtype for name, dtype in data.frame.schema.items() if name in columns}
    return replace(data, frame=pl.DataFrame(columns, schema=kept), extras={})


def write(export: Export, folder: Path) -> Path:
    for name, content in export.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
