"""How wide an interval will be, before there is a model: what a target can be told from on so many rows."""

from __future__ import annotations

import math
from collections.abc import Callable

from modelyard.metrics.intervals import wilson

_Z = 1.96  # of a central 95 % interval


def auc_half_width(value: float, positives: int, negatives: int) -> float:
    """Return half the width of the 95 % interval of a ROC AUC.

    References
    ----------
    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating characteristic curve".
    """
    q1, q2 = value / (2 - value), 2 * value * value / (1 + value)
    square = value * value
    spread = value * (1 - value) + (positives - 1) * (q1 - square) + (negatives - 1) * (q2 - square)
    return _Z * math.sqrt(max(0.0, spread) / (positives * negatives))


def share_half_width(value: float, n: int) -> float:
    """Return how far the low end of the 95 % interval (Wilson's) of a share lies below it."""
    return value - wilson(value * n, n)[0]


def needed_for(target: float, half_width: Callable[[float], float]) -> float | None:
    """Return the least value (to a thousandth) whose interval's low end reaches a target; None when even 1 does not."""
    steps = range(math.ceil(target * 1000), 1001)
    return next((v / 1000 for v in steps if v / 1000 - half_width(v / 1000) >= target), None)


def rows_without_error(target: float) -> int:
    """Return how many rows without a single error show that a share is at least the target; 0 when none do."""
    return 0 if target >= 1 else math.ceil(target * _Z * _Z / (1 - target))


def calibrated_ece(n: int, bins: int = 15) -> float:
    """Return about what the calibration error of a perfectly calibrated model reads on `n` rows.

    The mean absolute gap of a bin of n / bins rows whose probabilities spread evenly over 0 to 1: the mean of
    sqrt(p (1 - p)) is pi / 8, and that of a normal deviate's size sqrt(2 / pi).
    """
    return math.sqrt(2 / math.pi) * math.pi / 8 * math.sqrt(bins / max(1, n))
