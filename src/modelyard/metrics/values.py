"""Metrics of numbers: regression and forecasts."""

from __future__ import annotations

import numpy as np

from modelyard.metrics.metric import Context, Floats, Prepare, Scorer, Truth, dot
from modelyard.metrics.objective import deviance


def rmse(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Root mean squared error, in the label's units."""
    return _root_mean((prediction - truth) ** 2)


def mae(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Mean absolute error, in the label's units."""
    return _mean(np.abs(prediction - truth))


def pinball(level: float) -> Prepare:
    """Pinball loss at a quantile, in the label's units; at the median it is half the mean absolute error.

    References
    ----------
    Koenker & Bassett (1978), "Regression quantiles".
    """

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        error = truth - prediction
        return _mean(np.maximum(level * error, (level - 1) * error))

    return prepare


def tweedie_deviance(power: float) -> Prepare:
    """Mean Tweedie deviance; NaN where a truth is negative or a prediction is not above 0. Poisson's has power 1.

    References
    ----------
    Jorgensen (1987), "Exponential dispersion models".
    """

    def prepare(truth: Truth, prediction: Floats, context: Context) -> Scorer:
        defined = (truth >= 0) & (prediction > 0)
        log_mean = np.log(np.where(defined, prediction, 1.0))
        return _defined_where(np.where(defined, deviance(np.where(defined, truth, 0.0), log_mean, power), np.nan))

    return prepare


def r2(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Share of the variance explained; NaN when the truth is constant."""
    truth = truth.astype(np.float64)
    error = (prediction - truth) ** 2

    def score(weights: Floats) -> float:
        spread = dot(weights, (truth - dot(weights, truth) / weights.sum()) ** 2)
        # Rounding leaves a constant truth a spread of about 1e-32 of its square.
        if spread <= 1e-24 * dot(weights, truth**2):
            return float("nan")
        return float(1 - dot(weights, error) / spread)

    return score


def mape(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Mean absolute error as a share of the truth (0.1 is 10 %); NaN where a truth is 0: take SMAPE or MAE there."""
    error = np.abs(prediction - truth) / np.where(truth == 0, np.nan, np.abs(truth))
    return _defined_where(error)


def smape(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Symmetric mean absolute percentage error as a share, 0 to 2 (the M4 competition prints it times 100).

    References
    ----------
    Makridakis, Spiliotis & Assimakopoulos (2020), "The M4 competition".
    """
    size = np.abs(truth) + np.abs(prediction)
    return _mean(np.where(size > 0, 2 * np.abs(prediction - truth) / np.where(size > 0, size, 1), 0.0))


def rmsle(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Root mean squared error of log(1 + x); a negative prediction counts as 0, NaN where a truth is negative."""
    error = (np.log1p(np.maximum(prediction, 0)) - np.log1p(np.where(truth < 0, np.nan, truth))) ** 2
    inner = _defined_where(error)
    return lambda weights: inner(weights) ** 0.5


def mase(truth: Truth, prediction: Floats, context: Context) -> Scorer:
    """Mean absolute error scaled by the seasonal naive error of each series, ``context["scale"]``.

    Rows of a series without a scale (too short, or constant) are left out: nothing can be said of them.

    References
    ----------
    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy".
    """
    if "scale" not in context:
        raise ValueError("mase needs context['scale'], the seasonal naive error of each row's series")
    scale = context["scale"]
    known = np.isfinite(scale) & (scale > 0)
    error = np.where(known, np.abs(prediction - truth) / np.where(known, scale, 1), 0.0)
    return lambda weights: float(dot(weights, error) / weights[known].sum())


def _mean(loss: Floats) -> Scorer:
    return lambda weights: float(dot(weights, loss) / weights.sum())


def _root_mean(loss: Floats) -> Scorer:
    return lambda weights: float(dot(weights, loss) / weights.sum()) ** 0.5


def _defined_where(loss: Floats) -> Scorer:
    """Return the mean, NaN as soon as a row that counts has none."""
    unknown = ~np.isfinite(loss)  # a share of next to nothing can exceed every number
    if not unknown.any():
        return _mean(loss)
    inner = _mean(np.where(unknown, 0.0, loss))
    return lambda weights: float("nan") if weights[unknown].any() else inner(weights)
