"""Presets: one word for what a brief leaves open, from an answer within a minute to the best in half an hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelyard.brief.brief import Brief, Budget, Presets, Validation


@dataclass(frozen=True, slots=True)
class Preset:
    """What one word settles.

    Attributes
    ----------
    seconds : float
        Wall clock for training.
    folds : int
        Parts of the development rows.
    networks : bool
        Whether networks may be tried, where time or rows call for them.
    """

    seconds: float
    folds: int
    networks: bool


PRESETS: Mapping[Presets, Preset] = {
    "fast": Preset(45.0, 3, networks=False),
    "balanced": Preset(Budget().seconds, Validation().folds, networks=True),
    "best": Preset(1800.0, 8, networks=True),
}
"""``balanced`` is what a brief without the word gets."""


def under(brief: Brief, presets: Presets) -> Brief:
    """Return a brief with everything a preset settles, whatever it held before."""
    one = PRESETS[presets]
    return replace(
        brief,
        presets=presets,
        budget=replace(brief.budget, seconds=one.seconds),
        validation=replace(brief.validation, folds=one.folds),
    )


def settled(brief: Brief) -> tuple[str, ...]:
    """Return in words what the preset settled: all that it would, but for what the brief says otherwise."""
    one = PRESETS[brief.presets]
    told = [
        (f"{one.seconds:,.0f} s", brief.budget.seconds == one.seconds),
        (f"{one.folds} folds", brief.validation.folds == one.folds),
        ("networks where time or rows call for them" if one.networks else "no networks", brief.model == "auto"),
    ]
    return tuple(words for words, holds in told if holds)
