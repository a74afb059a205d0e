"""When a network is worth its time: the rule that candidates follow and the plan explains."""

from __future__ import annotations

from modelyard.brief.brief import Brief
from modelyard.brief.presets import PRESETS

NETWORK = "mlp"
"""Name of the candidate."""
NAMES = ("mlp", "neural network", "neural net", "deep neural network", "realmlp", "tabm")
"""What a brief may call it."""
DEEP_SECONDS = 240.0
"""Budget from which the trees leave time for a network."""
DEEP_ROWS = 10_000_000
"""Rows from which a network is tried whatever the budget: below, boosted trees lead on mixed tables."""


def names_network(model: str) -> bool:
    """Say whether the model a brief names is a network."""
    return letters(model) in {letters(name) for name in NAMES}


def wants_network(brief: Brief, rows: int) -> bool:
    """Say whether a brief and so many rows call for a network."""
    enough = brief.budget.seconds >= DEEP_SECONDS or rows >= DEEP_ROWS
    allowed = PRESETS[brief.presets].networks and not brief.data.monotone
    return names_network(brief.model) or (brief.model == "auto" and enough and allowed)


def letters(text: str) -> str:
    """Return the letters of a name in lower case: what names of models are compared by."""
    return "".join(c for c in text.lower() if c.isalpha())
