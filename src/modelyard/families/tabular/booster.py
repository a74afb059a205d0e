"""Booster: what the three libraries of boosted trees have in common, one file each behind these types."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal, Protocol

from modelyard.data.dataset import Floats
from modelyard.families.tabular.forest import Forest
from modelyard.families.tabular.inputs import Singles

Loss = Literal["logistic", "softmax", "squared", "absolute", "quantile", "poisson", "tweedie"]
THREADS = 1
"""Threads of one booster. Folds are fitted side by side instead: threads that wait for each other inside a booster lose
up to fifty times on a busy machine, and one thread gives the same trees on every machine."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows to learn from: features [n, f], label [n] (0/1, codes or standardised values), weight [n], start [n, k]."""

    x: Singles
    y: Floats
    weight: Floats
    start: Floats


def patience(parameters: Mapping[str, Any]) -> int:
    """Return how many rounds without a better loss end the boosting: more of them where each learns less."""
    return int(min(60, max(12, round(2.5 / float(parameters["learning_rate"])))))


def leaf_rows(rows: int) -> int:
    """Return how many rows a leaf holds at least where `rows` are learnt from: 20, fewer of small tables."""
    return min(20, max(2, rows // 40))


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One booster to train.

    Attributes
    ----------
    parameters : mapping
        The candidate's.
    loss : {"logistic", "softmax", "squared", "absolute", "quantile", "poisson", "tweedie"}
        What is minimised.
    at : float
        Level of the quantile, or power of the variance; NaN for the other losses.
    outputs : int
        Raw scores a row gets.
    learn : Sample
        Rows the trees are grown on.
    stop : Sample or None
        Rows whose loss ends the boosting.
    rounds : int or None
        Exact number of rounds; None lets `stop` say.
    seed : int
        Of subsampling.
    until : float
        ``time.monotonic()`` after which no round begins: a guard, and the rounds it leaves are replayed exactly.
    halted : threading.Event
        Set when nobody wants the booster any more.
    signs : tuple of int
        For the first columns of the features, 1 where scores may only rise with it, -1 where only fall; 0, and no
        entry, for either.
    """

    parameters: Mapping[str, Any]
    loss: Loss
    at: float
    outputs: int
    learn: Sample
    stop: Sample | None
    rounds: int | None
    seed: int
    until: float
    halted: Event = field(default_factory=Event)
    signs: tuple[int, ...] = ()

    @property
    def most(self) -> int:
        """Rounds to begin with."""
        return int(self.parameters["rounds"]) if self.rounds is None else self.rounds

    @property
    def patience(self) -> int:
        """Rounds without a better loss that end the boosting."""
        return patience(self.parameters)

    @property
    def stops(self) -> bool:
        """Whether the boosting may end early."""
        return self.rounds is None and self.stop is not None

    @property
    def directions(self) -> list[int]:
        """The signs of all features; empty where all are free."""
        free = self.learn.x.shape[1] - len(self.signs)
        return [*self.signs, *([0] * free)] if any(self.signs) else []

    def late(self) -> bool:
        """Whether to begin no further round."""
        return self.halted.is_set() or (self.rounds is None and time.monotonic() > self.until)


@dataclass(frozen=True, slots=True)
class Boosted:
    """A trained booster: its native text, its rounds, and the loss after each round on both samples."""

    text: str
    rounds: int
    train: tuple[float, ...]
    validation: tuple[float, ...]


def losses(seen: Mapping[str, Mapping[str, Sequence[float]]], name: str, rounds: int) -> tuple[float, ...]:
    """Return the losses a library kept of one sample, up to the last round that counts."""
    kept = seen.get(name, {})
    return tuple(float(v) for v in next(iter(kept.values()), ())[:rounds])


class Library(Protocol):
    """A library of boosted trees. Scores leave out what a row starts from (`Sample.start`)."""

    def train(self, request: Request) -> Boosted:
        """Train a booster."""

    def raw(self, text: str, x: Singles) -> Floats:
        """Return scores [n, outputs] of a native text."""

    def leaves(self, text: str) -> list[int]:
        """Return how many leaves each tree of a native text has in the graph."""

    def forest(self, text: str) -> Forest:
        """Return a native text as a forest that answers as the library does."""
