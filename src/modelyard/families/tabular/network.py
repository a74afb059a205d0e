"""Network: a fitted multilayer perceptron after RealMLP; with several heads, a TabM-mini.

The heads are k networks that share all but how they weigh their inputs and what they answer; their mean answers. One
head is the default: it is trained in about half the time of four, and several models are averaged anyway.

What one fold learnt is a dozen float32 arrays. Answers are computed from them by numpy in float64, so that predicting
needs no deep learning library and a row's answer does not depend on the rows beside it.

References
----------
Gorishniy, Y., Kotelnikov, A. and Babenko, A. (2025). TabM: advancing tabular deep learning with parameter-efficient
ensembling. ICLR.
Holzmueller, D., Grinsztajn, L. and Steinwart, I. (2024). Better by default: strong pre-tuned MLPs and boosted trees on
tabular data. NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.data.dataset import Floats, Ints
from modelyard.families.tabular.inputs import Codes, Inputs, Singles
from modelyard.families.tabular.linear import LEAST_SPREAD

WAVES, MIXED = 16, 3
"""Cosines of a number, and the features they are mixed into."""
OF_A_NUMBER = 2 + MIXED
"""Features of a number: itself, its mixed cosines, and whether it is missing."""
OF_A_CATEGORY = 8
"""Features of a category: its embedding."""
FEWEST = 5
"""Rows a level needs for an embedding of its own; the others, and unseen ones, share one."""
BEND = 3.0
"""A scaled number is drawn in smoothly, to stay within this."""
REACH = 1e4
"""Spreads from the median beyond which a number, drawn in, no longer differs in float32."""
QUARTILE_ROWS = 200_000
"""About so many rows say what a column's quartiles are."""
NODES_MICROSECONDS, PRODUCTS_PER_MICROSECOND = 50, 10_000
"""Time the nodes of all networks add to one answer of the graph, and multiplications that add a microsecond more."""
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
CHUNK = 4_096
"""Rows computed at once: their intermediate results stay in the processor's cache."""


