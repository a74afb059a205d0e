"""Probe: a few rounds on a few rows, to say what a whole fit will take on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.core.optional import need
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.families.monotone import signs
from modelyard.families.tabular import derived, text_tables, texts
from modelyard.families.tabular.booster import Loss, Request, Sample
from modelyard.families.tabular.cores import shared_cores
from modelyard.families.tabular.derived import Derived
from modelyard.families.tabular.inputs import find_levels, find_vocabularies, read_inputs, varies
from modelyard.families.tabular.labels import loss_of, read_labels
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.linear import sampled
from modelyard.families.tabular.network_training import fit_network, matrix
from modelyard.families.tabular.tables import blocks, cross_fit, fit_tables, look_up, targets

CELLS = 250_000
"""Cells of the larger sample; the smaller one has a quarter of its rows."""
TIMED_ROWS = 2_000
"""Rows of the epochs that time a network."""
ROUNDS, ROUNDS_OF_SEVERAL = 12, 5
"""Rounds timed; of several classes fewer, since each grows a tree for every class."""
SLOW = 0.25
"""Seconds of a round from which it is timed but once."""
STOP_SHARE = 0.15
TIMED_CLASSES = 20
"""Of more classes so many are timed beside all others as one, and scaled up: most libraries grow a tree for each."""
PASSES = 600
"""Passes over the data that a linear model's path of penalties takes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds a round takes: some for the round itself, and some for each row."""

    per_round: float
    per_row: float

    def seconds(self, rows: float, rounds: float) -> float:
        """Return the seconds of one fit."""
        return rounds * (self.per_round + self.per_row * rows)


