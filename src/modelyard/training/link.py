"""link: whether members learn the mean of a number or its logarithm, told by a first kind that is fitted both ways."""

from __future__ import annotations

from dataclasses import replace

from modelyard.families.fitted import Candidate
from modelyard.training.attempts import Attempts, learns_log

MARK = "-log"
"""After the name of a candidate that learns the logarithm of the mean in place of the mean."""
WORTH = 0.002
"""Part of the loss it must take off."""


def choose_link(attempts: Attempts, candidate: Candidate) -> bool:
    """Fit the first kind of trees again, learning the logarithm of the mean; return whether the link is settled now.

    Where effects multiply, as on prices and counts, logarithms have less to learn, and answers stay above zero. Their
    deviance is proper for the mean, so that squared error may compare both ways. One link then serves all members,
    since only raw scores of one kind can be summed: fits of the other kind are put aside, and made anew if there is
    time.
    """
    fitted = next((one for one in attempts.fitted if one.candidate.name == candidate.name), None)
    twin = of_log(candidate)
    if fitted is None or twin is None or not candidate.space:
        return False
    if not attempts.affordable(twin, fitted.seconds):
        attempts.skip(twin)
        return True
    step = attempts.fit(twin)
    made = None if step is None else step.fitted
    logs = made is not None and attempts.rank(made) < (1 - WORTH) * attempts.rank(fitted)
    earlier = [one for one in attempts.fitted if not learns_log(one.candidate.parameters) and one is not fitted]
    attempts.fitted[:] = [one for one in attempts.fitted if learns_log(one.candidate.parameters) == logs]
    if logs:
        attempts.loss = replace(attempts.loss, link="log")
        for one in earlier:
            again = of_log(one.candidate)
            if again is not None and attempts.affordable(again, one.seconds):
                attempts.fit(again)
    return True


def in_link(attempts: Attempts, candidate: Candidate) -> Candidate | None:
    """Return what to fit of a candidate by the link that was settled; None where it cannot be fitted by it."""
    logs = attempts.loss.name == "squared_error" and attempts.loss.link == "log"
    return of_log(candidate) if logs else candidate


def of_log(candidate: Candidate) -> Candidate | None:
    """Return the candidate that learns the logarithm of the mean; None where it cannot."""
    if candidate.log is None:
        return None
    return replace(
        candidate,
        name=candidate.name + MARK,
        parameters={**candidate.parameters, **candidate.log},
        reason=f"{candidate.reason}; it learns the logarithm of the mean",
        log=None,
    )