def answer_microseconds(products: float) -> float:
    """Return the time that networks of so many multiplications add to one answer."""
    return NODES_MICROSECONDS + products / PRODUCTS_PER_MICROSECOND


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """How numbers come to lie within a few units of zero: clipped to what was seen, centred, scaled, drawn in.

    Attributes
    ----------
    low, high, centre, factor : float32 arrays of shape [p]
        Least and largest value seen; median, which a missing one becomes; one over the spread, 0 to leave it out.
    """

    low: Singles
    high: Singles
    centre: Singles
    factor: Singles

    @classmethod
    def fit(cls, numbers: Singles) -> Scaling:
        """Read the scaling off training rows [n, p]."""
        some = numbers[:: max(1, len(numbers) // QUARTILE_ROWS)]
        held = ~np.isnan(some).all(axis=0)
        marks = np.zeros((5, numbers.shape[1]))
        marks[1:4, held] = np.nanquantile(some[:, held].astype(np.float64), (0.25, 0.5, 0.75), axis=0)
        marks[0, held], marks[4, held] = np.nanmin(numbers[:, held], axis=0), np.nanmax(numbers[:, held], axis=0)
        low, first, centre, third, high = marks
        spread = np.where(third > first, third - first, (high - low) / 2)
        seen = (spread > LEAST_SPREAD) & (high - low < 1 / LEAST_SPREAD)
        spread = np.where(seen, spread, 0.0)
        # What is left out is held at its centre, and the rest within reach of it, lest float32 overflow on the way.
        low, high = np.maximum(low, centre - REACH * spread), np.minimum(high, centre + REACH * spread)
        factor = np.where(seen, 1 / np.where(seen, spread, 1.0), 0.0)
        return cls(*(a.astype(np.float32) for a in (low, high, centre, factor)))

    def __call__(self, numbers: NDArray[Any]) -> Floats:
        """Return scaled numbers [n, p], zero where missing."""
        filled = np.where(np.isnan(numbers), self.centre, numbers).astype(np.float64)
        scaled = (np.clip(filled, self.low, self.high) - self.centre) * self.factor.astype(np.float64)
        return np.asarray(scaled / np.sqrt(1 + np.square(scaled / BEND)), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A fitted network: k heads, layers of h units, m outputs.

    Attributes
    ----------
    scaling : Scaling
        Of numbers.
    frequency, phase : float32 arrays of shape [p, WAVES]
        Of the cosines of each scaled number.
    mix : float32 array of shape [p, WAVES, MIXED]
        From cosines to features.
    tables : tuple of float32 arrays of shape [L + 2, OF_A_CATEGORY]
        The embedding of each level of each category, unseen and missing last.
    first : float32 array of shape [k, D, h]
        From features to the first layer of each head; `D = OF_A_NUMBER * p + OF_A_CATEGORY * q`.
    layers : tuple of float32 arrays of shape [h, h]
        The layers that the heads share.
    biases : tuple of float32 arrays
        Of the first layer, [k, h], and of those shared, [h].
    last : float32 array of shape [k, h, m]
        From each head's last layer to its outputs, over k: their sum is the answer.
    base : float32 array of shape [m]
        Constant, beyond what every row starts from.
    """

    scaling: Scaling
    frequency: Singles
    phase: Singles
    mix: Singles
    tables: tuple[Singles, ...]
    first: Singles
    layers: tuple[Singles, ...]
    biases: tuple[Singles, ...]
    last: Singles
    base: Singles

    @property
    def products(self) -> int:
        """Multiplications of one answer."""
        return self.first.size + self.last.size + len(self.first) * sum(layer.size for layer in self.layers)

    def raw(self, inputs: Inputs) -> Floats:
        """Return scores [n, m]."""
        parts = [
            self._answer(self.features(inputs.take(np.arange(start, min(start + CHUNK, len(inputs.codes))))))
            for start in range(0, len(inputs.codes), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.base)))

    def features(self, inputs: Inputs) -> Floats:
        """Return what the first layer reads, [n, D]: a few features of each number, then each category's embedding."""
        z = self.scaling(inputs.numbers)[:, :, None]
        waves = np.cos(z * self.frequency.astype(np.float64) + self.phase)
        mixed = np.einsum("npf,pfe->npe", waves, self.mix.astype(np.float64))
        gone = np.isnan(inputs.numbers)[:, :, None]
        of_numbers = np.concatenate([z, mixed, gone], axis=2).reshape(len(z), -1)
        embedded = [table[codes] for table, codes in zip(self.tables, inputs.codes.T, strict=True)]
        return np.concatenate([of_numbers, *embedded], axis=1, dtype=np.float64)

    def _answer(self, features: Floats) -> Floats:
        hidden = selu(features @ self.first.astype(np.float64) + self.biases[0][:, None])  # [k, n, h]
        for weights, bias in zip(self.layers, self.biases[1:], strict=True):
            hidden = selu(hidden @ weights.astype(np.float64) + bias)
        return np.asarray((hidden @ self.last.astype(np.float64)).sum(axis=0) + self.base, dtype=np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by name."""
        lists = {"table": self.tables, "layer": self.layers, "bias": self.biases}
        return {
            **{name: getattr(self.scaling, name) for name in _SCALING},
            **{name: getattr(self, name) for name in _PLAIN},
            **{f"{name}{i}": array for name, several in lists.items() for i, array in enumerate(several)},
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Network:
        """Return the network `arrays` was taken from."""

        def several(name: str) -> tuple[Singles, ...]:
            count = sum(key.rstrip("0123456789") == name for key in arrays)
            return tuple(arrays[f"{name}{i}"] for i in range(count))

        return cls(
            scaling=Scaling(*(arrays[name] for name in _SCALING)),
            tables=several("table"),
            layers=several("layer"),
            biases=several("bias"),
            **{name: arrays[name] for name in _PLAIN},
        )


_SCALING = ("low", "high", "centre", "factor")
_PLAIN = ("frequency", "phase", "mix", "first", "last", "base")


def selu(x: Floats) -> Floats:
    """Return the scaled exponential linear unit of each value (Klambauer et al., 2017)."""
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def places(codes: Codes, sizes: Sequence[int]) -> tuple[Ints, ...]:
    """Return for each category the embedding each code [L + 2] has; 0 is what rare and unseen levels share."""
    found = []
    for column, size in zip(codes.T, sizes, strict=True):
        count = np.bincount(column, minlength=size + 2)
        count[size] = 0
        own = np.flatnonzero(count >= FEWEST)
        place = np.zeros(size + 2, dtype=np.int64)
        place[own] = np.arange(1, len(own) + 1)
        found.append(place)
    return tuple(found)
