"""The bounds a run's out-of-fold answers support, and how unusual rows are to be measured."""

from __future__ import annotations

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.data.forward import latest
from modelyard.encoding.encoding import Encoding
from modelyard.evaluation.answers import out_of_fold
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.reading import reading
from modelyard.training.run import Run
from modelyard.uncertainty import conformal
from modelyard.uncertainty.novelty import novelty
from modelyard.uncertainty.uncertainty import COVERAGES, Bounds, Uncertainty

_LATEST = 0.5
"""Share of out-of-fold rows that bounds are made from where the split goes forward in time."""


def uncertainty(run: Run, threshold: float | None) -> Uncertainty | None:
    """Return what a bundle holds beside the model; None for a forecast, whose family makes its intervals.

    Parameters
    ----------
    run : Run
        Its out-of-fold answers and its development rows; the test part is not looked at.
    threshold : float or None
        From which probability on the bundle answers the positive class, where the task is binary.
    """
    rows = run.development
    if rows.schema.task == "forecast":
        return None
    encoding = Encoding.of(rows.schema)
    seed = derive_seed(run.plan.brief.seed, "novelty")
    return Uncertainty(bounds(run, threshold), novelty(encoding, *encoding.frame(rows.frame), seed, rows.units()))


def bounds(run: Run, threshold: float | Floats | None) -> Bounds:
    """Return the bounds that ship: made from out-of-fold answers alone.

    Parameters
    ----------
    run : Run
        Of tables; not of a forecast.
    threshold : float, array of shape [n] or None
        As in `bounds_of`.
    """
    rows, answers = out_of_fold(run)
    return bounds_of(rows, answers, threshold, forward=goes_forward(run))


def bounds_of(rows: Dataset, answers: Floats, threshold: float | Floats | None, *, forward: bool) -> Bounds:
    """Return bounds from rows and the answers of models that had not seen them.

    Parameters
    ----------
    rows : Dataset
        With their labels; whole groups, and copies of one row, count once.
    answers : array of shape [n] or [n, k]
        As `Blend.answer` gives them.
    threshold : float, array of shape [n] or None
        From which probability on a row is called positive; of two classes alone.
    forward : bool
        Whether the split goes forward in time: then the latest half of the rows is used, whose models had learnt
        from most rows, and whose conditions are nearest to those to come.

    References
    ----------
    Barber, Candès, Ramdas, Tibshirani (2023), "Conformal prediction beyond exchangeability": what is lost is at most
    how far the rows used differ from those to come. Annals of statistics 51.
    """
    answered = decided(answers, threshold) if rows.schema.classes else None
    times = rows.times() if forward else None
    since: float | None = None
    if times is not None and len(np.unique(times)) > 1:
        since = latest(times, _LATEST)
        chosen = np.flatnonzero(times >= since).astype(np.int64)
        rows, answers = rows.take(chosen), answers[chosen]
        answered = None if answered is None else answered[chosen]
    units, weights = rows.units(), rows.weights()  # copies of a row tell no more than one of them
    _, count = conformal.unit_weights(len(rows), units, weights)
    grouped = rows.groups() is not None
    truth = rows.truth()
    if answered is not None:
        codes, given = np.asarray(truth, dtype=np.int64), of_all_classes(answers)
        made = conformal.sets(given, answered, codes, COVERAGES, groups=units, weights=weights)
        return Bounds(len(rows), count, grouped, since, sets=made)
    values = np.asarray(truth, dtype=np.float64)
    found = conformal.intervals(answers, values, COVERAGES, groups=units, weights=weights)
    return Bounds(len(rows), count, grouped, since, intervals=found)


def decided(answers: Floats, threshold: float | Floats | None) -> Ints:
    """Return the class that is answered in each row, of shape [n]."""
    level = 0.5 if threshold is None else threshold
    return reading(find_metric("accuracy"), answers, level).astype(np.int64)


def of_all_classes(answers: Floats) -> Floats:
    """Return probabilities of all classes, [n, k], from those or from the positive class's [n]."""
    return answers if answers.ndim == 2 else np.stack([1 - answers, answers], axis=1)


def goes_forward(run: Run) -> bool:
    """Return whether the run's rows were split forward in time."""
    asked = run.plan.brief.validation.strategy
    return run.development.times() is not None and asked in {"auto", "time", "group_time"}
