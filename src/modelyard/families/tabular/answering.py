"""Answering: the time models add to one answer of the graph, and the bytes they add to its file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.families.tabular.file_bytes import compared_bytes, forest_bytes
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.models import Model
from modelyard.families.tabular.network import answer_microseconds
from modelyard.families.tabular.portfolio import leaves, tree_microseconds

SYMMETRIC = 0.65
"""Part of its leaves that says how long a symmetric tree takes: measured beside LightGBM's, 1,600 trees each."""


def trees_a_round(parameters: Mapping[str, Any], classes: int) -> int:
    """Return how many trees a round grows: one for each class of several, but for CatBoost, whose leaves hold them."""
    return classes if classes > 2 and parameters["algorithm"] != "catboost" else 1


def _telling(models: Sequence[Model]) -> Model:
    """Return the last model that learnt anything: early windows may have had nothing to learn from."""
    return next((m for m in reversed(models) if m.text or m.linear is not None or m.network is not None), models[-1])


def microseconds(parameters: Mapping[str, Any], models: Sequence[Model], whole: Sequence[int], classes: int) -> float:
    """Reckon what models on every row add to one answer; `models` are those of the folds, `whole` their rounds.

    A symmetric tree is never deeper than the others of as many leaves are on average.
    """
    model = _telling(models)
    if model.network is not None:
        return answer_microseconds(len(whole) * model.network.products)
    if not model.text:
        return 0.0
    grown = float(np.mean(library(model.algorithm).leaves(model.text) or [1]))
    if model.algorithm == "catboost":
        grown *= SYMMETRIC
    return tree_microseconds(grown) * sum(whole) * trees_a_round(parameters, classes)


def own_bytes(
    parameters: Mapping[str, Any],
    models: Sequence[Model],
    counts: Sequence[int],
    whole: Sequence[int],
    rows: float = 1.0,
) -> float:
    """Reckon what models on every row add to the file.

    Parameters
    ----------
    parameters : mapping
        The candidate's: they cap the leaves of a tree.
    models, counts
        Models that were fitted, those of the folds or of every row, and their rounds.
    whole : sequence of int
        Rounds of the models on every row.
    rows : float
        How many times the rows of `models` those have: more rows grow more leaves, about as their root.
    """
    one = _telling(models)
    if one.network is not None:
        return 4.0 * len(whole) * sum(array.size for array in one.network.arrays().values())
    texts = 4.0 * sum(table.weights.size + table.squares.size for table in one.texts)
    if one.linear is not None:
        return texts + 4.0 * len(whole) * sum(array.size for array in one.linear.arrays().values())
    grown = sum(_forest_bytes(parameters, model, math.sqrt(rows)) for model in models if model.text)
    return texts + grown * sum(whole) / max(sum(counts), 1)


def _forest_bytes(parameters: Mapping[str, Any], model: Model, growth: float) -> float:
    sizes = library(model.algorithm).leaves(model.text)
    grown = sum(max(size, min(size * growth, leaves(parameters))) for size in sizes)
    if model.algorithm != "catboost":
        return forest_bytes(grown, len(sizes))
    values = len(model.present)
    return forest_bytes(grown, len(sizes), values) + compared_bytes(int(parameters["depth"]), len(sizes), values)
