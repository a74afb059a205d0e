"""The verdict, decided once: by the pessimistic end of the interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelyard.brief.brief import Target
from modelyard.evaluation.report import Answer, Baseline, Estimate, TargetResult


def met(target: Target, estimate: Estimate) -> Answer:
    """Return yes when the whole interval reaches the target, no when none of it does, else inconclusive."""
    low, high, value = estimate.low, estimate.high, target.value
    if math.isnan(low) or math.isnan(high):
        return "inconclusive"
    if target.comparison in {"<=", "<"}:
        low, high, value = -high, -low, -value
    strict = target.comparison in {">", "<"}
    if low > value or (low == value and not strict):
        return "yes"
    return "no" if high < value or (high == value and strict) else "inconclusive"


def beats(best: Baseline | None) -> bool:
    """Say whether the gain over the best baseline is positive at the pessimistic end."""
    return best is not None and best.gain_low > 0


def together(targets: Sequence[TargetResult], best: Baseline | None) -> Answer:
    """Return the answer to all targets: no if one is missed, yes if all are met.

    Without targets: yes when the best baseline is beaten, no when the model is no better at the optimistic end either.
    """
    if targets:
        answers = {t.met for t in targets}
        return "no" if "no" in answers else "yes" if answers == {"yes"} else "inconclusive"
    if best is None or math.isnan(best.gain_low):
        return "inconclusive"
    return "yes" if beats(best) else "no" if best.gain_high <= 0 else "inconclusive"
