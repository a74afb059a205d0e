"""plain: whether numbers made of two others stay features, told by a first kind that is fitted without them too."""

from __future__ import annotations

from dataclasses import replace

from modelyard.core.machine import usable_cores
from modelyard.families.fitted import Candidate
from modelyard.training.attempts import Attempts, scored_rows, told

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
    twin = of_plain(candidate)
    split = attempts.parts.split
    count = min(usable_cores(), len(split.folds))
    if not attempts.affordable(twin, fitted.seconds * count / len(split.folds)):
        attempts.skip(twin)
        return candidate
    attempts.tell(f"{twin.name} on {count} of {len(split.folds)} folds")
    try:
        made = attempts.again(twin, split.folds[-count:] if split.forward else split.folds[:count])
    except Exception as error:
        attempts.skip(twin, told(error))
        return candidate
    rows = scored_rows([fitted, made])
    loss = attempts.loss.take(rows)
    before, after = loss(fitted.scores[rows]), loss(made.scores[rows])
    if after > before:
        lost = f"the loss is {after / before - 1:.1%} more without derived numbers"
        attempts.skip(twin, f"put aside after {count} of {len(split.folds)} folds: {lost}")
        return candidate
    attempts.plain = True
    if attempts.affordable(twin, fitted.seconds):
        step = attempts.fit(twin)
        return candidate if step is None else twin
    attempts.skip(twin)
    return candidate


def of_plain(candidate: Candidate) -> Candidate:
    """Return the candidate that takes numbers as they are."""
    return replace(
        candidate,
        name=candidate.name + MARK,
        parameters={**candidate.parameters, "derived": False},
        reason=f"{candidate.reason}; numbers as they are",
    )
