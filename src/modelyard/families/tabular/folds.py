"""One candidate over the folds: encode, stop on an inner part, score the rows held out, keep the models as data."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelyard.core.machine import usable_cores
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Fold, Ints, Parts
from modelyard.data.inner import inner
from modelyard.families.family import Watch
from modelyard.families.fitted import Candidate, Curve, Fitted
from modelyard.families.tabular import linear
from modelyard.families.tabular.booster import Request, Sample
from modelyard.families.tabular.cores import one_thread
from modelyard.families.tabular.inputs import Inputs, find_levels, read_inputs
from modelyard.families.tabular.labels import Labels, balance, mean_loss, read_labels
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.models import Model, dump_model
from modelyard.families.tabular.network_training import fit_network, matrix
from modelyard.families.tabular.tables import blocks, cross_fit, fit_tables, look_up, targets

POINTS = 60
"""Points kept of a learning curve."""


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
    times: Floats | None
    classes: int
    forward: bool
    seed: int
    halted: Event = field(default_factory=Event)

    @property
    def algorithm(self) -> str:
        """Which library, "linear", or "mlp"."""
        return str(self.candidate.parameters["algorithm"])


def fit_folds(
    candidate: Candidate, parts: Parts, seed: int, watch: Watch | None, rounds: tuple[int, ...] | None
) -> Fitted:
    """Fit a candidate; see `modelyard.families.family.Family.fit`."""
    begun = time.monotonic()
    data = parts.development
    levels = find_levels(data)
    given = data.weights()
    learning = Learning(
        candidate,
        data,
        read_inputs(data, levels),
        tuple(len(known) for known in levels),
        data.truth(),
        np.ones(len(data)) if given is None else given,
        data.groups(),
        data.times() if parts.split.forward else None,
        len(data.schema.classes),
        parts.split.forward,
        seed,
    )
    outputs = learning.classes if learning.classes > 2 else 1
    scores = np.full((len(data), outputs), np.nan)
    models: list[Model] = []
    counts: list[int] = []
    curves: list[Curve] = []
    with one_thread(learning.algorithm), closing(_side_by_side(learning, parts.split.folds, rounds)) as fits:
        for number, (model, count, curve, raw) in enumerate(fits):
            scores[parts.split.folds[number].score] = raw
            models.append(model)
            counts.append(count)
            curves += curve
            if watch is not None:
                seen = np.flatnonzero(~np.isnan(scores[:, 0]))
                watch(number, mean_loss(scores[seen], learning.truth[seen], learning.weights[seen]))
        if parts.split.forward or not parts.split.folds:
            count = _final_rounds(learning, counts) if rounds is None else rounds[len(counts)]
            model, count, _ = _fit_one(learning, np.arange(len(data)), len(counts), count, whole=True)
            models = [model]
            counts.append(count)
    arrays: dict[str, NDArray[Any]] = {}
    texts: dict[str, str] = {}
    records = [dump_model(model, f"fold{i}", arrays, texts) for i, model in enumerate(models)]
    facts: Mapping[str, Any] = {
        "algorithm": learning.algorithm,
        "outputs": outputs,
        "levels": [list(known) for known in levels],
        "models": records,
    }
    return Fitted(candidate, facts, arrays, texts, scores, tuple(counts), time.monotonic() - begun, tuple(curves))


def _side_by_side(
    learning: Learning, folds: Sequence[Fold], rounds: tuple[int, ...] | None
) -> Generator[tuple[Model, int, list[Curve], Floats], None, None]:
    """Fit folds on as many cores as there are, and give them back in order; each is fitted by one thread."""

    def one(number: int) -> tuple[Model, int, list[Curve], Floats]:
        known = None if rounds is None else rounds[number]
        model, count, curve = _fit_one(learning, folds[number].train, number, known)
        return model, count, curve, model.raw(learning.inputs.take(folds[number].score))

    with ThreadPoolExecutor(max(1, min(usable_cores(), len(folds)))) as pool:
        waiting = [pool.submit(one, number) for number in range(len(folds))]
        try:
            for future in waiting:
                yield future.result()
        finally:
            unwanted = [future for future in waiting if not future.cancel() and not future.done()]
            if unwanted:
                learning.halted.set()


def _final_rounds(learning: Learning, counts: list[int]) -> int:
    """Return how long to train on every row: as long as the later folds, which hold most rows, took."""
    if counts:
        return int(np.median(counts[len(counts) // 2 :]))
    return _fit_one(learning, np.arange(len(learning.data)), 0, None)[1]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One fit: rows to learn from, rows that say when to stop, weights [n_development], and the number of its fold."""

    number: int
    rounds: int | None
    learn: Ints
    stop: Ints
    weights: Floats
    labels: Labels


