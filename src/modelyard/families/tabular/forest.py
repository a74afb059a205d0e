"""Forest: boosted trees of any library as flat arrays, every split of the form ``x <= threshold`` in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees laid end to end.

    A row at an inner node goes ``left`` when ``x[feature] <= threshold``, or when x is NaN and ``nan_left``.

    Attributes
    ----------
    roots : int64 array of shape [trees]
        First node of each tree; its nodes follow it up to the next root.
    feature : int64 array of shape [nodes]
        Feature of an inner node; -1 for a leaf.
    threshold : float32 array of shape [nodes]
        Threshold of an inner node.
    left, right : int64 arrays of shape [nodes]
        Children, counted from the first node of the forest.
    nan_left : bool array of shape [nodes]
        Where a missing value goes.
    mass : float64 array of shape [nodes]
        How many of the rows learnt from came to a node, in a unit of each tree's own.
    leaf, target : int64 arrays of shape [values]
        Node and output of each leaf value; a leaf may add to several outputs.
    value : float64 array of shape [values]
        Leaf values.
    """

    roots: Ints
    feature: Ints
    threshold: NDArray[np.float32]
    left: Ints
    right: Ints
    nan_left: NDArray[np.bool_]
    mass: Floats
    leaf: Ints
    target: Ints
    value: Floats

    def placed(self, feature: Ints, target: Ints, factor: float) -> Forest:
        """Return the forest with features and outputs renumbered and every leaf value multiplied."""
        moved = np.where(self.feature >= 0, feature[np.maximum(self.feature, 0)], -1) if len(feature) else self.feature
        return replace(self, feature=moved, target=target[self.target], value=self.value * factor)

    def smallest_first(self) -> Ints:
        """Return the trees in order of their largest leaf: summed so, float32 stays small, and exact, to the end."""
        tree = np.searchsorted(self.roots, self.leaf, side="right") - 1
        size = np.zeros(len(self.roots))
        np.maximum.at(size, tree, np.abs(self.value))
        return np.argsort(size, kind="stable")

    def take(self, trees: Ints) -> Forest:
        """Return some of the trees, in the order given."""
        ends = np.append(self.roots[1:], len(self.feature))
        nodes = np.concatenate([np.arange(self.roots[t], ends[t]) for t in trees])
        place = np.full(len(self.feature), -1, dtype=np.int64)
        place[nodes] = np.arange(len(nodes))
        held = place[self.leaf] >= 0
        return Forest(
            np.concatenate([[0], np.cumsum((ends - self.roots)[trees])[:-1]]).astype(np.int64),
            self.feature[nodes],
            self.threshold[nodes],
            place[self.left[nodes]],
            place[self.right[nodes]],
            self.nan_left[nodes],
            self.mass[nodes],
            place[self.leaf[held]],
            self.target[held],
            self.value[held],
        )

    def used(self) -> Ints:
        """Return the features some split asks about, in increasing order."""
        return np.unique(self.feature[self.feature >= 0])


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """One tree: the arrays of a `Forest` for its own nodes, the root first; ``value`` is [leaves, outputs]."""

    feature: Ints
    threshold: NDArray[np.float32]
    left: Ints
    right: Ints
    nan_left: NDArray[np.bool_]
    mass: Floats
    leaf: Ints
    target: Ints
    value: Floats


def plant(trees: Sequence[Tree]) -> Forest:
    """Return trees as one forest."""
    sizes = np.array([len(t.feature) for t in trees], dtype=np.int64)
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)[: len(trees)]
    return Forest(
        roots,
        _join([t.feature for t in trees], np.int64),
        _join([t.threshold for t in trees], np.float32),
        _join([t.left + r for t, r in zip(trees, roots, strict=True)], np.int64),
        _join([t.right + r for t, r in zip(trees, roots, strict=True)], np.int64),
        _join([t.nan_left for t in trees], np.bool_),
        _join([t.mass for t in trees], np.float64),
        _join([np.repeat(t.leaf, len(t.target)) + r for t, r in zip(trees, roots, strict=True)], np.int64),
        _join([np.tile(t.target, len(t.leaf)) for t in trees], np.int64),
        _join([t.value.ravel() for t in trees], np.float64),
    )


def merge(forests: Sequence[Forest]) -> Forest:
    """Return several forests as one, whose answer is the sum of theirs."""
    sizes = np.array([len(f.feature) for f in forests], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)[: len(forests)]
    pairs = list(zip(forests, starts, strict=True))
    return Forest(
        _join([f.roots + s for f, s in pairs], np.int64),
        _join([f.feature for f in forests], np.int64),
        _join([f.threshold for f in forests], np.float32),
        _join([f.left + s for f, s in pairs], np.int64),
        _join([f.right + s for f, s in pairs], np.int64),
        _join([f.nan_left for f in forests], np.bool_),
        _join([f.mass for f in forests], np.float64),
        _join([f.leaf + s for f, s in pairs], np.int64),
        _join([f.target for f in forests], np.int64),
        _join([f.value for f in forests], np.float64),
    )


def floor_single(threshold: Floats) -> NDArray[np.float32]:
    """Return the largest float32 at or below each threshold, infinite beyond float32's range.

    For a float32 x, ``x <= t`` and ``x <= floor(t)`` say the same; rounding to nearest does not.
    """
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
        below = np.where(near.astype(np.float64) > threshold, np.nextafter(near, np.float32(-np.inf)), near)
    return np.where(threshold >= LARGEST, np.float32(np.inf), below).astype(np.float32)


def _join(parts: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, dtype=kind)
