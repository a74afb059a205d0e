"""Export: a blend as one graph, its boosters as text, and what an explanation needs to know of both."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np

from modelyard.core.canonical import canonical_json
from modelyard.core.errors import FamilyError
from modelyard.data.dataset import Dataset, Floats
from modelyard.encoding.encoding import NO_MOMENT, Encoding
from modelyard.families.fitted import Blend, Export
from modelyard.families.tabular.date_graph import DAY
from modelyard.families.tabular.forest import Forest, Tree, merge, plant
from modelyard.families.tabular.graph import LinearPart, build
from modelyard.families.tabular.inputs import Levels
from modelyard.families.tabular.layout import Layout, TextColumn
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.linear import Linear
from modelyard.families.tabular.models import Model, load_models
from modelyard.families.tabular.network_graph import OF_NETWORK, network_parts
from modelyard.families.tabular.text_tables import figure_names
from modelyard.families.tabular.texts import Vocabulary

ENDING = {"lightgbm": "txt", "xgboost": "json", "catboost": "json", "linear": "json"}
OF_LINEAR = tuple[Linear, Floats, list[tuple[int, int]]]
"""A linear model, where and how much its outputs add [m, k], and the places of its numbers."""
_ZERO = np.zeros(1, dtype=np.int64)
NOTHING = Tree(_ZERO - 1, np.zeros(1, np.float32), _ZERO, _ZERO, _ZERO > 0, np.ones(1), _ZERO, _ZERO, np.zeros((1, 1)))
"""A tree of one leaf that adds nothing: what a blend of constants is made of."""


def export(blend: Blend, data: Dataset) -> Export:
    """Return the whole blend as ``model.onnx`` and its members; see `Family.export`."""
    encoding = Encoding.of(data.schema, moments=True)
    if not encoding.numbers and not encoding.strings and not encoding.texts:
        raise FamilyError(
            "The table has no column a graph could read.", do="Name at least one number, category, date or text."
        )
    # Every member was fitted on the same rows, whose levels and words are found without looking at a label.
    facts = blend.members[0][0].facts
    levels = tuple(tuple(known) for known in facts["levels"])
    words = [Vocabulary.of(known) for known in facts.get("texts", ())]
    layout = Layout(len(encoding.numbers), levels, tuple(TextColumn(known) for known in words))
    offset: Floats = np.array(blend.offset, dtype=np.float64)
    linears: list[OF_LINEAR] = []
    networks: list[OF_NETWORK] = []
    boosters: list[tuple[Forest, list[tuple[int, int]], Model, float]] = []
    files: dict[str, bytes] = {}
    members: list[dict[str, Any]] = []
    explained: list[dict[str, Any]] = []
    for fitted, weight in blend.members:
        models = load_models(fitted)
        trees = 0
        for number, model in enumerate(models):
            factor = blend.scale * weight / len(models)
            offset = offset + factor * model.base
            name = f"members/{fitted.candidate.name}-{number}.{ENDING.get(model.algorithm, '')}"
            if model.linear is not None:
                spread = factor * model.scale * np.eye(len(offset))[model.present]
                linears.append((model.linear, spread, layout.place_numbers(model.texts)))
                offset = offset + model.linear.base @ spread
                files[name] = _readable(model.linear, encoding, levels)
            elif model.network is not None:  # its weights lie in the graph alone: no person reads so many
                spread = factor * model.scale * np.eye(len(offset))[model.present]
                networks.append((model.network, spread))
                offset = offset + model.network.base.astype(np.float64) @ spread
            elif model.text:
                forest = library(model.algorithm).forest(model.text)
                if not len(forest.roots):
                    continue  # no round found a split: the base is all it answers
                trees += len(forest.roots)
                places = layout.place(model.tables, model.derived, forest.used(), model.texts)
                boosters.append((forest, places, model, factor * model.scale))
                files[name] = model.text.encode()
                explained.append({"file": name, "library": model.algorithm})
        title = fitted.candidate.title
        members.append({"name": fitted.candidate.name, "title": title, "weight": weight, "trees": trees})
    placed = []
    for (forest, places, model, factor), record in zip(boosters, explained, strict=True):
        features = layout.positions(places)
        placed.append(forest.placed(features, model.present, factor))
        record.update(features=features.tolist(), outputs=model.present.tolist(), factor=factor)
    if not placed and not linears and not networks:
        placed = [plant([NOTHING])]
    whole = merge(placed) if placed else None
    part = _linear_part(linears, layout) if linears else None
    columns = [column.name for column in data.schema.features]
    files["members/explain.json"] = canonical_json(
        {
            "columns": columns,
            "numbers": [
                *([columns.index(c) for c in n.columns] for n in encoding.numbers),
                *(
                    [columns.index(c)]
                    for c, t in zip(encoding.texts, layout.texts, strict=True)
                    for _ in range(t.width)
                ),
            ],
            "strings": [columns.index(name) for name in encoding.strings],
            "derived": [
                [columns.index(c) for i in pair[1:] for c in encoding.numbers[i].columns]
                for pair in layout.derived.pairs
            ],
            "width": layout.width,
            "offset": offset.tolist(),
            "boosters": explained,
            "linear": part is not None,
            **({"networks": _typical(data, encoding)} if networks else {}),
        }
    )
    files["model.onnx"] = build(whole, part, network_parts(networks, layout), layout, encoding, offset, blend.link)
    facts = {
        "trees": 0 if whole is None else len(whole.roots),
        "nodes": 0 if whole is None else len(whole.feature),
        "members": members,
        "columns": columns,
    }
    return Export("onnx", files, facts, moments=True)


def _typical(data: Dataset, encoding: Encoding) -> dict[str, Any]:
    """Return the row that a network's contributions are told against, and whose columns the graph's inputs are.

    It has mean numbers, the day of the mean moment, and most frequent categories.
    """
    inputs = encoding.inputs_of_frame(data.frame)
    columns = [column.name for column in data.schema.features]
    row: dict[str, Any] = {}
    if "numbers" in inputs:
        numbers = inputs["numbers"]
        means = np.nan_to_num(numbers.astype(np.float64)).sum(axis=0) / np.maximum((~np.isnan(numbers)).sum(axis=0), 1)
        row["numbers"] = means.astype(np.float32).tolist()
    if "moments" in inputs:
        known = inputs["moments"] != NO_MOMENT
        days = np.where(known, inputs["moments"] // DAY, 0).sum(axis=0) // np.maximum(known.sum(axis=0), 1)
        row["moments"] = (days * DAY).tolist()
    if "strings" in inputs:
        counts = [Counter(column.tolist()) for column in inputs["strings"].T]
        row["strings"] = [min(count, key=lambda level: (-count[level], level)) for count in counts]
    owners = {"numbers": [n.column for n in encoding.given], "moments": encoding.dates, "strings": encoding.strings}
    return {**row, "owners": {name: [columns.index(c) for c in owned] for name, owned in owners.items()}}


def _linear_part(models: list[OF_LINEAR], layout: Layout) -> LinearPart:
    """Put linear models side by side; those that centre and clip alike become one."""
    outputs = models[0][1].shape[1]
    rows = sum(len(known) + 2 for known in layout.levels)
    missing, table = np.zeros((layout.plain, outputs)), np.zeros((rows, outputs))
    alike: dict[bytes, tuple[Linear, Floats]] = {}
    for narrow, spread, places in models:
        model = narrow.over(layout.positions(places), layout.plain)
        key = b"".join(a.tobytes() for a in (model.mean, model.low, model.high))
        _, weights = alike.get(key, (model, np.zeros((layout.plain, outputs))))
        alike[key] = (model, weights + model.numbers @ spread)
        missing += model.missing @ spread
        if model.tables:
            table += np.concatenate(model.tables) @ spread
    kinds = list(alike.values())
    return LinearPart(
        np.stack([m.mean for m, _ in kinds]),
        np.stack([m.low for m, _ in kinds]),
        np.stack([m.high for m, _ in kinds]),
        np.stack([w for _, w in kinds]),
        missing,
        table,
    )


def _readable(model: Linear, encoding: Encoding, levels: Levels) -> bytes:
    """Return a linear model as JSON a person can read."""
    names = [n.name for n in encoding.numbers]
    names += figure_names(encoding.texts, len(model.mean) - len(names))
    numbers = {
        name: {
            "weight": model.numbers[i].tolist(),
            "missing": model.missing[i].tolist(),
            "mean": float(model.mean[i]),
            "low": float(model.low[i]),
            "high": float(model.high[i]),
        }
        for i, name in enumerate(names)
    }
    categories = {
        name: {
            "levels": {level: table[i].tolist() for i, level in enumerate(known)},
            "unseen": table[-2].tolist(),
            "missing": table[-1].tolist(),
        }
        for name, known, table in zip(encoding.strings, levels, model.tables, strict=True)
    }
    whole = {"constant": model.base.tolist(), "numbers": numbers, "categories": categories}
    return json.dumps(whole, ensure_ascii=False, sort_keys=True, indent=1).encode()
