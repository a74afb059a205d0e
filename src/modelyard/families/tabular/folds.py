"""One candidate: over the folds, to score the rows held out, then on every row; models are kept as data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelyard.core.machine import usable_cores
from modelyard.core.seeds import derive_seed
from modelyard.data.alike import copies
from modelyard.data.dataset import Dataset, Floats, Fold, Ints, Parts
from modelyard.encoding.encoding import Encoding
from modelyard.families.family import Watch
from modelyard.families.fitted import Candidate, Curve, Fitted
from modelyard.families.monotone import signs
from modelyard.families.tabular import linear
from modelyard.families.tabular.answering import microseconds, own_bytes
from modelyard.families.tabular.booster import Request, Sample, patience
from modelyard.families.tabular.cores import shared_cores
from modelyard.families.tabular.derived import ALWAYS
from modelyard.families.tabular.file_bytes import shared_bytes
from modelyard.families.tabular.inputs import find_levels, find_vocabularies, read_inputs, varies
from modelyard.families.tabular.labels import STANDARDISED, Labels, class_weighted, loss_of, mean_loss, read_labels
from modelyard.families.tabular.learning import Encoded, Job, Learning, divide, encode, sample_of, texts_of
from modelyard.families.tabular.libraries import library
from modelyard.families.tabular.models import Model, dump_model
from modelyard.families.tabular.network_training import fit_network, matrix
from modelyard.families.tabular.portfolio import MODELS

POINTS = 60
"""Points kept of a learning curve."""
GROWTH = 1.15
"""Rounds on every row over those of the folds: more rows bear more rounds."""
INNER = (0.15, 0.12)
"""Share of a fold's rows that say when to stop: of fewer than 5,000, and of more."""
QUICKER = 0.8
"""What a fit on every row takes of what those of the folds say: it scores nothing, and often has a core alone."""
T = TypeVar("T")


def fit_folds(
    candidate: Candidate, parts: Parts, seed: int, watch: Watch | None, rounds: tuple[int, ...] | None
) -> Fitted:
    """Fit a candidate; see `modelyard.families.family.Family.fit`."""
    data, folds = parts.development, parts.split.folds
    levels, vocabularies = find_levels(data), find_vocabularies(data)
    given = data.weights()
    # Whatever the unit of weights, means of levels are smoothed alike.
    weights = np.ones(len(data)) if given is None else given / given.mean()
    inputs = read_inputs(data, levels, vocabularies)
    begun = time.monotonic()  # what was read until here others find in memory
    encoding = Encoding.of(data.schema, moments=True)
    if encoding.elapsed and not candidate.parameters.get("elapsed"):
        inputs = inputs.without(encoding.elapsed)
    learning = Learning(
        candidate,
        data,
        inputs,
        tuple(len(known) for known in levels),
        data.truth(),
        weights,
        _alike(data) if parts.split.forward else data.units(),
        len(data.schema.classes),
        parts.split.forward,
        seed,
        signs(data.schema),
    )
    outputs = learning.classes if learning.classes > 2 else 1
    scores = np.full((len(data), outputs), np.nan)
    models: list[Model] = []
    counts: list[int] = []
    curves: list[Curve] = []
    with shared_cores(learning.algorithm):
        if not folds:
            models, counts, curves = _fit_whole(learning, rounds)
        with closing(_side_by_side(learning, folds, rounds)) as fits:
            for number, (model, count, curve, raw) in enumerate(fits):
                scores[folds[number].score] = raw
                models.append(model)
                counts.append(count)
                curves += curve
                seen = np.flatnonzero(~np.isnan(scores[:, 0]))
                if watch is not None and learning.weights[seen].any():  # rows without weight have no loss
                    told = learning.truth[seen], learning.weights[seen], *loss_of(candidate.parameters)
                    watch(number, mean_loss(scores[seen], *told))
    arrays: dict[str, NDArray[Any]] = {}
    texts: dict[str, str] = {}
    records = [dump_model(model, f"fold{i}", arrays, texts) for i, model in enumerate(models)]
    facts: Mapping[str, Any] = {
        "algorithm": learning.algorithm,
        "outputs": outputs,
        "levels": [list(known) for known in levels],
        "texts": [known.plain() for known in vocabularies],
        "models": records,
        "derived": max(len(model.derived.pairs) for model in models),
    }
    if folds and learning.boosted:
        # On every row it is not asked again: one look at the part that answers it may say otherwise than most folds,
        # and what answers would then lack what the scores are of.
        most = 2 * sum(len(model.derived.pairs) > 0 for model in models) > len(models)
        facts = {**facts, "settled": {"derived": ALWAYS if most else False}}
    beside = max(1, min(usable_cores(), len(folds)))
    seconds = max(0.0, time.monotonic() - begun - sum(learning.shared) / beside)
    once = sum(learning.shared) / max(1, len(folds)) * _more_rows(learning, folds)
    fitted = Fitted(candidate, facts, arrays, texts, scores, tuple(counts), seconds, tuple(curves), shared_seconds=once)
    if not folds:
        return replace(fitted, own_bytes=own_bytes(candidate.parameters, models, counts, counts))
    whole = _whole_rounds(learning, counts)
    return replace(
        fitted,
        whole=whole,
        whole_seconds=_whole_seconds(learning, folds, counts, whole, seconds),
        microseconds=microseconds(candidate.parameters, models, whole, learning.classes),
        own_bytes=own_bytes(candidate.parameters, models, counts, whole, _times_more_rows(learning, folds)),
        shared_bytes=shared_bytes(levels, learning.classes, vocabularies, bool(encoding.dates)),
    )


