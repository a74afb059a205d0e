"""From what a model answers to what a metric reads."""

from __future__ import annotations

import numpy as np

from modelyard.metrics.metric import Floats, Metric


def reading(metric: Metric, answers: Floats, threshold: float | Floats = 0.5) -> Floats:
    """Turn answers into the prediction a metric is given.

    Parameters
    ----------
    metric : Metric
        Its `reads` says what it wants.
    answers : array of shape [n] or [n, k]
        Values, probabilities of the positive class, or probabilities of all classes.
    threshold : float or array of shape [n]
        From which probability on a row is called positive; rows may differ.

    Returns
    -------
    array of shape [n] or [n, k]
        The answers themselves, or class codes: at the threshold for two classes, the likeliest for more. A row whose
        answer is NaN has the code NaN.
    """
    if metric.reads != "classes":
        return answers
    if answers.ndim == 2:
        codes, unknown = answers.argmax(axis=1), np.isnan(answers).any(axis=1)
    else:
        codes, unknown = answers >= threshold, np.isnan(answers)
    return np.where(unknown, np.nan, codes.astype(np.float64))
