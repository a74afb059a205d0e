"""Evidence: answers beside the truth, and every figure with the interval these rows allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from modelyard.brief.brief import Target
from modelyard.core.errors import BriefError, did_you_mean
from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.evaluation.report import Estimate
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.intervals import Gain, Interval, bootstrap, gain, interval, resample
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
    scored : dict of str to array
        What metrics were on the rows and on their resamples, by the metric's name, once they are asked for.
    """

    rows: Dataset
    truth: Ints | Floats
    answers: Floats
    threshold: float | Floats
    weights: Floats | None
    groups: Ints | None
    seed: int
    resamples: int
    scored: dict[str, Floats] = field(default_factory=dict)

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
        if where is None:
            return self.estimates([metric], resamples)[0]
        found = bootstrap(
            metric,
            self.truth[where],
            reading(metric, self.answers, self.threshold)[where],
            weights=None if self.weights is None else self.weights[where],
            groups=None if self.groups is None else self.groups[where],
            context={name: values[where] for name, values in self.rows.extras.items()},
            resamples=resamples or self.resamples,
            seed=self.seed,
        )
        return _estimate(metric, found)

    def estimates(self, metrics: Sequence[Metric], resamples: int | None = None) -> tuple[Estimate, ...]:
        """Return metrics of all rows with their intervals, from the same draws, each of which is made once for all."""
        return tuple(
            _estimate(metric, interval(metric, self.truth, scored, weights=self.weights, groups=self.groups))
            for metric, scored in zip(metrics, self._resampled(metrics, resamples), strict=True)
        )

    def of_other(self, answers: Floats, threshold: float) -> Evidence:
        """Return the evidence of another predictor on the same rows."""
        return replace(self, answers=answers, threshold=threshold, scored={})

    def gain(self, metric: Metric, other: Evidence, resamples: int | None = None) -> Gain:
        """Return how much better this predictor is than another on the same rows."""
        (one,), (second,) = (of._resampled([metric], resamples) for of in (self, other))
        return gain(metric, one, second)

    def _resampled(self, metrics: Sequence[Metric], resamples: int | None) -> list[Floats]:
        """Return what each metric is on the rows and on every resample of them; what is known already is not redone."""
        count = 1 + (resamples or self.resamples)
        wanted = {m.name: m for m in metrics if len(self.scored.get(m.name, ())) < count}
        scorers = [
            m.scorer(self.truth, reading(m, self.answers, self.threshold), self.rows.extras) for m in wanted.values()
        ]
        found = resample(
            scorers, len(self.truth), weights=self.weights, groups=self.groups, resamples=count - 1, seed=self.seed
        )
        self.scored.update(zip(wanted, found, strict=True))
        return [self.scored[m.name][:count] for m in metrics]


def _estimate(metric: Metric, found: Interval) -> Estimate:
    return Estimate(metric.name, found.value, found.low, found.high, found.n, found.level, found.resamples, found.unit)


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
