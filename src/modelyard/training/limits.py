"""Limits: what the brief leaves the members of a blend of an answer's time and of the model's file, and how it is used.

Members are chosen as if each had one model on every row. What the chosen ones leave of the limits goes to more models
of them, fitted with other seeds: their mean varies less than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelyard.core.machine import usable_cores
from modelyard.families.fitted import Fitted
from modelyard.selection.plan import Plan

USUAL_MICROSECONDS, LEAST_MICROSECONDS, OF_A_LOOK_UP = 250.0, 200.0, 4.0
"""What the trees of a blend may take of one answer where the brief names no limit: so much less for each column that is
no number, which the graph must look up for every model, but never less than the second."""


def room(plan: Plan, shared_bytes: float = 0.0, best: float = 0.0) -> tuple[float, float]:
    """Return the microseconds all members may take together, and the bytes beside those they share.

    Where the brief names no latency, it is at least the microseconds of the `best` fit: trees of many classes may all
    take longer than is usual, and a user who asked for no haste is not served by a line in their place.
    """
    brief = plan.brief
    looked_up = OF_A_LOOK_UP * sum(column.kind not in ("number", "boolean") for column in plan.schema.features)
    quick = max(LEAST_MICROSECONDS, USUAL_MICROSECONDS - looked_up, best)
    if brief.latency is not None:
        asked = brief.latency.model_microseconds
        quick = max(asked - looked_up, asked / 2)
    return quick, float("inf") if brief.size is None else max(0.0, brief.size.bytes - shared_bytes)


def of_models(fitted: Fitted, count: int) -> Fitted:
    """Return a candidate with so many of its models on every row, at most those it has, and what these take."""
    had = len(fitted.whole)
    if count >= had:
        return fitted
    waves = math.ceil(count / usable_cores()) / math.ceil(had / usable_cores())  # as many fit side by side as cores
    return replace(
        fitted,
        whole=fitted.whole[:count],
        whole_seconds=fitted.whole_seconds * waves,
        microseconds=fitted.microseconds * count / had,
        own_bytes=fitted.own_bytes * count / had,
    )


def of_folds(fitted: Fitted) -> Fitted:
    """Return a candidate for which the models of its folds answer: they are there, and no fit on every row is made.

    Each encodes by tables of its own, where models on every row share one.
    """
    if not sum(fitted.whole):
        return fitted
    times = sum(fitted.rounds) / sum(fitted.whole)
    return replace(
        fitted,
        whole=(),
        whole_seconds=0.0,
        microseconds=fitted.microseconds * times,
        own_bytes=fitted.own_bytes * times + fitted.shared_bytes * (len(fitted.rounds) - 1),
    )


def of_one(fitted: Sequence[Fitted]) -> list[Fitted]:
    """Return candidates with one model on every row each, as they are chosen."""
    return [of_models(one, 1) for one in fitted]


def spread(
    members: Sequence[tuple[Fitted, float]], plan: Plan, left: float, quick: float | None = None
) -> list[Fitted]:
    """Return the members with as many models on every row as the limits leave room for, one each at least.

    The variance that seeds bring into the blend falls with share² / models: the next model goes where that falls most
    for the time it adds to an answer, until none fits.

    Parameters
    ----------
    members : sequence of (Fitted, float)
        With all the models a family offers, and their shares.
    plan : Plan
        Its limits hold.
    left : float
        Seconds there are to fit them.
    quick : float, optional
        Microseconds an answer may take, instead of the brief's.
    """
    usual, small = room(plan, max(one.shared_bytes for one, _ in members))
    limits = np.array([usual if quick is None else quick, small, left])
    made = of_one([one for one, _ in members])
    growing = set(range(len(made)))

    def worth(i: int) -> float:
        share, count = members[i][1], max(1, len(made[i].whole))
        return share * share / (count * (count + 1)) / max(made[i].microseconds / count, 1e-9)

    while growing:
        i = max(growing, key=lambda i: (worth(i), -i))
        more = of_models(members[i][0], len(made[i].whole) + 1)
        others = [*made[:i], more, *made[i + 1 :]]
        taken = np.sum([[one.microseconds, one.own_bytes, one.whole_seconds] for one in others], axis=0)
        if len(more.whole) > len(made[i].whole) and (taken <= limits).all():
            made = others
        else:
            growing.remove(i)
    return made


def held_to(plan: Plan, fitted: Fitted) -> Fitted:
    """Return a candidate with as few models on every row as leave it within the brief's size, one at least."""
    count = len(fitted.whole)
    small = room(plan, fitted.shared_bytes)[1]
    return fitted if fitted.own_bytes <= small else of_models(fitted, max(1, int(count * small / fitted.own_bytes)))
