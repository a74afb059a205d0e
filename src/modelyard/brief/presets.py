"""Presets: one word for what a brief leaves open, from an answer within a minute to the best in half an hour."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from modelyard.brief.brief import Brief, Budget, Presets


@dataclass(frozen=True, slots=True)
class Preset:
    """What one word settles.

    Attributes
    ----------
    seconds : float
        Wall clock of all of ``develop``.
    folds, small, windows : int
        Parts of the development rows; those of a small table, whose models need every row they can get; windows where
        the split goes forward in time, whose first learn from few rows. Not all are scored: see `scored_count`.
    networks : bool
        Whether networks may be tried, where time or rows call for them.
    """

    seconds: float
    folds: int
    small: int
    windows: int
    networks: bool


PRESETS: Mapping[Presets, Preset] = {
    "fast": Preset(45.0, 3, 4, 3, networks=False),
    "balanced": Preset(Budget().seconds, 4, 8, 5, networks=True),
    "best": Preset(1800.0, 8, 8, 8, networks=True),
}
"""``balanced`` is what a brief without the word gets."""

SMALL = 5_000
"""Development rows under which a table is small."""
SIDE_BY_SIDE = 2
"""Folds are scored by so many: the least of machines fits two in the time of one."""
SCORED_ROWS, SCORED_OTHERS = 7_000, 450
"""Rows that are scored before further folds are left out, and those of them that are not of the largest class."""


def under(brief: Brief, presets: Presets) -> Brief:
    """Return a brief with everything a preset settles, whatever it held before."""
    one = PRESETS[presets]
    return replace(
        brief,
        presets=presets,
        budget=replace(brief.budget, seconds=one.seconds),
        validation=replace(brief.validation, folds=None),
    )


def goes_forward(brief: Brief) -> bool:
    """Say whether a brief's split learns from earlier rows and scores later ones."""
    strategy = brief.validation.strategy
    return strategy in ("time", "group_time", "rolling") or (strategy == "auto" and brief.data.time is not None)


def fold_count(brief: Brief, rows: int | None = None) -> int:
    """Return how many folds a brief asks for, or its preset: windows where the split goes forward in time.

    Parameters
    ----------
    brief : Brief
        What is asked.
    rows : int, optional
        Rows of the development part; default, as many as are no small table.
    """
    one = PRESETS[brief.presets]
    folds = one.folds if rows is None or rows >= SMALL else one.small
    return brief.validation.folds or (one.windows if goes_forward(brief) else folds)


def scored_count(brief: Brief, rows: int, counts: Collection[int] = ()) -> int:
    """Return how many of the folds are scored: all, or of a large table as many as settle what is to be chosen.

    Each costs a fit of every candidate. What the rows of a fold tell apart does not grow with those of further ones
    once they are many; other kinds, finer rates and a search in their time do more. A brief that names
    ``validation.folds`` has all of them scored, and so has the preset ``best``. Windows `by_halves` are two folds each.

    Parameters
    ----------
    brief : Brief
        What is asked.
    rows : int
        Rows of the development part.
    counts : collection of int
        Rows of each class; none where the label is a number.
    """
    count = fold_count(brief, rows)
    if by_halves(brief, rows, counts):
        return 2 * count
    if brief.validation.folds is not None or brief.presets == "best":
        return count
    least = 2 * SIDE_BY_SIDE if goes_forward(brief) else SIDE_BY_SIDE  # what holds in two windows need not last
    for kept in range(least, count, SIDE_BY_SIDE):
        share = kept / _parts(brief, count)
        if enough(share * rows, [share * each for each in counts]):
            return kept
    return count


def scored_share(brief: Brief, rows: int, counts: Collection[int] = ()) -> float:
    """Return the part of the development rows that is scored; arguments are those of `scored_count`."""
    count = fold_count(brief, rows)
    return min(count, scored_count(brief, rows, counts)) / _parts(brief, count)


def by_halves(brief: Brief, rows: int, counts: Collection[int] = ()) -> bool:
    """Say whether a window of a split by entity and time is scored twice, by one half of the entities and the other.

    An entity is not learnt from where it is scored, so one fold leaves half of the entities that windows share
    unscored. Where rows are few that costs more in what is chosen than twice the fits do; arguments are those of
    `scored_count`.
    """
    data, validation = brief.data, brief.validation
    both = validation.strategy == "group_time" or (
        validation.strategy == "auto" and data.group is not None and data.time is not None
    )
    if not both or validation.folds is not None:
        return False
    count = fold_count(brief, rows)
    share = count / _parts(brief, count) / 2
    return not enough(share * rows, [share * each for each in counts])


def enough(rows: float, counts: Collection[float] = ()) -> bool:
    """Say whether so many scored rows, of so many of each class, settle what is to be chosen."""
    return rows >= SCORED_ROWS and (not counts or sum(counts) - max(counts) >= SCORED_OTHERS)


def _parts(brief: Brief, count: int) -> int:
    """Return the parts of the rows: forward in time a first block is only learnt from."""
    return count + 1 if goes_forward(brief) else count


def settled(brief: Brief) -> tuple[str, ...]:
    """Return in words what the preset settled: all that it would, but for what the brief says otherwise."""
    one = PRESETS[brief.presets]
    told = [
        (f"{one.seconds:,.0f} s", brief.budget.seconds == one.seconds),
        (_folds(brief), brief.validation.folds is None),
        ("networks where time or rows call for them" if one.networks else "no networks", brief.model == "auto"),
    ]
    return tuple(words for words, holds in told if holds)


def _folds(brief: Brief) -> str:
    one = PRESETS[brief.presets]
    if goes_forward(brief):
        return f"{one.windows} windows"
    return f"{one.folds} folds" + (f" ({one.small} under {SMALL:,} rows)" if one.small != one.folds else "")
