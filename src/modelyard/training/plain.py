"""plain: whether numbers made of two others stay features, told by a first kind that is fitted without them too."""

from __future__ import annotations

from dataclasses import replace

from modelyard.families.fitted import Candidate
from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.twin import beside

MARK = "-plain"
"""After the name of a candidate that takes numbers as they are."""


def choose_plain(attempts: Attempts, candidate: Candidate) -> Candidate:
    """Fit the first kind that kept derived numbers again without them; return what is to stand for that kind.

    Short boosters on a part of a fold's rows chose them, and what helps those need not help long ones. As many whole
    fits as run side by side tell: where they do as well without, no later candidate makes any.
    """
    fitted = next((one for one in attempts.fitted if one.candidate.name == candidate.name), None)
    if attempts.plain is not None or fitted is None or not candidate.parameters.get("derived"):
        return candidate
    attempts.plain = False
    if not fitted.facts["derived"]:
        return candidate
    twin = replace(
        without_derived(candidate), name=candidate.name + MARK, reason=f"{candidate.reason}; numbers as they are"
    )
    tried = beside(attempts, fitted, twin)
    if tried is None:
        return candidate
    made, some = tried
    rows = scored_rows([fitted, made])
    loss = attempts.loss.take(rows)
    before, after = loss(fitted.scores[rows]), loss(made.scores[rows])
    if after > before:
        lost = f"the loss is {(after - before) / abs(before or 1.0):.1%} more without derived numbers"
        attempts.skip(twin, f"put aside after {some}: {lost}")
        return candidate
    attempts.plain = True
    if attempts.affordable(twin, fitted.seconds):
        step = attempts.fit(twin)
        return candidate if step is None else twin
    attempts.skip(twin)
    return candidate


def in_features(attempts: Attempts, candidate: Candidate) -> Candidate:
    """Return what to fit of a candidate by what was settled of derived numbers."""
    return without_derived(candidate) if attempts.plain and candidate.parameters.get("derived") else candidate


def without_derived(candidate: Candidate) -> Candidate:
    """Return the candidate that takes numbers as they are."""
    return replace(candidate, parameters={**candidate.parameters, "derived": False})
