"""Networks in the graph: those of one shape, from all models and members, side by side in every matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.data.dataset import Floats
from modelyard.families.tabular.draft import Draft
from modelyard.families.tabular.inputs import Singles
from modelyard.families.tabular.layout import Layout
from modelyard.families.tabular.network import BEND, OF_A_CATEGORY, OF_A_NUMBER, Network

NETWORKS = "from_networks"
"""What all networks together add to the raw scores, [n, k]."""
OF_NETWORK = tuple[Network, Floats]
"""A network, and where and how much its outputs add [m, k]."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPart:
    """B networks of one shape.

    Attributes
    ----------
    networks : tuple of Network
        All of the same numbers of heads, layers and units.
    tables : float32 array of shape [B, R, OF_A_CATEGORY]
        Embeddings by row of the levels' table.
    last : float32 array of shape [B, k * h, outputs]
        From the last layers of all heads to the blend's raw scores.
    """

    networks: tuple[Network, ...]
    tables: Singles
    last: Singles


def network_parts(members: Sequence[OF_NETWORK], layout: Layout) -> list[NetworkPart]:
    """Put networks of the same shape side by side."""
    alike: dict[tuple[Any, ...], list[OF_NETWORK]] = {}
    for member in members:
        shape = (member[0].first.shape, len(member[0].layers), member[0].last.shape[:2])
        alike.setdefault(shape, []).append(member)
    parts = []
    for several in alike.values():
        tables = [np.concatenate(n.tables) for n, _ in several if n.tables]
        last = [n.last.reshape(-1, n.last.shape[2]).astype(np.float64) @ spread for n, spread in several]
        whole = np.stack(tables) if tables else np.zeros((len(several), 0, OF_A_CATEGORY), dtype=np.float32)
        parts.append(NetworkPart(tuple(n for n, _ in several), whole, np.stack(last).astype(np.float32)))
    return parts


def add_networks(draft: Draft, parts: Sequence[NetworkPart], matrix: str | None, numbers: int, strings: int) -> str:
    """Add the networks to a graph; return the name of what they add, [n, k].

    Its ``row`` holds the levels' rows, and the named matrix the numbers, where there are any.
    """
    if matrix is not None:
        draft.add("Transpose", [matrix], "columns", perm=[1, 0])  # [p, n]
        draft.add("IsNaN", ["columns"], "columns_gone")
        draft.add(
            "Cast", ["columns_gone"], "columns_gaps", to=need("onnx", "train", "The ONNX export").TensorProto.FLOAT
        )
    terms = [_Part(draft, part, f"net{i}").add(numbers, strings) for i, part in enumerate(parts)]
    return draft.add("Sum", terms, NETWORKS)


class _Part:
    """The nodes of one part, named under it; arrays are [B, p, n, ...] for numbers and [B, n, ...] for layers."""

    def __init__(self, draft: Draft, part: NetworkPart, name: str) -> None:
        self._draft, self._part, self._name = draft, part, name
        self._size = len(part.networks)

    def add(self, numbers: int, strings: int) -> str:
        size = self._size
        features = [self._numbers(numbers)] if numbers else []
        features += [self._categories(strings)] if strings else []
        hidden = self._node("Concat", features, "features", axis=2) if len(features) > 1 else features[0]
        net = self._part.networks[0]
        k, features_of, h = net.first.shape
        first = np.stack([n.first.transpose(1, 0, 2).reshape(features_of, k * h) for n in self._part.networks])
        bias = self._stack(lambda n: n.biases[0].reshape(1, k * h))
        hidden = self._layer(hidden, first, bias, 0)
        if net.layers:
            hidden = self._shaped(hidden, (size, -1, h), "heads")
            for i in range(len(net.layers)):
                weights = self._stack(lambda n, i=i: n.layers[i])
                bias = self._stack(lambda n, i=i: n.biases[i + 1][None])
                hidden = self._layer(hidden, weights, bias, i + 1)
            hidden = self._shaped(hidden, (size, -1, k * h), "together")
        each = self._node("MatMul", [hidden, self._constant("last", self._part.last)], "each")
        return self._node("ReduceSum", [each, self._constant("axis", np.zeros(1, dtype=np.int64))], "sum", keepdims=0)

    def _numbers(self, numbers: int) -> str:
        def scaling(name: str) -> str:
            return self._constant(name, self._stack(lambda n: getattr(n.scaling, name)[:, None]))

        centre = scaling("centre")
        filled = self._node("Where", ["columns_gone", centre, "columns"], "filled")
        above = self._node("Max", [filled, scaling("low")], "not_below")
        clipped = self._node("Min", [above, scaling("high")], "clipped")
        centred = self._node("Sub", [clipped, centre], "centred")
        scaled = self._node("Mul", [centred, scaling("factor")], "scaled")
        bent = self._node("Div", [scaled, self._constant("bend", np.float32(BEND).reshape(()))], "bent")
        square = self._node("Mul", [bent, bent], "square")
        above_one = self._node("Add", [square, self._constant("one", np.ones((), dtype=np.float32))], "above_one")
        z = self._node("Div", [scaled, self._node("Sqrt", [above_one], "root")], "z")
        axis = self._constant("feature_axis", np.array([3], dtype=np.int64))
        z = self._node("Unsqueeze", [z, axis], "z_each")
        frequency = self._constant("frequency", self._stack(lambda n: n.frequency[:, None]))
        phase = self._constant("phase", self._stack(lambda n: n.phase[:, None]))
        angle = self._node("Add", [self._node("Mul", [z, frequency], "turned"), phase], "angle")
        waves = self._node("Cos", [angle], "waves")
        mixed = self._node("MatMul", [waves, self._constant("mix", self._stack(lambda n: n.mix))], "mixed")
        everywhere = self._constant("everywhere", np.ones((self._size, 1, 1, 1), dtype=np.float32))
        gaps = self._node(
            "Mul", [self._node("Unsqueeze", ["columns_gaps", self._last_axis()], "gaps_each"), everywhere], "gaps"
        )
        features = self._node("Concat", [z, mixed, gaps], "of_numbers", axis=3)
        turned = self._node("Transpose", [features], "of_rows", perm=[0, 2, 1, 3])
        return self._shaped(turned, (self._size, -1, numbers * OF_A_NUMBER), "of_numbers_flat")

    def _last_axis(self) -> str:
        return self._constant("gap_axis", np.array([2], dtype=np.int64))

    def _categories(self, strings: int) -> str:
        found = self._node("Gather", [self._constant("tables", self._part.tables), "row"], "embedded", axis=1)
        return self._shaped(found, (self._size, -1, strings * OF_A_CATEGORY), "of_categories")

    def _layer(self, given: str, weights: Singles, bias: Singles, number: int) -> str:
        product = self._node("MatMul", [given, self._constant(f"weights{number}", weights)], f"product{number}")
        total = self._node("Add", [product, self._constant(f"bias{number}", bias)], f"total{number}")
        return self._node("Selu", [total], f"hidden{number}")

    def _shaped(self, given: str, shape: tuple[int, ...], name: str) -> str:
        wanted = self._constant(f"{name}_shape", np.array(shape, dtype=np.int64))
        return self._node("Reshape", [given, wanted], name)

    def _stack(self, of: Any) -> Singles:
        return np.stack([of(n) for n in self._part.networks])

    def _node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        return self._draft.add(kind, inputs, f"{self._name}_{name}", **attributes)

    def _constant(self, name: str, value: Any) -> str:
        return self._draft.constant(f"{self._name}_{name}", np.ascontiguousarray(value))
