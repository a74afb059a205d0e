"""Splitting: the division of a table that tells the truth about it, and the sentence that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.presets import by_halves, enough, fold_count, scored_count
from modelyard.core.errors import SplitError
from modelyard.core.seeds import derive_seed
from modelyard.data.alike import copies, order_by_content
from modelyard.data.dataset import Dataset, Fold, Ints, Parts, Split
from modelyard.data.finding import Finding
from modelyard.data.forward import expanding, expanding_by_entity, latest, latest_of_entities
from modelyard.data.measure import measure
from modelyard.data.rolling import roll
from modelyard.data.shuffle import deal, deal_groups, share_out, share_out_groups

Chosen = Literal["random", "stratified", "group", "time", "group_time", "rolling"]
_DAY = 86_400.0
_LEAST_ROWS = 10
_FORWARD_AND_ENTITY_FRACTION = 0.1
_MOST_TESTED = 0.5
"""The last moment of a table may hold more of its rows than this: then too little would be learnt from to test it."""


def split(data: Dataset, brief: Brief) -> Parts:
    """Divide a table into development and test, and development into folds.

    Parameters
    ----------
    data : Dataset
        The whole table.
    brief : Brief
        Its ``validation``, and the group and time columns under ``data``.

    Rows are put in an order of their content first, so that shuffling the table's rows or columns changes no part, and
    copies of one row stand together in every division.

    Returns
    -------
    Parts
        Each part's schema is measured anew on the development rows alone.

    Raises
    ------
    SplitError
        If no honest split exists: one entity, one moment, too few rows of a class.
    """
    if len(data) < _LEAST_ROWS:
        raise SplitError(
            f"The table has {len(data)} rows, too few to learn from and to test.",
            allowed=f"At least {_LEAST_ROWS} rows.",
            do="Add rows.",
        )
    strategy = _strategy(data, brief)
    if strategy == "rolling":
        made, extras, notes = roll(data, brief)
        return _parts(replace(data, extras=extras, notes=data.notes + notes), made)
    notes = _rare_classes(data)
    order = order_by_content(data, np.random.default_rng(derive_seed(brief.seed, "order")))
    data = data.take(order)
    if strategy in ("random", "stratified"):  # elsewhere copies share their entity or their moment
        data = replace(data, copies=copies(data))
    if strategy in ("group", "group_time"):
        _check_groups(data, brief)
    if strategy in ("time", "group_time"):
        _check_times(data, brief)
    make = {"group": _by_group, "time": _by_time, "group_time": _by_group_and_time}.get(strategy, _at_random)
    made = make(data, brief)
    parts = _parts(replace(data, notes=data.notes + notes), made)
    return replace(parts, split=replace(made, development=order[made.development], test=order[made.test]))


def _strategy(data: Dataset, brief: Brief) -> Chosen:
    asked = brief.validation.strategy
    group, time = brief.data.group, brief.data.time
    needs = {"group": ("group",), "time": ("time",), "group_time": ("group", "time"), "rolling": ("time",)}
    for role in needs.get(asked, ()):
        if (group if role == "group" else time) is None:
            raise SplitError(
                f"A {asked} split needs a {role} column.",
                where="validation.strategy",
                do=f"Name it in the brief: data.{role}.",
            )
    if data.schema.task == "forecast":
        if asked not in ("auto", "rolling"):
            raise SplitError(
                f"A forecast cannot be validated by a {asked} split.",
                where="validation.strategy",
                allowed="rolling, which never learns from what comes later.",
                do="Leave validation.strategy out of the brief.",
            )
        return "rolling"
    if asked == "rolling":
        raise SplitError(
            "A rolling split is for forecasts.",
            where="validation.strategy",
            do="Write task: forecast, or strategy: time.",
        )
    if asked == "stratified" and not data.schema.classes:
        raise SplitError(
            "A stratified split needs classes, and this label is a number.",
            where="validation.strategy",
            do="Write strategy: random.",
        )
    if asked != "auto":
        return asked
    if group is not None and time is not None:
        return "group_time"
    if group is not None:
        return "group"
    if time is not None:
        return "time"
    return "stratified" if data.schema.classes else "random"


def _fraction(data: Dataset, brief: Brief) -> float:
    asked = brief.validation.test_fraction
    if asked is not None:
        return asked
    return 0.2 if len(data) < 10_000 else 0.15 if len(data) < 100_000 else 0.1


def _classes(data: Dataset) -> Ints:
    """Return class codes, or one code for all where the label is a number or there is none."""
    if data.schema.classes:
        return np.asarray(data.truth(), dtype=np.int64)
    return np.zeros(len(data), dtype=np.int64)


def _rare_classes(data: Dataset) -> tuple[Finding, ...]:
    if not data.schema.classes or data.schema.label is None:
        return ()
    label = data.schema.label.name
    counts = np.bincount(_classes(data), minlength=len(data.schema.classes))
    if len(counts) == 2 and counts.min() < 4:
        name, rows = data.schema.classes[int(counts.argmin())], int(counts.min())
        raise SplitError(
            f"Only {rows} row{'' if rows == 1 else 's'} of '{label}' say{'s' if rows == 1 else ''} '{name}': "
            "nothing can be learnt and tested on so few.",
            where=f"column '{label}'",
            allowed="Two classes of at least 4 rows each.",
            do=f"Add rows of class '{name}'.",
        )
    return tuple(
        Finding(
            "rare_class",
            "warn",
            label,
            f"Class '{data.schema.classes[i]}' of '{label}' has 1 row.",
            "It stays in development, is learnt from in every fold and never tested: nothing is known of how well "
            "it is recognised.",
            "Add rows of this class, or merge it with another.",
        )
        for i in np.flatnonzero(counts == 1)
    )


def _check_groups(data: Dataset, brief: Brief) -> None:
    groups = data.groups()
    if groups is None or int(groups.max()) == 0:
        raise SplitError(
            f"'{brief.data.group}' names one entity only, and an entity may not stand on both sides.",
            where=f"column '{brief.data.group}'",
            allowed="At least two entities.",
            do="Name another column under data.group, or leave it out of the brief.",
        )


def _check_times(data: Dataset, brief: Brief) -> None:
    times = data.times()
    if times is None or np.unique(times).size < 2:
        raise SplitError(
            f"'{brief.data.time}' has one moment only, and nothing comes after it.",
            where=f"column '{brief.data.time}'",
            allowed="At least two moments.",
            do="Name another column under data.time, or leave it out of the brief.",
        )


def _rng(brief: Brief) -> np.random.Generator:
    return np.random.default_rng(derive_seed(brief.seed, "split"))


def _gap(data: Dataset, brief: Brief) -> float:
    """Return the gap in the unit of `Dataset.times`: seconds where the time column is a date."""
    dated = any(c.role == "time" and c.kind == "date" for c in data.schema.columns)
    return brief.validation.gap * (_DAY if dated else 1.0)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _held_out(test: Ints, n: int, what: str = "untouched") -> str:
    if not test.size:
        return "no test part, so the estimate is out-of-fold"
    return f"{test.size:,} rows ({_percent(test.size, n)}) {what}"


def _at_random(data: Dataset, brief: Brief) -> Split:
    rng, classes = _rng(brief), _classes(data)
    if brief.validation.strategy == "random":
        classes = np.zeros_like(classes)
    stratified = bool(classes.any())
    fraction, units = _fraction(data, brief), data.copies
    if units is None or not fraction:
        chosen = share_out(classes, fraction, rng)
    else:
        chosen = share_out_groups(units, classes, fraction, rng)
    test, development = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    folds = min(fold_count(brief, development.size), development.size // 2)
    if units is None:
        dealt = deal(classes[development], folds, rng)
    else:
        within = np.unique(units[development], return_inverse=True)[1].astype(np.int64)
        dealt = deal_groups(within, classes[development], min(folds, int(within.max()) + 1), rng)
    why = "classes keep their shares in every part" if stratified else "rows do not repeat an entity or follow a time"
    if units is not None:
        alike = int((np.bincount(units)[units] > 1).sum())
        why += f"; {alike:,} rows that have copies stand beside them"
    made = _folds_of(dealt, folds)
    kept = made[: _scored(brief, classes[development], data)]
    how = "stratified" if stratified else "random"
    reason = f"{how}: {why}; {folds} folds{_unscored(kept, made)}; {_held_out(test, len(data))}"
    return Split("stratified" if stratified else "random", reason, development, test, tuple(kept))


def _by_group(data: Dataset, brief: Brief) -> Split:
    rng, classes, groups = _rng(brief), _classes(data), data.groups()
    assert groups is not None  # noqa: S101  (_check_groups has seen to it)
    entities, fraction = int(groups.max()) + 1, _fraction(data, brief)
    if entities < 3 and fraction > 0:
        if brief.validation.test_fraction is not None:
            raise SplitError(
                f"'{brief.data.group}' names {entities} entities: too few for a test part and two folds.",
                where=f"column '{brief.data.group}'",
                allowed="At least three entities.",
                do="Write test_fraction: 0, or name another column under data.group.",
            )
        fraction = 0.0
    chosen = share_out_groups(groups, classes, fraction, rng) if fraction > 0 else np.zeros(len(data), dtype=np.bool_)
    test, development = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    within = np.unique(groups[development], return_inverse=True)[1].astype(np.int64)
    left = int(within.max()) + 1
    asked = fold_count(brief, development.size)
    folds = min(asked, left)
    if folds < 2:
        raise _no_folds(f"one entity is left for development in '{brief.data.group}'")
    dealt = deal_groups(within, classes[development], folds, rng)
    made = _weighty(_folds_of(dealt, folds), data, development)
    if len(made) < 2 or _one_sided(classes[development], made):
        raise _no_folds("all rows of a class, or all that weigh anything, belong to one entity")
    fewer = "" if folds == asked else f" (fewer than asked: there are {left} entities)"
    kept = _taught(made, classes[development])
    apart = len(made) - len(kept)
    told = f", {apart} of them unscored: it holds over half the rows" if apart else ""
    scored = kept[: _scored(brief, classes[development], data)]
    reason = (
        f"group by {brief.data.group}: {len(data):,} rows of {entities:,} entities, none on both sides; "
        f"{folds} folds{fewer}{told}{_unscored(scored, kept)}; {_held_out(test, len(data))}"
    )
    return Split("group", reason, development, test, tuple(scored))


def _by_time(data: Dataset, brief: Brief) -> Split:
    times, fraction = data.times(), _fraction(data, brief)
    assert times is not None  # noqa: S101
    gap = _gap(data, brief)
    chosen, learn = np.zeros(len(data), dtype=np.bool_), np.ones(len(data), dtype=np.bool_)
    start = latest(times, fraction)
    share = float((times >= start).mean())
    if fraction > 0 and np.unique(times).size > 2 and share <= max(_MOST_TESTED, fraction):
        chosen, learn = times >= start, times < start - gap
    elif fraction > 0 and brief.validation.test_fraction is not None:
        raise _no_folds(f"'{brief.data.time}' has two moments, or too large a last one, for a test part and a fold")
    test, development = np.flatnonzero(chosen), np.flatnonzero(learn)
    folds = expanding(times[development], fold_count(brief), gap)
    return _forward_split("time", data, brief, development, test, folds, f"forward in {brief.data.time}")


def _by_group_and_time(data: Dataset, brief: Brief) -> Split:
    rng, times, groups = _rng(brief), data.times(), data.groups()
    assert times is not None  # noqa: S101
    assert groups is not None  # noqa: S101
    gap = _gap(data, brief)
    fraction = brief.validation.test_fraction
    # Every row tested costs others that may then not be learnt from, so the default stays at the low end.
    fraction = _FORWARD_AND_ENTITY_FRACTION if fraction is None else fraction
    learn, chosen = np.ones(len(data), dtype=np.bool_), np.zeros(len(data), dtype=np.bool_)
    if fraction > 0:
        learn, chosen = latest_of_entities(times, groups, fraction, gap, rng)
        if not chosen.any():
            raise _no_folds("no later rows of some entities and earlier rows of others exist")
    test, development = np.flatnonzero(chosen), np.flatnonzero(learn)
    within = np.unique(groups[development], return_inverse=True)[1].astype(np.int64)
    classes = _classes(data)[development]
    twice = by_halves(brief, development.size, np.bincount(classes).tolist() if data.schema.classes else ())
    folds = expanding_by_entity(times[development], within, fold_count(brief), gap, rng, twice=twice)
    lost = len(data) - development.size - test.size
    how = f"group by {brief.data.group}, forward in {brief.data.time}"
    if lost:
        how += (
            f"; {lost:,} rows ({_percent(lost, len(data))}) are left out: earlier rows of entities tested, "
            "later rows of entities learnt from"
        )
    return _forward_split("group_time", data, brief, development, test, folds, how)


def _forward_split(
    strategy: Literal["time", "group_time"],
    data: Dataset,
    brief: Brief,
    development: Ints,
    test: Ints,
    folds: list[Fold],
    how: str,
) -> Split:
    classes = _classes(data)[development]
    if data.schema.classes:
        folds = [f for f in folds if np.unique(classes[f.train]).size > 1]
    folds = _weighty(folds, data, development)
    if not folds:
        raise _no_folds("too few moments, or the gap is too long, or early rows have one class or no weight")
    kept = folds[-_scored(brief, classes, data) :]
    scored = classes[np.concatenate([fold.score for fold in kept])]
    if not enough(scored.size, np.bincount(scored).tolist() if data.schema.classes else ()):
        kept = folds  # entities scored elsewhere, or a class of the early rows, took some away
    gap = _gap(data, brief)
    wide = f", gap {brief.validation.gap:g}{' days' if gap != brief.validation.gap else ''}" if gap else ""
    count = len(folds) if folds[0].window is None else len({fold.window for fold in folds})
    fewer = "" if count == fold_count(brief) else " (no more are possible)"
    plural = "" if count == 1 else "s"
    halves = "" if count == len(folds) else ", each scored by halves of its entities"
    reason = (
        f"{how}: {count} expanding window{plural}{fewer}{halves}{wide}{_unscored(kept, folds)}; "
        f"{_held_out(test, len(data), 'at the end untouched')}"
    )
    return Split(strategy, reason, development, test, tuple(kept), gap)


def _no_folds(why: str) -> SplitError:
    return SplitError(
        f"No honest split exists: {why}.",
        allowed="Rows to learn from and rows to score, of both classes, that share no entity and no future.",
        do="Name another group or time column, a smaller gap, or another validation.strategy.",
    )


def _scored(brief: Brief, classes: Ints, data: Dataset) -> int:
    """Return how many folds are scored, given the class codes of the development rows."""
    return scored_count(brief, classes.size, np.bincount(classes).tolist() if data.schema.classes else ())


def _unscored(kept: Sequence[Fold], made: Sequence[Fold]) -> str:
    return "" if len(kept) == len(made) else f", {len(kept)} of them scored: their rows are enough to choose by"


def _one_sided(classes: Ints, folds: Sequence[Fold]) -> bool:
    several = np.unique(classes).size
    return several > 1 and any(np.unique(classes[f.train]).size < 2 for f in folds)


def _weighty(folds: list[Fold], data: Dataset, development: Ints) -> list[Fold]:
    """Leave out folds that learn from rows without weight: the early rows of a table may have none."""
    weights = data.weights()
    return folds if weights is None else [fold for fold in folds if weights[development[fold.train]].any()]


def _taught(folds: list[Fold], classes: Ints) -> list[Fold]:
    """Leave out a fold that scores more rows than it learns from: it tells of a model that nobody will have."""
    taught = [fold for fold in folds if fold.train.size >= fold.score.size]
    scored = np.unique(classes[np.concatenate([fold.score for fold in taught])]) if len(taught) > 1 else ()
    return taught if len(scored) == np.unique(classes).size else folds


def _folds_of(dealt: Ints, folds: int) -> list[Fold]:
    made = [Fold(np.flatnonzero(dealt != k), np.flatnonzero(dealt == k)) for k in range(folds)]
    return [f for f in made if f.score.size]


def _parts(data: Dataset, made: Split) -> Parts:
    """Take the parts, with a schema that shows the development rows and nothing else."""
    development = data.take(made.development)
    schema = replace(data.schema, columns=measure(development.frame, data.schema.columns))
    test = replace(data.take(made.test), schema=schema) if made.test.size else None
    return Parts(replace(development, schema=schema), test, made)
