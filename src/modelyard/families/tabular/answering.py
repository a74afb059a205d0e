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
from modelyard.families.tabular.portfolio import leaves

SYMMETRIC = 0.65
"""Part of its leaves that says how long a symmetric tree takes: measured beside LightGBM's, 1,600 trees each."""


def trees_a_round(parameters: Mapping[str, Any], classes: int) -> int:
    """Return how many trees a round grows: one for each class of several, but for CatBoost, whose leaves hold them."""
    return classes if classes > 2 and parameters["algorithm"] != "catboost" else 1


def round_microseconds(parameters: Mapping[str, Any], leaves: float, classes: int) -> float:
    """Return the time the trees of one round add to one answer of the merged graph.

    A large tree lies in slower memory. Twice what is measured with ONNX Runtime on forests of 600 to 4,000 trees of 8
    to 96 leaves in a loop, or more: trees on skewed columns are deeper than those measured, and between requests all
    leave the processor's cache. A symmetric tree is never deeper than the others of as many leaves are on average; one
    whose leaves hold 3, 8 or 18 values takes .05, .08 or .1 µs more than one of single values in such a loop.

    Parameters
    ----------
    parameters : mapping
        The candidate's: they name the algorithm.
    leaves : float
        Leaves of one tree.
    classes : int
        Classes of the label; fewer than 3 have one raw score, as numbers do.
    """
    if parameters["algorithm"] == "catboost":
        return 0.03 + 0.0018 * SYMMETRIC * leaves + 0.05 * math.log2(_scores(classes))
    return (0.03 + 0.0018 * leaves) * trees_a_round(parameters, classes)


def round_bytes(parameters: Mapping[str, Any], leaves: float, classes: int) -> float:
    """Return the bytes the trees of one round add to the file, by the parameters of `round_microseconds`."""
    trees = trees_a_round(parameters, classes)
    return _forest_bytes(parameters, trees * leaves, trees, _scores(classes))


def _scores(classes: int) -> int:
    return classes if classes > 2 else 1


def _telling(models: Sequence[Model]) -> Model:
    """Return the last model that learnt anything: early windows may have had nothing to learn from."""
    return next((m for m in reversed(models) if m.text or m.linear is not None or m.network is not None), models[-1])


def microseconds(parameters: Mapping[str, Any], models: Sequence[Model], whole: Sequence[int], classes: int) -> float:
    """Reckon what models on every row add to one answer; `models` are those of the folds, `whole` their rounds."""
    model = _telling(models)
    if model.network is not None:
        return answer_microseconds(len(whole) * model.network.products)
    if not model.text:
        return 0.0
    grown = float(np.mean(library(model.algorithm).leaves(model.text) or [1]))
    return round_microseconds(parameters, grown, classes) * sum(whole)


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
    grown = sum(_grown_bytes(parameters, model, math.sqrt(rows)) for model in models if model.text)
    return texts + grown * sum(whole) / max(sum(counts), 1)


def _grown_bytes(parameters: Mapping[str, Any], model: Model, growth: float) -> float:
    sizes = library(model.algorithm).leaves(model.text)
    grown = sum(max(size, min(size * growth, leaves(parameters))) for size in sizes)
    return _forest_bytes(parameters, grown, len(sizes), len(model.present))


def _forest_bytes(parameters: Mapping[str, Any], leaves: float, trees: int, values: int) -> float:
    """Return what trees of so many leaves in all take; CatBoost's leaves hold so many values, others one each."""
    if parameters["algorithm"] != "catboost":
        return forest_bytes(leaves, trees)
    return forest_bytes(leaves, trees, values) + compared_bytes(int(parameters["depth"]), trees, values)
