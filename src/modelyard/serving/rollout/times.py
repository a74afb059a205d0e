"""times: what the same rows took a shadow's candidate and the version that serves."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard.serving.rollout.board import LATENCIES, Ints
from modelyard.serving.rollout.rollout import Times

_ENOUGH = 200
"""Rows below which a p99 is not told: it would hang on one or two of them."""


def times_of(took: Ints) -> Times | None:
    """Return the medians and the p99s of two histograms of the same rows; None where there were none.

    Parameters
    ----------
    took : int array of shape [2 x bins]
        How many took how long: by the version that serves, then by the candidate.
    """
    stable, candidate = took.reshape(2, LATENCIES)
    rows = int(candidate.sum())
    if not rows:
        return None
    p99 = (_quantile(candidate, 0.99), _quantile(stable, 0.99)) if rows >= _ENOUGH else None
    return Times(rows, (_quantile(candidate, 0.5), _quantile(stable, 0.5)), p99)


def times_lines(times: dict[str, Any] | None) -> list[str]:
    """Return as lines of text what `Times` as plain values say."""
    if times is None:
        return []
    told = ", ".join(
        f"{name} {_shown(times[name][0])}, beside {_shown(times[name][1])}"
        for name in ("median", "p99")
        if times[name] is not None
    )
    return [f"    {'times':<25}{'n = ' + str(times['rows']):<22}{told}"]


def _quantile(histogram: Ints, share: float) -> float:
    """Return the seconds in the middle of the bin, eight of which double a time, that holds a quantile."""
    running = np.cumsum(histogram)
    at = int(np.searchsorted(running, share * running[-1]))
    return 1e-6 * float(2.0 ** ((at + 0.5) / 8))


def _shown(seconds: float) -> str:
    return f"{1e6 * seconds:.3g} us" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms"
