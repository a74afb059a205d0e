"""Symmetric trees answer alike walked and compared, and only they are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from modelyard.encoding.encoding import Encoding, NumberInput
from modelyard.families.tabular import symmetric as symmetric_module
from modelyard.families.tabular.forest import Forest, Tree, plant
from modelyard.families.tabular.forest_graph import MANY
from modelyard.families.tabular.graph import build
from modelyard.families.tabular.layout import Layout
from modelyard.families.tabular.symmetric import symmetric

NUMBERS = 5
INPUTS = Encoding(tuple(NumberInput(f"x{i}") for i in range(NUMBERS)), ())
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def tree(rng: np.random.Generator, depth: int, outputs: int, *, uneven: bool = False, cut: bool = False) -> Tree:
    """A full tree whose levels ask the same; `uneven` changes one split, `cut` ends one branch early."""
    inner = 2**depth - 1
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth))
    feature, threshold = rng.integers(0, NUMBERS, depth)[level], rng.integers(-2, 3, depth).astype(np.float32)[level]
    if uneven:
        threshold[-1] += 1
    feature = np.concatenate([feature, np.full(inner + 1, -1)])
    if cut:  # both of the last split's leaves stay behind, unreached
        feature[inner - 1] = -1
    leaf = np.flatnonzero(feature < 0)
    nodes = np.concatenate([np.arange(inner), np.zeros(inner + 1, dtype=np.int64)])
    return Tree(
        feature=feature,
        threshold=np.concatenate([threshold, np.zeros(inner + 1, dtype=np.float32)]),
        left=2 * nodes + 1,
        right=2 * nodes + 2,
        nan_left=np.ones(len(feature), dtype=np.bool_),
        mass=rng.random(len(feature)),
        leaf=leaf,
        target=np.arange(outputs),
        value=rng.normal(size=(len(leaf), outputs)),
    )


def walk(forest: Forest, x: np.ndarray, outputs: int) -> np.ndarray:
    """Sum the leaves each row ends in, in float64."""
    answers = np.zeros((len(x), outputs))
    for i, row in enumerate(x):
        for root in forest.roots:
            node = root
            while forest.feature[node] >= 0:
                value = row[forest.feature[node]]
                left = forest.nan_left[node] if np.isnan(value) else value <= forest.threshold[node]
                node = forest.left[node] if left else forest.right[node]
            own = forest.leaf == node
            answers[i, forest.target[own]] += forest.value[own]
    return answers


def mixed(outputs: int) -> Forest:
    """60 symmetric trees of depth 3 and 4, 60 of depth 5 with a branch cut, 5 uneven ones, 5 of depth 7."""
    rng = np.random.default_rng(0)
    trees = [tree(rng, 3 + i % 2, outputs) for i in range(60)]
    trees += [tree(rng, 5, outputs, cut=True) for _ in range(60)]
    trees += [tree(rng, 4, outputs, uneven=True) for _ in range(5)]
    trees += [tree(rng, 7, outputs) for _ in range(5)]
    return plant(trees)


def rows(count: int) -> np.ndarray:
    """Whole numbers, most of which are some threshold, and gaps."""
    rng = np.random.default_rng(1)
    x = rng.integers(-3, 4, (count, NUMBERS)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x


def session(graph: bytes) -> object:
    """One thread, as bundles are served with: more would each sum a part of the trees."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def test_symmetric_trees_are_told_from_others_and_few_are_left_where_they_are():
    forest = mixed(1)
    order = forest.smallest_first()
    groups = symmetric(forest, order, 1)
    assert [len(g.feature) for g in groups] == [4, 6]
    assert [sorted(g.trees) for g in groups] == [list(range(60)), list(range(60, 120))]
    place = np.argsort(order)
    assert all((np.diff(place[g.trees]) > 0).all() for g in groups)


def test_what_is_missing_and_goes_right_is_not_compared():
    forest = mixed(1)
    forest.nan_left[forest.roots[:60]] = False
    assert [len(g.feature) for g in symmetric(forest, forest.smallest_first(), 1)] == [6]


@pytest.mark.parametrize("outputs", [1, 3])
def test_few_rows_and_many_are_answered_alike(outputs, monkeypatch):
    forest, x = mixed(outputs), rows(40)
    graph = build(forest, None, [], Layout(NUMBERS, ()), INPUTS, np.zeros(outputs), "identity")
    assert build(forest, None, [], Layout(NUMBERS, ()), INPUTS, np.zeros(outputs), "identity") == graph
    assert sum(n.op_type == "If" for n in onnx.load_from_string(graph).graph.node) == 1
    run = session(graph).run
    many = run(["answer"], {"numbers": x})[0]
    few = np.concatenate([run(["answer"], {"numbers": x[i : i + MANY - 1]})[0] for i in range(0, len(x), MANY - 1)])
    np.testing.assert_allclose(many, walk(forest, x, outputs), atol=1e-4)
    np.testing.assert_array_equal(few, many)
    monkeypatch.setattr(symmetric_module, "LEAST", 1_000)
    plain = build(forest, None, [], Layout(NUMBERS, ()), INPUTS, np.zeros(outputs), "identity")
    walked = session(plain)
    assert not any(n.op_type == "If" for n in onnx.load_from_string(plain).graph.node)
    np.testing.assert_allclose(many, walked.run(["answer"], {"numbers": x})[0], atol=1e-4)


def test_trees_too_deep_to_compare_leave_nothing_in_those_of_another_class():
    rng = np.random.default_rng(0)
    trees = [replace(tree(rng, 4, 1), target=np.array([0])) for _ in range(60)]
    trees += [replace(tree(rng, 12, 1), target=np.array([1])) for _ in range(5)]
    forest, x = plant(trees), rows(40)
    graph = build(forest, None, [], Layout(NUMBERS, ()), INPUTS, np.zeros(2), "identity")
    many = session(graph).run(["answer"], {"numbers": x})[0]
    np.testing.assert_allclose(many, walk(forest, x, 2), atol=1e-4)
