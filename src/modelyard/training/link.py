"""link: whether members learn the mean of a number or its logarithm, told by a first kind that is fitted both ways."""

from __future__ import annotations

from dataclasses import replace

from modelyard.families.fitted import Candidate, Fitted
from modelyard.training.attempts import Attempts, scored_rows
from modelyard.training.twin import beside

MARK = "-log"
"""After the name of a candidate that learns the logarithm of the mean in place of the mean."""
WORTH = 0.002
"""Part of the loss it must take off."""


def choose_link(attempts: Attempts, candidate: Candidate) -> bool:
    """Fit the first kind of trees again, learning the logarithm of the mean; return whether the link is settled now.

    Where effects multiply, as on prices and counts, logarithms have less to learn, and answers stay above zero. Their
    deviance is proper for the mean, so that squared error may compare both ways; as many folds as fit side by side say
    enough. One link then serves all members, since only raw scores of one kind can be summed: fits for the mean itself
    are put aside, and made anew if there is time.
    """
    fitted = next((one for one in attempts.fitted if one.candidate.name == candidate.name), None)
    twin = of_log(candidate)
    if fitted is None or twin is None or not candidate.space:
        return False
    tried = beside(attempts, fitted, twin)
    if tried is None:
        return True
    made, some = tried
    gain = _gain(attempts, fitted, made)
    if gain < WORTH:
        off = f"it takes {gain:.1%} off the squared error, under {WORTH:.1%}"
        attempts.skip(twin, f"put aside after {some}: {off}")
        return True
    earlier = attempts.fitted[:]
    attempts.fitted.clear()
    attempts.loss = replace(attempts.loss, link="log")
    for one in earlier:
        if one is not fitted and attempts.plain and one.candidate.parameters.get("derived"):
            continue
        again = of_log(one.candidate)
        if again is not None and (one is fitted or attempts.affordable(again, one.seconds)):
            attempts.fit(again, to_the_end=one is fitted)
    if not attempts.fitted:
        attempts.loss, attempts.fitted[:] = replace(attempts.loss, link="identity"), earlier
    return True


def _gain(attempts: Attempts, fitted: Fitted, made: Fitted) -> float:
    """Return the part of the squared error that logarithms take off, on the rows both score."""
    rows = scored_rows([fitted, made])
    loss = attempts.loss.take(rows)
    before = loss(fitted.scores[rows])
    return 1 - replace(loss, link="log")(made.scores[rows]) / before if before > 0 else 0.0


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