@lru_cache(maxsize=1)  # every candidate asks it of the same rows
def _alike(data: Dataset) -> Ints | None:
    """Return the entities of rows, else what copies of a row share: forward in time these may stand in two windows.

    Still no row may see its copy's label where means and figures of texts are cross-fitted.
    """
    groups = data.groups()
    return copies(data) if groups is None else groups


def _fit_whole(learning: Learning, rounds: tuple[int, ...] | None) -> tuple[list[Model], list[int], list[Curve]]:
    """Fit on every row as many models as there are `rounds`, or one for as long as an inner part says."""
    every = np.arange(len(learning.data))
    curves: list[Curve] = []
    if rounds is None:
        _, count, curves = _fit_one(learning, every, 0, None)
        rounds = (count,)
    job = _job(learning, every, every[:0], 0, rounds[0])
    encoded = encode(learning, job) if learning.boosted else None

    def one(number: int) -> tuple[Model, int, list[Curve]]:
        return _fit(learning, replace(job, number=number, rounds=rounds[number]), encoded)

    fits = list(_in_order(learning, one, len(rounds)))
    return [model for model, _, _ in fits], [count for _, count, _ in fits], curves


def _whole_rounds(learning: Learning, counts: Sequence[int]) -> tuple[int, ...]:
    """Return how long each model on every row should take, given how long those of the folds took.

    Later windows hold most rows where the split goes forward, so they alone are asked.
    """
    count = int(np.median(counts[len(counts) // 2 :] if learning.forward else counts))
    if not learning.boosted:
        return (count,) * (1 if learning.algorithm == "linear" else MODELS)
    return (round(GROWTH * count),) * MODELS


def _times_more_rows(learning: Learning, folds: Sequence[Fold]) -> float:
    """Return how many times the rows of a fold's model one on every row learns from."""
    return _more_rows(learning, folds) / (1 - INNER[1])


def _more_rows(learning: Learning, folds: Sequence[Fold]) -> float:
    """Return how many times the rows of a fold there are; 1 without folds."""
    return len(learning.data) / float(np.mean([len(f.train) for f in folds])) if folds else 1.0


def _whole_seconds(
    learning: Learning, folds: Sequence[Fold], counts: Sequence[int], whole: tuple[int, ...], seconds: float
) -> float:
    """Reckon the fits on every row by those of the folds: by rows, rounds, and how many fit side by side."""
    cores = usable_cores()
    one = seconds / math.ceil(len(folds) / cores) * _more_rows(learning, folds)
    if learning.boosted:
        given = learning.candidate.parameters
        # A fold went on beyond the rounds it kept, to see that nothing better came.
        gone = [min(count + patience(given), int(given["rounds"])) for count in counts]
        one *= whole[0] / max(1.0, float(np.mean(gone)))
    return QUICKER * one * math.ceil(len(whole) / cores)


def _side_by_side(
    learning: Learning, folds: Sequence[Fold], rounds: tuple[int, ...] | None
) -> Generator[tuple[Model, int, list[Curve], Floats], None, None]:
    """Fit folds on as many cores as there are, and give them back in order; each is fitted by one thread."""

    def one(number: int) -> tuple[Model, int, list[Curve], Floats]:
        known = None if rounds is None else rounds[number]
        model, count, curve = _fit_one(learning, folds[number].train, number, known)
        return model, count, curve, model.raw(learning.inputs.take(folds[number].score))

    yield from _in_order(learning, one, len(folds))


def _in_order(learning: Learning, one: Callable[[int], T], count: int) -> Generator[T, None, None]:
    """Do `count` fits on as many cores as there are, and give them back in order."""
    with ThreadPoolExecutor(max(1, min(usable_cores(), count))) as pool:
        waiting = [pool.submit(one, number) for number in range(count)]
        try:
            for future in waiting:
                yield future.result()
        finally:
            unwanted = [future for future in waiting if not future.cancel() and not future.done()]
            if unwanted:
                learning.halted.set()


def _fit_one(learning: Learning, train: Ints, number: int, rounds: int | None) -> tuple[Model, int, list[Curve]]:
    """Fit on the rows `train` but for an inner part, which says when to stop unless the rounds are known."""
    share = INNER[len(train) >= 5_000]
    seed = derive_seed(learning.seed, "inner", number)
    learn, stop = divide(learning, train, share, seed)
    return _fit(learning, _job(learning, learn, stop, number, rounds), None)


def _job(learning: Learning, learn: Ints, stop: Ints, number: int, rounds: int | None) -> Job:
    given, both = learning.candidate.parameters, np.concatenate([learn, stop])
    weighted = class_weighted(given, learning.truth, learning.weights, learning.classes, both)
    weights = learning.weights if weighted is None else weighted
    rows = np.sort(both) if learning.algorithm == "linear" else learn
    labels = read_labels(learning.truth[rows], weights[rows], learning.classes, *loss_of(given))
    base = labels.base
    if weighted is not None:
        # Scores start from the classes' own shares again: so they are blended and calibrated as all others are.
        base = read_labels(learning.truth[rows], learning.weights[rows], learning.classes).base
    return Job(number, rounds, learn, stop, weights, labels, base)


def _fit(learning: Learning, job: Job, encoded: Encoded | None) -> tuple[Model, int, list[Curve]]:
    blank = Model(learning.algorithm, job.base, job.labels.scale, job.labels.present)
    rows = np.sort(np.concatenate([job.learn, job.stop]))
    varied = any(varies(part[rows]) for part in (learning.inputs.numbers, learning.inputs.codes))
    varied |= bool(learning.inputs.texts) and learning.algorithm != "mlp"
    untold = job.rounds is None and not len(job.stop)  # when to stop: one row, or one entity, has all the weight
    if job.rounds == 0 or untold or job.labels.constant or not varied:
        return blank, 0, []
    if learning.boosted:
        return _fit_booster(learning, blank, job, encoded or encode(learning, job))
    return _fit_network(learning, blank, job) if learning.algorithm == "mlp" else _fit_linear(learning, blank, job)


def _fit_linear(learning: Learning, blank: Model, job: Job) -> tuple[Model, int, list[Curve]]:
    labels = job.labels
    begun = time.monotonic()
    texts, inputs, train = texts_of(learning, job)
    learning.shared.append(time.monotonic() - begun)
    columns = inputs.numbers.shape[1] + inputs.codes.shape[1]

    def rows(which: Ints) -> linear.Rows:
        y, known = labels.of(learning.truth[which])
        seed = derive_seed(learning.seed, "sample", job.number)
        kept = linear.sample(len(known), columns, len(labels.present), seed)
        which = which[known[kept]]
        return linear.Rows(inputs.take(np.searchsorted(train, which)), y[kept], job.weights[which])

    goal = linear.Goal(labels.loss, labels.at, labels.start, learning.signs)
    step, curves = job.rounds, []
    if step is None:
        step, seen, judged = linear.fit_path(rows(job.learn), rows(job.stop), learning.sizes, goal)
        curves = [_curve(job.number, labels, seen, judged, "step from a strong penalty to a weak one")]
    fitted = linear.fit_linear(rows(train), learning.sizes, goal, step)
    return blank.with_linear(fitted, texts), step, curves


def _fit_booster(learning: Learning, blank: Model, job: Job, encoded: Encoded) -> tuple[Model, int, list[Curve]]:
    labels, learn = job.labels, job.learn
    if not varies(encoded.x):  # those set aside may differ from them
        return blank, 0, []
    y, _ = labels.of(learning.truth[learn])
    held, curves = None, []
    held_y, known = labels.of(learning.truth[job.stop])
    if len(known):
        held = sample_of(encoded.stop[known], held_y, job.weights[job.stop[known]], labels.start)
    request = _request(learning, job, sample_of(encoded.x, y, job.weights[learn], labels.start), held)
    boosted = library(learning.algorithm).train(replace(request, signs=learning.signs))
    if held is not None:
        curves = [_curve(job.number, labels, boosted.train, boosted.validation, "round of boosting")]
    model = blank.with_booster(boosted.text, encoded.tables, encoded.derived, encoded.texts)
    return model, boosted.rounds, curves


def _fit_network(learning: Learning, blank: Model, job: Job) -> tuple[Model, int, list[Curve]]:
    labels = job.labels

    def sample(rows: Ints) -> Sample:
        y, known = labels.of(learning.truth[rows])
        kept = rows[known]
        return sample_of(matrix(learning.inputs.take(kept)), y, job.weights[kept], labels.start)

    held = sample(job.stop) if len(labels.of(learning.truth[job.stop])[1]) else None
    trained = fit_network(_request(learning, job, sample(job.learn), held), learning.sizes)
    curves = [] if held is None else [_curve(job.number, labels, trained.train, trained.validation, "epoch")]
    return blank.with_network(trained.network), trained.rounds, curves


def _request(learning: Learning, job: Job, learn: Sample, stop: Sample | None) -> Request:
    candidate, labels = learning.candidate, job.labels
    return Request(
        candidate.parameters,
        labels.loss,
        labels.at,
        len(labels.present),
        learn,
        stop,
        job.rounds,
        derive_seed(learning.seed, candidate.name, job.number),
        math.inf if candidate.guard is None else time.monotonic() + candidate.guard,
        learning.halted,
    )


def _curve(fold: int, labels: Labels, train: tuple[float, ...], validation: tuple[float, ...], unit: str) -> Curve:
    """Thin a curve, and give a number's error in the label's unit."""
    scale = labels.scale if labels.loss in STANDARDISED else 1.0
    kept = np.unique(np.linspace(0, max(len(validation) - 1, 0), min(POINTS, len(validation))).round().astype(int))
    return Curve(
        fold,
        tuple(int(i) + 1 for i in kept),
        tuple(train[i] * scale for i in kept),
        tuple(validation[i] * scale for i in kept),
        unit,
    )
