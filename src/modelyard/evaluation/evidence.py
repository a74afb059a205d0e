"""Evidence: answers beside the truth, and every figure with the interval these rows allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelyard.brief.brief import Target
from modelyard.core.errors import BriefError, did_you_mean
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.evaluation.report import Estimate
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import Gain, bootstrap, paired
from modelyard.metrics.metric import Metric
from modelyard.metrics.one_class import of_class
from modelyard.metrics.reading import reading


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Rows, what came true, what the model answered.

    Attributes
    ----------
    rows : Dataset
        The evaluated rows.
    truth : array of shape [n]
        Class codes or values.
    answers : array of shape [n] or [n, k]
        As `Blend.answer` gives them.
    threshold : float or array of shape [n]
        From which probability on a row is called positive; rows may differ where each was chosen without them.
    weights : array of shape [n] or None
        Sample weights.
    groups : array of shape [n] or None
        Entities, where there are at least two: then whole entities are resampled.
    seed, resamples : int
        Of the bootstrap.
    """

    rows: Dataset
    truth: Ints | Floats
    answers: Floats
    threshold: float | Floats
    weights: Floats | None
    groups: Ints | None
    seed: int
    resamples: int

    @classmethod
    def of(
        cls, rows: Dataset, answers: Floats, threshold: float | Floats | None, seed: int, resamples: int
    ) -> Evidence:
        """Lay answers beside the truth of their rows."""
        groups = rows.groups()
        if groups is not None and len(np.unique(groups)) < 2:
            groups = None
        level = 0.5 if threshold is None else threshold
        made = derive_seed(seed, "bootstrap")
        return cls(rows, rows.truth(), answers, level, rows.weights(), groups, made, resamples)

    def estimate(
        self, metric: Metric, where: NDArray[np.bool_] | None = None, resamples: int | None = None
    ) -> Estimate:
        """Return a metric with its interval, on all rows or on some."""
        some = slice(None) if where is None else where
        found = bootstrap(
            metric,
            self.truth[some],
            reading(metric, self.answers, self.threshold)[some],
            weights=None if self.weights is None else self.weights[some],
            groups=None if self.groups is None else self.groups[some],
            context={name: values[some] for name, values in self.rows.extras.items()},
            resamples=resamples or self.resamples,
            seed=self.seed,
        )
        return Estimate(
            metric.name, found.value, found.low, found.high, found.n, found.level, found.resamples, found.unit
        )

    def of_other(self, answers: Floats, threshold: float) -> Evidence:
        """Return the evidence of another predictor on the same rows."""
        return Evidence(self.rows, self.truth, answers, threshold, self.weights, self.groups, self.seed, self.resamples)

    def gain(self, metric: Metric, other: Evidence, resamples: int | None = None) -> Gain:
        """Return how much better this predictor is than another on the same rows."""
        return paired(
            metric,
            self.truth,
            reading(metric, self.answers, self.threshold),
            reading(metric, other.answers, other.threshold),
            weights=self.weights,
            groups=self.groups,
            context=self.rows.extras,
            resamples=resamples or self.resamples,
            seed=self.seed,
        )


def target_metric(target: Target, classes: tuple[str, ...]) -> Metric:
    """Return the metric a target names, turned to its class where it names one.

    Raises
    ------
    BriefError
        If the label has no such class.
    """
    found = find_metric(target.metric)
    if target.label is None:
        return found
    if target.label not in classes:
        raise BriefError(
            f"The label has no class '{target.label}'.",
            where=f"target: {target}",
            allowed=f"Classes: {', '.join(classes)}.",
            do=did_you_mean(target.label, classes),
        )
    return of_class(found, classes.index(target.label), target.label)
