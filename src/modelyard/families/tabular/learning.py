"""Learning: what the fits of one candidate share, and the features one fold's training rows make of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event

import numpy as np
from numpy.typing import NDArray

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.data.inner import inner
from modelyard.families.fitted import Candidate
from modelyard.families.tabular.booster import Sample
from modelyard.families.tabular.derived import ALWAYS, Derived, Question, choose
from modelyard.families.tabular.inputs import Inputs, Singles
from modelyard.families.tabular.labels import Labels, loss_of, read_labels
from modelyard.families.tabular.tables import blocks, cross_fit, fit_tables, look_up, targets
from modelyard.families.tabular.text_tables import TextTable, fit_texts


@dataclass(frozen=True, slots=True, eq=False)
class Learning:
    """Everything the fits of one candidate share."""

    candidate: Candidate
    data: Dataset
    inputs: Inputs
    sizes: tuple[int, ...]
    truth: Ints | Floats
    weights: Floats
    groups: Ints | None
    classes: int
    forward: bool
    seed: int
    signs: tuple[int, ...]
    halted: Event = field(default_factory=Event)
    shared: list[float] = field(default_factory=list)
    """Seconds that fits took for what other candidates will find worked out."""

    @property
    def algorithm(self) -> str:
        """Which library, "linear", or "mlp"."""
        return str(self.candidate.parameters["algorithm"])

    @property
    def boosted(self) -> bool:
        """Whether it is a library of boosted trees."""
        return self.algorithm not in ("linear", "mlp")


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One fit: its fold's number, rows to learn from, rows that say when to stop, and weights [n_development].

    `labels` are as the fit weighs their classes; `base` [k], which scores start from, is as the table weighs them.
    """

    number: int
    rounds: int | None
    learn: Ints
    stop: Ints
    weights: Floats
    labels: Labels
    base: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """The rows a booster learns from and stops by, and what turns other rows into the same features."""

    x: Singles
    stop: Singles
    tables: tuple[Singles, ...]
    derived: Derived
    texts: tuple[TextTable, ...]


def divide(learning: Learning, train: Ints, share: float, seed: int) -> tuple[Ints, Ints]:
    """Divide a fold's rows as `inner` does, so that both parts weigh something: of other rows no loss can tell.

    Nothing is set aside where one entity, or one row, holds all the weight.
    """
    learn, stop = inner(learning.data, train, share, seed)
    if not (learning.weights[learn].any() and learning.weights[stop].any()):
        _, stop = inner(learning.data, train[learning.weights[train] > 0], share, seed)
        learn = np.setdiff1d(train, stop)
    return (learn, stop) if learning.weights[learn].any() else (train, train[:0])


def texts_of(learning: Learning, job: Job) -> tuple[tuple[TextTable, ...], Inputs, Ints]:
    """Return text tables, the fold's training rows with cross-fitted figures of texts, and which rows they are.

    Rows to learn from and rows to stop by are taken together: no row's figures come from its own label, and so all
    candidates, which divide them otherwise, share one answer.
    """
    train = np.sort(np.concatenate([job.learn, job.stop]))
    inputs = learning.inputs.take(train)
    if not inputs.texts:
        return (), inputs, train
    groups = None if learning.groups is None else learning.groups[train]
    block = blocks(len(train), derive_seed(0, "texts", job.number), groups)
    texts, inputs = fit_texts(inputs, learning.truth[train], learning.classes, learning.weights[train], block)
    return texts, inputs, train


def encode(learning: Learning, job: Job) -> Encoded:
    """Return what a booster reads of one fold: everything is learnt from the fold's training rows alone."""
    learn, labels = job.learn, job.labels
    y, _ = labels.of(learning.truth[learn])
    begun = time.monotonic()
    texts, read, train = texts_of(learning, job)
    derived = _derive(learning, train)
    learning.shared.append(time.monotonic() - begun)
    inputs, mass = derived.extend(read.take(np.searchsorted(train, learn))), learning.weights[learn]
    target = targets(y if learning.classes == 0 else learning.truth[learn], learning.classes)
    tables = fit_tables(inputs.codes, learning.sizes, target, mass)
    groups = None if learning.groups is None else learning.groups[learn]
    block = blocks(len(learn), derive_seed(learning.seed, "blocks", job.number), groups)
    stop = look_up(derived.extend(read.take(np.searchsorted(train, job.stop))), tables)
    return Encoded(cross_fit(inputs, tables, target, mass, block), stop, tables, derived, texts)


def _derive(learning: Learning, train: Ints) -> Derived:
    """Choose derived numbers on the rows of one fold: the same ones for every candidate that takes any."""
    given = learning.candidate.parameters.get("derived", True)
    if not given:
        return Derived.none()
    learn, stop = divide(learning, train, 0.2, derive_seed(0, "derived"))
    loss = loss_of(learning.candidate.parameters)
    labels = read_labels(learning.truth[learn], learning.weights[learn], learning.classes, *loss)
    if labels.constant:
        return Derived.none()

    def sample(rows: Ints) -> Sample:
        y, known = labels.of(learning.truth[rows])
        rows = rows[known]
        return sample_of(learning.inputs.numbers[rows], y, learning.weights[rows], labels.start)

    question = Question(labels.loss, labels.at, len(labels.present), sample(learn), sample(stop), learning.signs)
    return choose(question, asked=given != ALWAYS)


def sample_of(x: NDArray[np.float32], y: Floats, weight: Floats, start: Floats) -> Sample:
    """Return rows as a library of boosted trees takes them; `start` [k] is what every row starts from."""
    return Sample(np.ascontiguousarray(x), y, weight / weight.mean(), np.tile(start, (len(y), 1)))
