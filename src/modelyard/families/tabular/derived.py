"""Derived numbers: sums, differences, products and ratios of those that matter most, chosen inside each fold.

Trees cut one number at a time; a boundary along a sum or a ratio costs them many cuts, and one where it is a column.
Which pairs help is asked of short boosters on the fold's own training rows; where they do not lower the loss on the
fold's stopping part, nothing is added, and answers stay as fast as they were.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Ints
from modelyard.families.tabular.booster import Boosted, Loss, Request, Sample, leaf_rows
from modelyard.families.tabular.inputs import Inputs, Singles
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.lightgbm_trees import gains
from modelyard.families.tabular.memory import Memory

DIFFERENCE, PRODUCT, RATIO, SUM = 0, 1, 2, 3
WAYS = 5
"""Ways in which two numbers are combined: of these four, the ratio both ways round."""
TOP = 8
"""Numbers that are combined, those of most gain."""
MOST = 20
"""Derived numbers kept."""
WORTH = 2e-3
"""Share of the loss on the stopping part that they must take off."""
FEWEST, ROWS = 100, 12_000
"""Rows the short boosters need, and see at most; which pairs matter shows on few."""
ROUNDS = 40
"""Rounds of a short booster, shared among the outputs."""
_LARGEST = np.finfo(np.float32).max
_PARAMETERS = {
    "algorithm": "lightgbm",
    "learning_rate": 0.1,
    "leaves": 16,
    "l2": 1.0,
    "subsample": 1.0,
    "columns": 1.0,
}


@dataclass(frozen=True, slots=True, eq=False)
class Derived:
    """Numbers made of two others.

    Attributes
    ----------
    pairs : int64 array of shape [m, 3]
        `DIFFERENCE`, `PRODUCT`, `RATIO` or `SUM`, and the two columns of the matrix of numbers.
    """

    pairs: Ints

    @classmethod
    def none(cls) -> Derived:
        """Return no derived numbers."""
        return cls(np.zeros((0, 3), dtype=np.int64))

    @classmethod
    def usual(cls, numbers: int) -> Derived:
        """Return as many derived numbers as are kept where they help, of any pairs of so many numbers."""
        pairs = combinations(range(min(numbers, TOP)), 2)
        made = [(kind, *pair) for pair in pairs for kind in (DIFFERENCE, PRODUCT, RATIO, SUM)][:MOST]
        return cls(np.array(made, dtype=np.int64).reshape(-1, 3))

    def values(self, numbers: Singles) -> Singles:
        """Return the derived numbers of rows, float32 [n, m], as the graph computes them, to the last bit.

        A ratio to zero is missing; what is too large for float32 becomes its largest number.
        """
        made = np.empty((len(numbers), len(self.pairs)), dtype=np.float32)
        for kind, of in ((DIFFERENCE, np.subtract), (PRODUCT, np.multiply), (RATIO, np.divide), (SUM, np.add)):
            own = self.pairs[:, 0] == kind
            first, second = numbers[:, self.pairs[own, 1]], numbers[:, self.pairs[own, 2]]
            if kind == RATIO:
                second = np.where(second == 0, np.float32(np.nan), second)
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                made[:, own] = of(first, second)
        return np.asarray(np.clip(made, -_LARGEST, _LARGEST), dtype=np.float32)

    def extend(self, inputs: Inputs) -> Inputs:
        """Return rows with their derived numbers after their own."""
        if not len(self.pairs):
            return inputs
        return inputs.wider(self.values(inputs.numbers))


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Rows of one fold to choose derived numbers by; their features are the numbers alone.

    Attributes
    ----------
    loss : Loss
        What is minimised.
    at : float
        Level of a quantile, power of a Tweedie deviance.
    outputs : int
        Raw scores a row gets.
    learn, stop : Sample
        Rows the short boosters learn from, and rows that say whether it was worth it.
    signs : tuple of int
        As in `Request`: numbers with a direction are combined with none, since a product or a ratio may turn it.
    """

    loss: Loss
    at: float
    outputs: int
    learn: Sample
    stop: Sample
    signs: tuple[int, ...] = ()


