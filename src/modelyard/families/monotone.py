"""Directions a brief asks for: how models are told, and which of them hold to it.

Every member of a blend must hold: a weighted sum of rising functions rises, any other may fall. A line's weights are
bounded by zero. Boosted trees are grown under the library's own constraint; where the loss makes LightGBM and
XGBoost choose the values of leaves anew once a tree is grown, theirs no longer holds, and they are left out. Networks
are left out whatever the loss.
"""

from __future__ import annotations

from modelyard.data.schema import Schema
from modelyard.encoding.encoding import Encoding

SIGNS = {"increasing": 1, "decreasing": -1, None: 0}
RENEWED = ("absolute", "quantile")
"""Losses whose leaves are chosen anew after a tree is grown."""
LOOSE = {"lightgbm": "LightGBM", "xgboost": "XGBoost"}
"""Libraries whose constraint such losses undo; LightGBM refuses the pair, XGBoost 3.2 breaks it unsaid."""


def signs(schema: Schema) -> tuple[int, ...]:
    """Return 1, -1 or 0 for each column of the matrix of numbers: rising, falling, free; empty where all are free."""
    asked = {c.name: SIGNS[c.monotone] for c in schema.features if c.monotone is not None}
    return tuple(asked.get(n.column, 0) for n in Encoding.of(schema).numbers) if asked else ()


def holds(algorithm: str, loss: str) -> bool:
    """Say whether a kind of boosted trees keeps to a direction under a loss."""
    return not (algorithm in LOOSE and loss in RENEWED)
