"""The model that every server answers from: one bundle of the project's own, and rows to ask it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1]))
import made
from modelyard.brief.brief import Brief, Budget, DataBrief
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.load import load_bundle
from modelyard.data.read import read_data
from modelyard.data.splitting import split

NUMBERS, CATEGORIES = 22, 8
TREES, LEAVES = 500, 31
LEARNT, ASKED = 6_000, 500
"""Rows of the table, and rows that servers are asked."""


@dataclass(frozen=True)
class Packed:
    """A bundle, rows, and its answers to them.

    Attributes
    ----------
    folder : Path
        Holds ``bundle/``, and ``graph.json``: the graph's file and the columns of its inputs, for servers without
        modelyard.
    numbers, strings : list of str
        Columns of the graph's two inputs.
    rows : list of dict
        Values by column, as JSON has them.
    answers : list of float
        The probability of the second class for each row.
    """

    folder: Path
    numbers: list[str]
    strings: list[str]
    rows: list[dict[str, Any]]
    answers: list[float]


def table(rows: int, seed: int = 0) -> pl.DataFrame:
    """Return made-up rows of 22 numbers, 8 categories of 3 to 38 levels, and a label of two classes."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, NUMBERS)).round(4)
    widths = [3 + 5 * j for j in range(CATEGORIES)]
    places = np.column_stack([random.integers(0, width, rows) for width in widths])
    raw = np.sin(2 * numbers[:, 0]) + numbers[:, 1] * numbers[:, 2] + 0.3 * numbers[:, 3:].sum(axis=1)
    raw += sum(np.random.default_rng(j).normal(size=width)[places[:, j]] for j, width in enumerate(widths))
    label = random.random(rows) < 1 / (1 + np.exp(-raw))
    columns: dict[str, Any] = {f"number_{j:02}": numbers[:, j] for j in range(NUMBERS)}
    columns |= {f"category_{j}": [f"level {i}" for i in places[:, j]] for j in range(CATEGORIES)}
    return pl.DataFrame(columns | {"label": np.where(label, "yes", "no")})


def pack(folder: Path, trees: int = TREES) -> Packed:
    """Fit one LightGBM, pack it as a bundle, and return it with rows it has not seen."""
    frame = table(LEARNT + ASKED)
    brief = Brief(use_case="bench", task="binary", metric="log_loss", data=DataBrief(label="label"), budget=Budget(60))
    parts = split(read_data(frame.head(LEARNT), brief), brief)
    offered = made.offered(brief, parts)["lightgbm"]
    candidate = replace(offered, parameters={**offered.parameters, "leaves": LEAVES})
    member = made.fitted(candidate, parts, trees, models=1)
    made.bundle(made.blend([member], brief, parts), parts, folder / "bundle")
    return packed(folder, frame.tail(ASKED))


def packed(folder: Path, frame: pl.DataFrame) -> Packed:
    """Describe a packed bundle to servers, and answer a frame's rows with it."""
    bundle = load_bundle(folder / "bundle")
    encoding = bundle.manifest.encoding
    rows = plain_rows(bundle.frame(frame.drop("label")), bundle.schema)
    numbers, strings = [number.name for number in encoding.given], list(encoding.strings)
    about = {"graph": str(folder / "bundle/model.onnx"), "numbers": numbers, "strings": strings}
    about["levels"] = {name: bundle.schema.column(name).levels for name in strings}
    (folder / "graph.json").write_text(json.dumps(about), encoding="utf-8")
    return Packed(folder, numbers, strings, rows, [float(bundle.predict_proba(row)[1]) for row in rows])