def _fit_one(
    learning: Learning, train: Ints, number: int, rounds: int | None, whole: bool = False
) -> tuple[Model, int, list[Curve]]:
    """Fit on the rows `train`, all of them if `whole`, else all but the inner part that says when to stop."""
    learn, stop = train, train[:0]
    if not whole:
        share = 0.15 if len(train) < 5_000 else 0.12
        seed = derive_seed(learning.seed, "inner", number)
        learn, stop = inner(learning.data, train, share, seed, learning.forward)
    straight = learning.algorithm == "linear"
    weights = learning.weights
    if learning.candidate.parameters.get("balanced"):
        weights = balance(learning.truth, weights, learning.classes)
    rows = train if straight else learn
    labels = read_labels(learning.truth[rows], weights[rows], learning.classes)
    blank = Model(learning.algorithm, labels.base, labels.scale, labels.present)
    varied = any(_varies(part[rows]) for part in (learning.inputs.numbers, learning.inputs.codes))
    if rounds == 0 or labels.constant or not varied:
        return blank, 0, []
    job = Job(number, rounds, learn, stop, weights, labels)
    if learning.algorithm == "mlp":
        return _fit_network(learning, blank, job)
    return _fit_linear(learning, blank, job) if straight else _fit_booster(learning, blank, job)


def _varies(matrix: NDArray[Any]) -> bool:
    """Say whether some column holds more than one value."""
    first = matrix[:1]
    same = (matrix == first) | (np.isnan(matrix) & np.isnan(first))
    return not bool(same.all())


def _fit_linear(learning: Learning, blank: Model, job: Job) -> tuple[Model, int, list[Curve]]:
    columns = learning.inputs.numbers.shape[1] + learning.inputs.codes.shape[1]
    labels = job.labels

    def rows(which: Ints) -> linear.Rows:
        y, known = labels.of(learning.truth[which])
        seed = derive_seed(learning.seed, "sample", job.number)
        kept = linear.sample(len(known), columns, len(labels.present), seed)
        which = which[known[kept]]
        return linear.Rows(learning.inputs.take(which), y[kept], job.weights[which])

    step, curves = job.rounds, []
    if step is None:
        step, seen, judged = linear.fit_path(rows(job.learn), rows(job.stop), learning.sizes, labels.loss, labels.start)
        curves = [_curve(job.number, labels, seen, judged)]
    train = np.sort(np.concatenate([job.learn, job.stop]))
    fitted = linear.fit_linear(rows(train), learning.sizes, labels.loss, labels.start, step)
    return blank.with_linear(fitted), step, curves


def _fit_booster(learning: Learning, blank: Model, job: Job) -> tuple[Model, int, list[Curve]]:
    parameters, labels, learn = learning.candidate.parameters, job.labels, job.learn
    y, _ = labels.of(learning.truth[learn])
    inputs, mass = learning.inputs.take(learn), learning.weights[learn]
    target = targets(y if learning.classes == 0 else learning.truth[learn], learning.classes)
    tables = fit_tables(inputs.codes, learning.sizes, target, mass)
    groups = None if learning.groups is None else learning.groups[learn]
    times = None if learning.times is None else learning.times[learn]
    block = blocks(len(learn), derive_seed(learning.seed, "blocks", job.number), groups, times)
    x = cross_fit(inputs, tables, target, mass, block, learning.forward)
    held, curves = None, []
    held_y, known = labels.of(learning.truth[job.stop])
    if len(known):
        stop = job.stop[known]
        held = _sample(look_up(learning.inputs.take(stop), tables), held_y, job.weights[stop], labels.start)
    request = Request(
        parameters,
        labels.loss,
        len(labels.present),
        _sample(x, y, job.weights[learn], labels.start),
        held,
        job.rounds,
        derive_seed(learning.seed, learning.candidate.name, job.number),
        math.inf if learning.candidate.guard is None else time.monotonic() + learning.candidate.guard,
        learning.halted,
    )
    boosted = library(learning.algorithm).train(request)
    if held is not None:
        curves = [_curve(job.number, labels, boosted.train, boosted.validation)]
    return blank.with_booster(boosted.text, tables), boosted.rounds, curves


def _fit_network(learning: Learning, blank: Model, job: Job) -> tuple[Model, int, list[Curve]]:
    labels = job.labels

    def sample(rows: Ints) -> Sample:
        y, known = labels.of(learning.truth[rows])
        kept = rows[known]
        return _sample(matrix(learning.inputs.take(kept)), y, job.weights[kept], labels.start)

    held = sample(job.stop) if len(labels.of(learning.truth[job.stop])[1]) else None
    request = Request(
        learning.candidate.parameters,
        labels.loss,
        len(labels.present),
        sample(job.learn),
        held,
        job.rounds,
        derive_seed(learning.seed, learning.candidate.name, job.number),
        math.inf if learning.candidate.guard is None else time.monotonic() + learning.candidate.guard,
        learning.halted,
    )
    trained = fit_network(request, learning.sizes)
    curves = [] if held is None else [_curve(job.number, labels, trained.train, trained.validation)]
    return blank.with_network(trained.network), trained.rounds, curves


def _sample(x: NDArray[np.float32], y: Floats, weight: Floats, start: Floats) -> Sample:
    return Sample(np.ascontiguousarray(x), y, weight / weight.mean(), np.tile(start, (len(y), 1)))


def _curve(fold: int, labels: Labels, train: tuple[float, ...], validation: tuple[float, ...]) -> Curve:
    """Thin a curve, and give a number's error in the label's unit."""
    scale = labels.scale if labels.loss == "squared" else 1.0
    kept = np.unique(np.linspace(0, max(len(validation) - 1, 0), min(POINTS, len(validation))).round().astype(int))
    return Curve(
        fold,
        tuple(int(i) + 1 for i in kept),
        tuple(train[i] * scale for i in kept),
        tuple(validation[i] * scale for i in kept),
    )
