"""Greedy weighted selection: which fitted candidates to sum, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.core.seeds import derive_seed
from modelyard.data.dataset import Floats
from modelyard.training.loss import Loss

STEPS = 30
WORTH = 3e-4
"""Part of the loss that a further member must take off to be summed at all."""
CELLS = 200_000
"""Rows times outputs a step looks at: more would cost seconds and change no choice."""
GLANCE = 20_000
"""The same where a blend is only looked at, not made."""


def greedy_weights(
    scores: Sequence[Floats],
    loss: Loss,
    *,
    steps: int = STEPS,
    worth: float = WORTH,
    costs: Floats | None = None,
    limits: Floats | None = None,
    seed: int = 0,
    cells: int = CELLS,
) -> Floats:
    """Choose members with replacement, each time the one whose addition lowers the loss of the average most.

    The first choice is the best single candidate, and the prefix of choices with the lowest loss is kept, so the
    result is never worse than that candidate on the rows looked at. A candidate not yet chosen is taken only where it
    lowers the loss by the part `worth` at once, and where the costs of all chosen stay within the limits; the first
    choice is made of those that do, or else is the one that exceeds them least. A member's smallest share is
    1 / `steps`.

    Parameters
    ----------
    scores : sequence of float64 arrays of shape [n, k]
        Raw out-of-fold scores of each candidate, finite.
    loss : Loss
        Over the same n rows.
    steps : int
        Choices made.
    worth : float
        Part of the loss a new member must take off, more than a member chosen already would.
    costs : float64 array of shape [len(scores), r], optional
        What each candidate takes of r scarce things, such as trees of the latency limit or seconds still to fit it.
    limits : float64 array of shape [r], optional
        How much there is of each; with `costs`.
    seed : int
        Of the rows looked at, where there are too many.
    cells : int
        Rows times outputs looked at.

    Returns
    -------
    float64 array of shape [len(scores)]
        Weights, summing to 1; 0 for those not chosen.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes (2004). Ensemble selection from libraries of models. ICML.
    """
    rows, outputs = scores[0].shape
    most = max(1, cells // outputs)
    if rows > most:
        random = np.random.default_rng(derive_seed(seed, "ensemble"))
        kept = np.sort(random.choice(rows, most, replace=False))
        scores, loss = [one[kept] for one in scores], loss.take(kept)
    share = np.zeros((len(scores), 0)) if costs is None or limits is None else costs / np.maximum(limits, 1e-12)
    total = np.zeros_like(scores[0])
    chosen: list[int] = []
    best, best_length = np.inf, 0
    for step in range(1, steps + 1):
        allowed = _allowed(share, chosen)
        losses = [loss((total + one) / step) if may else np.inf for one, may in zip(scores, allowed, strict=True)]
        pick = int(np.argmin(losses))
        if chosen and pick not in chosen:
            # A member costs time with every answer the model will ever give: one more must be worth it.
            again = min(set(chosen), key=lambda i: (losses[i], i))
            if losses[pick] > min(losses[again], best) * (1 - worth):
                pick = again
        total += scores[pick]
        chosen.append(pick)
        # A tie keeps the shorter prefix: rounding must not add members that change nothing.
        if losses[pick] < best * (1 - 1e-9) if np.isfinite(best) and best > 0 else losses[pick] < best:
            best, best_length = losses[pick], step
        if len(scores) == 1:
            break
    counts = np.bincount(chosen[:best_length], minlength=len(scores))
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _allowed(share: Floats, chosen: Sequence[int]) -> Sequence[bool]:
    """Say of each candidate whether it is chosen, or may be; `share` is what each takes of the limits, [m, r]."""
    taken = sorted(set(chosen))
    within = np.asarray((share + share[taken].sum(axis=0) <= 1.0).all(axis=1), dtype=np.bool_)
    if not taken and not within.any():
        within[int(np.argmin(share.max(axis=1)))] = True
    within[taken] = True
    return list(within)
