"""twin: a candidate in another way, on as many folds as fit side by side, beside what it was fitted as."""

from __future__ import annotations

from modelyard.core.machine import usable_cores
from modelyard.families.fitted import Candidate, Fitted
from modelyard.training.attempts import Attempts, told


def beside(attempts: Attempts, fitted: Fitted, twin: Candidate) -> tuple[Fitted, str] | None:
    """Fit a twin of what was fitted on a fold for each core, of forward splits the latest.

    Returns
    -------
    (Fitted, str) or None
        The twin, never to be blended, and on how many folds, in words. None where there is no time for it or it
        cannot be fitted, which is noted.
    """
    split = attempts.parts.split
    count = min(usable_cores(), len(split.folds))
    if not attempts.affordable(twin, fitted.seconds * count / len(split.folds)):
        attempts.skip(twin)
        return None
    some = f"{count} of {len(split.folds)} folds"
    attempts.tell(f"{twin.name} on {some}")
    try:
        return attempts.again(twin, split.folds[-count:] if split.forward else split.folds[:count]), some
    except Exception as error:
        attempts.skip(twin, told(error))
        return None