class Probe:
    """Times boosters on a sample of a table.

    Parameters
    ----------
    data : Dataset
        The table, with its label.
    seed : int
        Draws the sample.
    loss : mapping
        Parameters that name the loss of numbers; see `loss_parameters`.
    derives : bool
        Whether fits derive numbers.
    """

    def __init__(self, data: Dataset, seed: int, loss: Mapping[str, Any], *, derives: bool = True) -> None:
        rng = np.random.default_rng(derive_seed(seed, "probe"))
        order = _varied(rng.permutation(len(data)), data.truth(), classes=bool(data.schema.classes))
        drawn = data.take(np.sort(order[:4_000]))
        began = time.perf_counter()
        levels = find_levels(drawn)
        inputs = read_inputs(drawn, levels)
        truth, classes = drawn.truth(), len(data.schema.classes)
        weights = np.ones(len(drawn))
        labels = read_labels(truth, weights, classes, *loss_of(loss))
        y, _ = labels.of(truth)
        target = targets(y if classes == 0 else truth, classes)
        self._numbered, self._drawn = time.perf_counter() - began, max(1, len(drawn))
        began = time.perf_counter()
        tables = fit_tables(inputs.codes, [len(known) for known in levels], target, weights)
        cross_fit(inputs, tables, target, weights, blocks(len(drawn), 0, None))  # timed, as a fold does it
        x = look_up(inputs, tables)
        self._encoded = time.perf_counter() - began
        self._read = self._fitted = 0.0
        if words := find_vocabularies(drawn):
            need("scipy.sparse", "train", "A text column")  # a process loads it once
            for memory in (texts.MEMORY, text_tables.MEMORY):  # an earlier plan's answers would take no time
                memory.held.clear()
            began = time.perf_counter()
            read = read_inputs(drawn, levels, words)
            self._read = time.perf_counter() - began
            block = blocks(len(drawn), 0, None)
            x = look_up(text_tables.fit_texts(read, truth, classes, weights, block)[1], tables)
            self._fitted = time.perf_counter() - began - self._read
        self.columns = x.shape[1]
        self._signs = signs(data.schema)
        self.loss: Loss = labels.loss
        self._at = labels.at
        self.outputs = classes if self.loss == "softmax" else len(labels.present)
        self.idle = labels.constant or self.columns == 0
        order = _varied(np.arange(len(y)), y, classes=classes > 0)[: max(200, CELLS // max(1, self.columns))]
        self._inputs, self._sizes = inputs.take(order), tuple(len(known) for known in levels)
        start = np.tile(labels.start, (len(order), 1))
        # Derived numbers are found later; a fit that keeps them takes as much longer.
        self._numbers = inputs.numbers.shape[1] if derives else 0
        made = Derived.usual(self._numbers).values(self._inputs.numbers)
        self._sample = Sample(np.hstack([x[order], made]), y[order], weights[order], start)

    def pace(self, parameters: Mapping[str, Any]) -> Pace:
        """Return how fast a library boosts with these parameters."""
        large = len(self._sample.y)
        small = max(large // 4, min(large, 50))
        if self.idle or not varies(self._sample.x):
            return Pace(0.0, 0.0)
        if not varies(self._sample.x[:small]):  # CatBoost refuses such rows
            small = large
        self._time(parameters, small, 1)  # the first booster of a process also starts threads
        slow, fast = (self._round(parameters, rows) for rows in (large, small))
        per_row = max(slow - fast, 0.0) / max(large - small, 1)
        return Pace(max(slow - per_row * large, 0.0), per_row)

    def reading_seconds(self, rows: float) -> float:
        """Return the seconds that turning rows into numbers and codes takes, once for all candidates."""
        return self._numbered * max(1.0, rows / self._drawn)

    def encoding_seconds(self, rows: float) -> float:
        """Return the seconds a fold takes beside its rounds, to fit category means and look them up."""
        return self._encoded * max(1.0, rows / self._drawn)

    def deriving_seconds(self, pace: Pace, rows: float) -> float:
        """Return the seconds a fold takes to find its derived numbers, given the pace of trees on the sample."""
        made = Derived.usual(self._numbers).pairs
        if not len(made):
            return 0.0
        tried = derived.WAYS * math.comb(min(self._numbers, derived.TOP), 2) + self._numbers + self.columns
        wide = tried / (self.columns + len(made))
        return float(derived.ROUNDS * pace.seconds(min(rows, derived.ROWS), 1) * wide)

    def text_seconds(self, rows: float, fits: int) -> float:
        """Return the seconds that texts take, once for all candidates: they are read twice over, and fitted by fold."""
        return (2 * self._read + fits * self._fitted) * max(1.0, rows / self._drawn)

    def epoch_seconds(self, parameters: Mapping[str, Any], rows: int) -> float:
        """Return the seconds of one epoch of a network over so many rows: the quicker of two tries, scaled up."""
        drawn = min(len(self._sample.y), TIMED_ROWS, rows)
        s, x = self._sample, matrix(self._inputs.take(np.arange(drawn)))
        cut = Sample(x, s.y[:drawn], s.weight[:drawn], s.start[:drawn])
        outputs = s.start.shape[1]  # of classes that stand among these rows
        request = Request(parameters, self.loss, self._at, outputs, cut, None, 1, 0, time.monotonic() + 60)
        took = []
        with shared_cores(str(parameters["algorithm"])):
            for _ in range(3):  # the first fit of a process also loads torch
                began = time.perf_counter()
                fit_network(request, self._sizes)
                took.append(time.perf_counter() - began)
        return min(took[1:]) * rows / drawn

    def linear_seconds(self, rows: float) -> float:
        """Return the seconds of one linear fit: measured passes over the data, times the passes a path takes."""
        values = min(rows, sampled(self.columns, self.outputs)) * self.columns * max(self.outputs, 1)
        matrix = self._sample.x[:, : self.columns].astype(np.float64)
        weights = np.ones(self.columns)
        matrix @ weights
        began = time.perf_counter()
        for _ in range(5):
            matrix.T @ np.tanh(matrix @ weights)
        per_value = (time.perf_counter() - began) / 5 / max(matrix.size, 1)
        return float(0.02 + PASSES * values * per_value)

    def _round(self, parameters: Mapping[str, Any], rows: int) -> float:
        """Return the seconds of one round: the quicker of two tries, since others may be using the machine.

        A slow one, as of a hundred classes, is tried once: what disturbs it is small beside it.
        """
        one, tries = self._time(parameters, rows, 1), 2
        rounds = ROUNDS if self.outputs == 1 else ROUNDS_OF_SEVERAL
        if one > SLOW:
            rounds, tries = 2, 1
        else:
            one = min(one, self._time(parameters, rows, 1))
        many = min(self._time(parameters, rows, rounds) for _ in range(tries))
        return max(many - one, 0.1 * many) / (rounds - 1)

    def _time(self, parameters: Mapping[str, Any], rows: int, rounds: int) -> float:
        s, outputs = self._sample, self.outputs
        y, start = s.y[:rows], s.start[:rows]
        if self.loss == "softmax":  # libraries want rows of every class they are told of
            held, places = np.unique(y, return_inverse=True)
            if parameters["algorithm"] != "catboost":  # whose trees answer for all classes at once
                held, places = held[: TIMED_CLASSES + 1], np.minimum(places, TIMED_CLASSES)
            y, start, outputs = places.astype(np.float64), start[:, held.astype(np.int64)], len(held)
        cut = Sample(s.x[:rows], y, s.weight[:rows], start)
        part = max(1, int(STOP_SHARE * rows))  # a fit looks at rows set aside after each round, and so does this
        aside = Sample(cut.x[:part], cut.y[:part], cut.weight[:part], cut.start[:part])
        began = time.perf_counter()
        library(parameters["algorithm"]).train(
            Request(
                parameters,
                self.loss,
                self._at,
                outputs,
                cut,
                aside,
                rounds,
                0,
                time.monotonic() + 60,
                signs=self._signs,
            )
        )
        return (time.perf_counter() - began) * self.outputs / outputs


def _varied(order: Ints, truth: Ints | Floats, classes: bool) -> Ints:
    """Return an order of rows that begins with one of each class, or with two different values of a number.

    A cut of it then holds as many classes as it can: CatBoost refuses labels that are all the same, as those of a rare
    class or a number that is mostly zero may be in a small cut.
    """
    values = truth[order]
    first = np.unique(values, return_index=True)[1] if classes else np.array([values.argmin(), values.argmax()])
    return np.concatenate([order[first], np.delete(order, first)])
