"""Calibration: a slope and offsets in raw-score space, fitted on out-of-fold scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.core.optional import need
from modelyard.data.dataset import Floats, Fold, Ints
from modelyard.families.fitted import Link
from modelyard.metrics.objective import quantile
from modelyard.training.loss import DEVIANCES, Loss

CELLS = 200_000
"""Rows times outputs a calibration is fitted on."""
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """``scale * raw + offset``, before the link."""

    scale: float
    offset: tuple[float, ...]

    @classmethod
    def identity(cls, outputs: int) -> Calibration:
        """Return the calibration that changes nothing."""
        return cls(1.0, (0.0,) * outputs)

    def __call__(self, raw: Floats) -> Floats:
        """Calibrate raw scores of shape [n, k]."""
        return np.asarray(self.scale * raw + np.asarray(self.offset), dtype=np.float64)


def calibrate(
    raw: Floats, loss: Loss, link: Link, folds: Sequence[Fold], forward: bool = False
) -> tuple[Calibration, Floats]:
    """Fit a calibration, and calibrate each fold by one fitted on the others.

    Kept only where it lowers the cross-fitted loss; values (link "identity") are left as they are. A quantile is always
    shifted: around it the loss is flat, and the share of rows below it is what was asked for.

    Parameters
    ----------
    raw : float64 array of shape [n, k]
        Out-of-fold scores of the blend; NaN where unscored.
    loss : Loss
        Over the same rows.
    link : {"identity", "log", "logistic", "softmax"}
        Of the task and the loss.
    folds : sequence of Fold
        Which rows were scored together.
    forward : bool
        Whether folds go forward in time: each window is then calibrated by those before it, and the first not at all.

    Returns
    -------
    calibration : Calibration
        For new rows.
    crossed : float64 array of shape [n, k]
        Calibrated scores no row of which took part in its own calibration.
    """
    outputs = raw.shape[1]
    if link == "identity" and loss.name != "pinball":
        return Calibration.identity(outputs), raw
    scored = np.flatnonzero(np.isfinite(raw).all(axis=1))
    part = _parts(len(raw), folds, forward)[scored]
    known, seen = raw[scored], loss.take(scored)
    crossed = known.copy()
    for number in np.unique(part):
        own = np.flatnonzero(part == number)
        others = np.flatnonzero(part < number if forward else part != number)
        if len(others):
            crossed[own] = fit_calibration(known[others], seen.take(others))(known[own])
    if loss.name != "pinball" and seen(crossed) >= seen(known):
        return Calibration.identity(outputs), raw
    whole = raw.copy()
    whole[scored] = crossed
    return fit_calibration(known, seen), whole


def fit_calibration(raw: Floats, loss: Loss) -> Calibration:
    """Fit slope and offsets by penalised likelihood: Platt's for two classes, vector offsets and one slope for more.

    Of a mean whose logarithm is learnt, and of a quantile, the offset alone, unpenalised: shrunk trees and means of
    logarithms answer too little in all, and trees that fit too well leave quantiles too near the middle.

    The slope's logarithm and the offsets have standard normal priors: they settle what few rows leave open (a class
    with nine rows, classes that separate perfectly) and vanish beside a hundred rows.

    Parameters
    ----------
    raw : float64 array of shape [n, k]
        Finite scores; a logit for k = 1.
    loss : Loss
        Log loss, deviance or pinball loss over the same rows.

    References
    ----------
    Platt (1999). Probabilistic outputs for support vector machines. Advances in large margin classifiers.
    Guo, Pleiss, Sun and Weinberger (2017). On calibration of modern neural networks. ICML.
    """
    if loss.link == "log" or loss.name in (*DEVIANCES, "pinball"):
        return Calibration(1.0, (_best_offset(raw[:, 0], loss),))
    minimize = need("scipy.optimize", "train", "Calibration").minimize
    rows = _some_rows(*raw.shape)
    known, seen = raw[rows], loss.take(rows)
    codes = seen.truth.astype(np.int64)
    outputs = raw.shape[1]
    target = codes[:, None].astype(np.float64) if outputs == 1 else np.eye(outputs)[codes]
    weight = seen.weights[:, None]

    def objective(x: Floats) -> float:
        return float(len(rows) * seen(np.exp(x[0]) * known + x[1:]) + 0.5 * np.sum(x * x))

    def gradient(x: Floats) -> Floats:
        scaled = np.exp(x[0]) * known
        slack = weight * (_probabilities(scaled + x[1:]) - target)
        return np.concatenate([[np.sum(slack * scaled)], slack.sum(axis=0)]) + x

    def hessian(x: Floats) -> Floats:
        scaled = np.exp(x[0]) * known
        p = _probabilities(scaled + x[1:])
        among = weight * p
        if outputs == 1:
            spread = among * (1 - p) * scaled
            offsets = np.array([[np.sum(among * (1 - p))]])
        else:
            spread = among * (scaled - np.sum(p * scaled, axis=1, keepdims=True))
            offsets = np.diag(among.sum(axis=0)) - among.T @ p
        slope = np.sum(spread * scaled) + np.sum(weight * (p - target) * scaled)
        cross = spread.sum(axis=0)
        return np.asarray(np.block([[slope, cross], [cross[:, None], offsets]]) + np.eye(1 + outputs))

    found = minimize(objective, np.zeros(1 + outputs), jac=gradient, hess=hessian, method="trust-exact")
    return Calibration(float(np.exp(found.x[0])), tuple(float(b) for b in found.x[1:]))


def _best_offset(raw: Floats, loss: Loss) -> float:
    """Return the offset of least loss: a quantile of what is missed, or where a deviance has no slope.

    That is where the sum of weight * mean^(1 - power) * (mean - truth) is 0; squared error has the power 0.
    """
    if loss.name == "pinball":
        return quantile(loss.truth - raw, loss.weights, loss.at)
    power = loss.at if loss.name in DEVIANCES else 0.0
    weight = loss.weights * np.exp((1 - power) * raw)
    truth, said = float(np.sum(weight * loss.truth)), float(np.sum(weight * np.exp(raw)))
    return float(np.log(truth / said)) if min(truth, said) > 0 else 0.0


def _some_rows(rows: int, outputs: int) -> Ints:
    """Return the rows that are looked at: a handful of figures is settled by far fewer than a large table has."""
    most = max(1, CELLS // outputs)
    if rows <= most:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(rows).choice(rows, most, replace=False)).astype(np.int64)


def _probabilities(z: Floats) -> Floats:
    if z.shape[1] == 1:
        return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), dtype=np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True), dtype=np.float64)


def _parts(n: int, folds: Sequence[Fold], forward: bool) -> Ints:
    """Return which rows are calibrated together; without folds, fifths of them."""
    if len(folds) < 2 and not forward:
        return np.arange(n, dtype=np.int64) % _PARTS
    part = np.zeros(n, dtype=np.int64)
    for number, fold in enumerate(folds):
        part[fold.score] = number if fold.window is None else fold.window
    return part
