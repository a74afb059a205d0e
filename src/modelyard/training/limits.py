"""Limits: what the brief leaves the members of a blend of an answer's time and of the model's file."""

from __future__ import annotations

from dataclasses import replace

from modelyard.brief.brief import Brief
from modelyard.families.fitted import Fitted

USUAL_MICROSECONDS = 300.0
"""What a blend's answer may take where the brief names no limit: beyond it, members hardly repay their time."""


def room(brief: Brief, shared_bytes: float = 0.0) -> tuple[float, float]:
    """Return the microseconds all members may take together, and the bytes beside those they share."""
    quick = USUAL_MICROSECONDS if brief.latency is None else brief.latency.model_microseconds
    return quick, float("inf") if brief.size is None else max(0.0, brief.size.bytes - shared_bytes)


def held_to(brief: Brief, fitted: Fitted) -> Fitted:
    """Return a candidate with as few models on every row as the brief's limits leave room for, one at least.

    Several models of one candidate are averaged to vary less; where a limit is tight, fewer are better than none.
    """
    count = len(fitted.whole)
    if count < 2 or (brief.latency is None and brief.size is None):
        return fitted
    quick, small = room(brief, fitted.shared_bytes)
    takes = max(fitted.microseconds / quick if brief.latency is not None else 0.0, fitted.own_bytes / max(small, 1.0))
    kept = min(count, max(1, int(count / takes + 1e-9))) if takes > 0 else count
    if kept == count:
        return fitted
    share = kept / count
    return replace(
        fitted,
        whole=fitted.whole[:kept],
        whole_seconds=fitted.whole_seconds * share,
        microseconds=fitted.microseconds * share,
        own_bytes=fitted.own_bytes * share,
    )
