"""Nodes of the graph that hold trees: one tree ensemble, and for symmetric trees a second way that is for many rows.

ONNX Runtime lays the node for which a comparison is false next to the one that asks it. So every split is turned such
that most rows find it false (see `modelyard.families.turned`): a row's way through a tree is then nearly in one piece,
and sooner walked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.data.dataset import Ints
from modelyard.families.tabular.draft import Draft
from modelyard.families.tabular.forest import Forest
from modelyard.families.tabular.symmetric import Symmetric, symmetric
from modelyard.families.turned import SIGNS, turned

MOST_TREES = 4_000
"""Trees of one node of the graph; more are shared out, since every float32 sum of so many loses a little."""
MANY = 16
"""Rows from which comparing all symmetric trees at once is sooner done than walking them."""


def add_forest(draft: Draft, forest: Forest, features: str, width: int, outputs: int) -> list[str]:
    """Add the nodes of a forest over a matrix of features [rows, width], and return the names of what is to be summed.

    Both ways of answering symmetric trees sum the same float32 leaves in the same order.
    """
    order = forest.smallest_first()
    groups = symmetric(forest, order, outputs)
    apart = np.zeros(len(order), dtype=np.bool_)
    for group in groups:
        apart[group.trees] = True
    twice = draft.add("Concat", [features, features], "features_twice", axis=1)
    signs = draft.constant(SIGNS, np.repeat(np.array([1, -1], dtype=np.float32), width))
    signed = draft.add("Mul", [twice, signs], "signed_features")
    walked = turn(forest, width)
    found = []
    if not apart.all():
        found += _walked(draft, walked, order[~apart[order]], signed, outputs, "trees")
    if groups:
        found.append(_either(draft, walked, groups, features, signed, outputs))
    return found


def turn(forest: Forest, width: int) -> Forest:
    """Return the forest over features [width] and then the same negated, turned so that most rows go right.

    No row, of missing or infinite numbers either, ends in another leaf.
    """
    often = forest.mass[forest.left] > forest.mass[forest.right]
    often &= (forest.feature >= 0) & (forest.threshold < np.inf)  # nothing is larger than infinity
    return replace(
        forest,
        feature=forest.feature + width * often,
        threshold=np.where(often, turned(forest.threshold), forest.threshold),
        left=np.where(often, forest.right, forest.left),
        right=np.where(often, forest.left, forest.right),
        nan_left=forest.nan_left ^ often,
    )


def _walked(draft: Draft, forest: Forest, order: Ints, features: str, outputs: int, name: str) -> list[str]:
    pieces = -(-len(order) // MOST_TREES)
    return [
        draft.add(
            "TreeEnsembleRegressor",
            [features],
            f"{name}{piece or ''}",
            domain="ai.onnx.ml",
            **_ensemble(forest.take(order[piece::pieces]), outputs),
        )
        for piece in range(pieces)
    ]


def _either(draft: Draft, walked: Forest, groups: Sequence[Symmetric], features: str, signed: str, outputs: int) -> str:
    """Add the choice between walking symmetric trees and comparing them, by the number of rows."""
    few, many = Draft(draft.helper), Draft(draft.helper)
    sums = []
    for group in groups:
        sums += _walked(few, walked, group.trees, signed, outputs, f"few_{len(group.feature)}_")
    few.add("Sum", sums, "few")
    many.add("Transpose", [features], "by_feature", perm=[1, 0])
    many.add("Sum", [_compared(many, group) for group in groups], "many")
    draft.add("Shape", [features], "row_count", end=1)
    draft.add("Less", ["row_count", draft.constant("many_rows", np.array([MANY], dtype=np.int64))], "are_few")
    return draft.add("If", ["are_few"], "symmetric", then_branch=_branch(few), else_branch=_branch(many))


def _branch(draft: Draft) -> Any:
    onnx = need("onnx", "train", "The ONNX export")
    last = draft.nodes[-1].output[0]
    value = onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None)
    return onnx.helper.make_graph(draft.nodes, last, [], [value], draft.constants)


def _compared(draft: Draft, group: Symmetric) -> str:
    """Add the comparisons of trees of one depth, each step over [levels x trees, rows]."""
    kinds = need("onnx", "train", "The ONNX export").TensorProto
    depth, trees = group.feature.shape
    leaves, outputs = group.value.shape[1:]
    value = group.value.astype(np.float32)

    def name(what: str) -> str:
        return f"{what}_{depth}"

    def ints(what: str, *values: int) -> str:
        return draft.constant(name(what), np.array(values, dtype=np.int64))

    asked = draft.constant(name("asked"), group.feature.ravel())
    edges = draft.constant(name("edges"), group.threshold.reshape(-1, 1))
    draft.add("Gather", ["by_feature", asked], name("values"), axis=0)
    draft.add("Greater", [name("values"), edges], name("above"))
    draft.add("Cast", [name("above")], name("bits"), to=kinds.FLOAT)
    draft.add("Reshape", [name("bits"), ints("by_level", depth, -1)], name("levels"))
    powers = draft.constant(name("powers"), (2.0 ** np.arange(depth, dtype=np.float32)).reshape(1, -1))
    draft.add("MatMul", [powers, name("levels")], name("codes"))
    draft.add("Reshape", [name("codes"), ints("by_tree", trees, -1)], name("code_of_tree"))
    draft.add("Cast", [name("code_of_tree")], name("leaf"), to=kinds.INT32)
    axis = ints("tree_axis", 0)
    if outputs == 1:
        held = draft.constant(name("leaf_values"), value[:, :, 0])
        draft.add("GatherElements", [held, name("leaf")], name("reached"), axis=1)
        draft.add("ReduceSum", [name("reached"), axis], name("of_rows"), keepdims=0)
        return draft.add("Unsqueeze", [name("of_rows"), ints("output_axis", 1)], name("compared"))
    first = draft.constant(name("first_leaf"), (leaves * np.arange(trees, dtype=np.int32)).reshape(-1, 1))
    draft.add("Add", [name("leaf"), first], name("place"))
    held = draft.constant(name("leaf_values"), value.reshape(-1, outputs))
    draft.add("Gather", [held, name("place")], name("reached"), axis=0)
    return draft.add("ReduceSum", [name("reached"), axis], name("compared"), keepdims=0)


def _ensemble(forest: Forest, outputs: int) -> dict[str, Any]:
    tree = np.zeros(len(forest.feature), dtype=np.int64)
    tree[forest.roots[1:]] = 1
    tree = np.cumsum(tree)
    node = np.arange(len(tree)) - forest.roots[tree]
    inner = forest.feature >= 0
    start = forest.roots[tree]
    return {
        "n_targets": outputs,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": np.maximum(forest.feature, 0).tolist(),
        "nodes_values": np.where(inner, forest.threshold, np.float32(0)).tolist(),
        "nodes_modes": np.where(inner, "BRANCH_LEQ", "LEAF").tolist(),
        "nodes_truenodeids": np.where(inner, forest.left - start, 0).tolist(),
        "nodes_falsenodeids": np.where(inner, forest.right - start, 0).tolist(),
        "nodes_missing_value_tracks_true": (forest.nan_left & inner).astype(np.int64).tolist(),
        "target_treeids": tree[forest.leaf].tolist(),
        "target_nodeids": node[forest.leaf].tolist(),
        "target_ids": forest.target.tolist(),
        "target_weights": forest.value.astype(np.float32).tolist(),
    }
