"""whole: of a fit over folds, the fit on every row that answers for it."""

from __future__ import annotations

from dataclasses import replace

from modelyard.data.dataset import Parts
from modelyard.families.family import Family
from modelyard.families.fitted import Fitted


def fit_whole(family: Family, fitted: Fitted, parts: Parts, seed: int) -> Fitted:
    """Fit a candidate on every row, as long and as often as its fit over the folds says.

    Models of the folds have each missed a part of the rows, and another that told them when to stop. Their scores say
    how good the candidate is; models that learnt from every row are better.

    Parameters
    ----------
    family : Family
        Whose candidate it is.
    fitted : Fitted
        The candidate over the folds; where it names no counts (`Fitted.whole`) it is returned as it is.
    parts : Parts
        As it was fitted on.
    seed : int
        As it was fitted with.

    Returns
    -------
    Fitted
        Models of every row; scores, counts and curves of the folds.
    """
    if not fitted.whole:
        return fitted
    every = replace(parts, split=replace(parts.split, folds=()))
    candidate = fitted.candidate
    settled = replace(candidate, parameters={**candidate.parameters, **fitted.facts.get("settled", {})})
    made = family.fit(settled, every, seed, None, fitted.whole)
    return replace(
        made,
        candidate=candidate,
        scores=fitted.scores,
        rounds=fitted.rounds,
        curves=fitted.curves,
        whole=fitted.whole,
        microseconds=fitted.microseconds,
        own_bytes=made.own_bytes or fitted.own_bytes,
        shared_bytes=fitted.shared_bytes,
        seconds=fitted.seconds + made.seconds,
    )
