"""Turned splits: in a graph trees read a matrix of features and, after it, the same features negated.

``-x <= turned(t)`` says of every float32 x what ``x > t`` does, infinities among them, unless t is infinite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIGNS = "signs"
"""Name of the graph's constant [2 * features]: 1 for each feature, then -1 for each."""
_BELOW, _ABOVE = np.float32(-np.inf), np.float32(np.inf)


def turned(threshold: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the thresholds for negated features: the float32 before each one's negative."""
    with np.errstate(over="ignore"):  # the last number goes to infinity, and is meant to
        return np.nextafter(-threshold, _BELOW)


def straight(threshold: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the thresholds for features as they are, from those for negated ones."""
    with np.errstate(over="ignore"):
        return -np.nextafter(threshold, _ABOVE)
