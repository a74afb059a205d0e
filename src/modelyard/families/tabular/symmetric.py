"""Symmetric trees: many rows are answered by comparisons, one level of all trees at once, not by walking each tree.

All splits of one level ask the same, so the leaf of a row is a number whose bits are the answers of the levels: found
by comparing, multiplying by powers of two and adding, for all trees and rows at once, where ONNX Runtime would walk
every tree for every row. One row alone is answered sooner by walking.

References
----------
Prokhorenkova, L. et al. (2018). CatBoost: unbiased boosting with categorical features. NeurIPS 31.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.forest import Forest

DEPTHS = (4, 6, 8, 10)
"""Levels that trees are filled up to, so that those of nearly one depth are answered together."""
LEAST = 50
"""Trees of one depth from which they are worth nodes of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class Symmetric:
    """Symmetric trees of one depth, in the order their answers are summed.

    Attributes
    ----------
    trees : int64 array of shape [trees]
        Which of the forest's they are.
    feature, threshold : int64 and float32 arrays of shape [depth, trees]
        Bit i of a leaf's number says whether ``x > threshold`` at level i; what is missing is not larger.
    value : float64 array of shape [trees, 2^depth, outputs]
        Leaf values.
    """

    trees: Ints
    feature: Ints
    threshold: NDArray[np.float32]
    value: Floats


def symmetric(forest: Forest, order: Ints, outputs: int) -> list[Symmetric]:
    """Return the symmetric trees of a forest by depth, those of a depth that only a few have left out.

    Parameters
    ----------
    forest : Forest
        Any trees; ``forest.target`` below `outputs`.
    order : int64 array of shape [trees]
        The trees in the order they are to be summed.
    outputs : int
        Outputs of the graph.
    """
    count, deepest = len(forest.roots), DEPTHS[-1]
    feature = np.zeros((deepest, count), dtype=np.int64)
    threshold = np.full((deepest, count), np.inf, dtype=np.float32)
    code, level = np.zeros((2, len(forest.feature)), dtype=np.int64)
    owner = np.full(len(forest.feature), -1, dtype=np.int64)  # nodes of deeper trees are never come to
    owner[forest.roots] = np.arange(count)
    even, depth, nodes = np.ones(count, dtype=np.bool_), np.zeros(count, dtype=np.int64), forest.roots
    for bit in range(deepest + 1):
        nodes = nodes[forest.feature[nodes] >= 0]
        if bit == deepest:
            even[owner[nodes]] = False
            break
        tree, asked, edge = owner[nodes], forest.feature[nodes], forest.threshold[nodes]
        feature[bit, tree], threshold[bit, tree], depth[tree] = asked, edge, bit + 1
        unlike = (feature[bit, tree] != asked) | (threshold[bit, tree] != edge) | ~forest.nan_left[nodes]
        even[tree[unlike]] = False
        for side, children in enumerate((forest.left[nodes], forest.right[nodes])):
            owner[children], level[children] = tree, bit + 1
            code[children] = code[nodes] | side << bit
        nodes = np.concatenate([forest.left[nodes], forest.right[nodes]])
    held = np.array(DEPTHS)[np.minimum(np.searchsorted(DEPTHS, depth), len(DEPTHS) - 1)]
    found = []
    for size in DEPTHS:
        chosen = order[(even & (held == size))[order]]
        if len(chosen) < LEAST:
            continue
        place = np.full(count, -1, dtype=np.int64)
        place[chosen] = np.arange(len(chosen))
        value = np.zeros((len(chosen), 2**size, outputs))
        for bits in range(size + 1):  # a leaf of few questions is every leaf that differs in the rest alone
            own = (level[forest.leaf] == bits) & (owner[forest.leaf] >= 0) & (place[owner[forest.leaf]] >= 0)
            leaf = forest.leaf[own]
            every = code[leaf][:, None] | np.arange(2 ** (size - bits))[None, :] << bits
            value[place[owner[leaf]][:, None], every, forest.target[own][:, None]] = forest.value[own][:, None]
        found.append(Symmetric(chosen, feature[:size, chosen], threshold[:size, chosen], value))
    return found