ALWAYS = "always"
"""In place of true: derived numbers are chosen without asking what they are worth."""
_MEMORY = Memory(500)


def choose(question: Question, *, asked: bool = True) -> Derived:
    """Choose derived numbers; none where they do not lower the loss on the stopping part, if that is asked."""
    q = _sampled(question)
    if q.learn.x.shape[1] < 2 or not len(q.stop.y) or len(q.learn.y) < FEWEST:
        return Derived.none()
    key = hashlib.sha256(f"{q.loss} {q.at} {q.signs} {asked}".encode())
    for part in (q.learn.x, q.learn.y, q.learn.weight, q.stop.x, q.stop.y, q.stop.weight):
        key.update(np.ascontiguousarray(part).data)
    return _MEMORY.ask(key.hexdigest(), lambda: _choose(q, asked))


def _choose(q: Question, asked: bool) -> Derived:
    plain = _short(q, q.learn, q.stop)
    gain = gains(plain.text, q.learn.x.shape[1])
    gain[np.flatnonzero(q.signs)] = 0.0
    top = np.sort(np.argsort(-gain, kind="stable")[:TOP])
    top = top[gain[top] > 0]
    tried = Derived(_pairs(top))
    if not len(tried.pairs):
        return Derived.none()
    wide = _short(q, _wider(q.learn, tried), _wider(q.stop, tried))
    start = q.learn.x.shape[1]
    gain = gains(wide.text, start + len(tried.pairs))[start:]
    best = np.argsort(-gain, kind="stable")[:MOST]
    kept = Derived(tried.pairs[np.sort(best[gain[best] > 0])])
    least = _least(q)
    better = not asked or _last(wide) - least < (1 - WORTH) * (_last(plain) - least)
    return kept if better and len(kept.pairs) else Derived.none()


def _pairs(columns: Ints) -> Ints:
    """Return every pair of the columns, combined in every way; a ratio both ways round."""
    made = []
    for a, b in combinations(columns.tolist(), 2):
        made += [(DIFFERENCE, a, b), (PRODUCT, a, b), (RATIO, a, b), (RATIO, b, a), (SUM, a, b)]
    return np.array(sorted(made), dtype=np.int64).reshape(-1, 3)


def _wider(sample: Sample, derived: Derived) -> Sample:
    x = np.concatenate([sample.x, derived.values(sample.x)], axis=1)
    return Sample(x, sample.y, sample.weight, sample.start)


def _short(q: Question, learn: Sample, stop: Sample) -> Boosted:
    rounds = max(5, ROUNDS // q.outputs)
    parameters = {**_PARAMETERS, "rounds": rounds, "min_data_in_leaf": leaf_rows(len(learn.y))}
    seed = derive_seed(0, "derived")
    return library("lightgbm").train(Request(parameters, q.loss, q.at, q.outputs, learn, stop, rounds, seed, math.inf))


def _last(boosted: Boosted) -> float:
    return min(boosted.validation, default=math.inf)


def _least(q: Question) -> float:
    """Return the loss of right answers to the stopping part: LightGBM's of counts and claims is not zero for them."""
    y, power = q.stop.y, q.at
    if q.loss == "poisson":
        each = y - y * np.log(np.where(y > 0, y, 1.0))
    elif q.loss == "tweedie":
        each = y ** (2 - power) * (1 / (2 - power) - 1 / (1 - power))
    else:
        return 0.0
    return float(np.average(each, weights=q.stop.weight))


def _sampled(q: Question) -> Question:
    """Return the question over fewer rows, where there are many."""
    return replace(q, learn=_some(q.learn, ROWS), stop=_some(q.stop, ROWS // 3))


def _some(sample: Sample, most: int) -> Sample:
    if len(sample.y) <= most:
        return sample
    rows = np.sort(np.random.default_rng(derive_seed(0, "derived", most)).permutation(len(sample.y))[:most])
    return Sample(np.ascontiguousarray(sample.x[rows]), sample.y[rows], sample.weight[rows], sample.start[rows])
