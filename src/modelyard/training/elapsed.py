"""elapsed: whether the moment itself is a feature, told by forward windows."""

from __future__ import annotations

from dataclasses import replace

from modelyard.training.attempts import Attempts

MARK = "-elapsed"
"""After the name of a candidate whose features hold the moment itself."""
WORTH = 0.02
"""Part of the loss it must take off."""
_BEST = 2


def try_elapsed(attempts: Attempts) -> None:
    """Fit the best two candidates once more with the time column's own value as a feature; keep it if worth it.

    Every row to come lies after those learnt from: trees answer for it as for the last of them. That follows a level
    that drifts, and misleads where the level turns. Only windows scored forward in time can say which, and where they
    do not say it clearly the fits are put aside: neither the search nor the blend sees them.
    """
    if attempts.parts.split.strategy not in ("time", "group_time"):
        return
    plain, told = 0.0, 0.0
    for fitted in [one for one in attempts.fitted if one.candidate.parameters.get("elapsed") is False][:_BEST]:
        own = fitted.candidate
        candidate = replace(
            own,
            name=own.name + MARK,
            parameters={**own.parameters, "elapsed": True},
            reason=f"{own.name} with the moment itself as a feature",
        )
        if not attempts.affordable(candidate, fitted.seconds):
            attempts.skip(candidate)
            break
        step = attempts.fit(candidate)
        if step is not None and step.fitted is not None:
            plain, told = plain + attempts.out_of_fold_loss(fitted), told + attempts.out_of_fold_loss(step.fitted)
    if told >= (1 - WORTH) * plain:
        attempts.fitted[:] = [one for one in attempts.fitted if not one.candidate.parameters.get("elapsed")]
