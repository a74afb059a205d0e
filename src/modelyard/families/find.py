"""Families, found by name: a table of our own, and whatever other packages announce as entry points.

A package adds a family by naming it in its ``pyproject.toml``::

    [project.entry-points."modelyard.families"]
    survival = "my_package.survival:Survival"

and tests it with `modelyard.families.checks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from modelyard.core.errors import FamilyError, ModelyardError, did_you_mean
from modelyard.families.family import Family

GROUP = "modelyard.families"
BUILT_IN = {
    "tabular": "modelyard.families.tabular.tabular:Tabular",
    "forecast": "modelyard.families.forecast.forecast:Forecast",
}


def family_named(name: str) -> Family:
    """Return the family of that name.

    Raises
    ------
    FamilyError
        If there is none, if two packages announce it, or if its package cannot be loaded.
    """
    if name in BUILT_IN:
        module, attribute = BUILT_IN[name].split(":")
        made: Family = getattr(import_module(module), attribute)()
        return made
    announced = [point for point in _announced() if point.name == name]
    if not announced:
        names = [*BUILT_IN, *(point.name for point in _announced())]
        raise FamilyError(
            f"No model family is called '{name}'.",
            allowed=did_you_mean(name, names) or f"Families: {', '.join(names)}.",
            do=f"Install the package that brings it; it must announce it as an entry point of '{GROUP}'.",
        )
    if len(announced) > 1:
        raise FamilyError(
            f"Two packages bring a model family called '{name}': {', '.join(sorted(map(_package, announced)))}.",
            do="Uninstall one of them.",
        )
    return _load(announced[0])


def family_for(task: str) -> Family:
    """Return the family that fits a task: ours before those of other packages, which stand in order of name.

    Parameters
    ----------
    task : str
        binary, multiclass, regression, forecast, or a task another package brings.

    Raises
    ------
    FamilyError
        If no family fits it; it names the packages that could not be loaded.
    """
    broken: list[ModelyardError] = []
    for name in _names():
        try:
            family = family_named(name)
        except ModelyardError as error:
            # Another family may still fit the task; the fault is told only when none does.
            broken.append(error)
            continue
        if task in family.tasks:
            return family
    raise FamilyError(
        f"No model family fits the task '{task}'.",
        where="; ".join(error.what for error in broken) or None,
        allowed=f"Families: {', '.join(_names())}.",
    )


def all_families() -> tuple[Family, ...]:
    """Return every family: ours, then those of other packages in order of name.

    Raises
    ------
    FamilyError
        If another package's family cannot be loaded.
    """
    return tuple(family_named(name) for name in _names())


def _names() -> Iterator[str]:
    yield from BUILT_IN
    yield from sorted({point.name for point in _announced()} - BUILT_IN.keys())


def _announced() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def _load(point: EntryPoint) -> Family:
    try:
        loaded: Family = point.load()()
        described = (loaded.name, loaded.tasks, loaded.fit)
    except Exception as error:
        # Whatever a stranger's code raises, the user must learn whose it is.
        raise FamilyError(
            f"The model family '{point.name}' of the package '{_package(point)}' cannot be loaded.",
            where=f"{type(error).__name__}: {error}",
            do=f"Update or uninstall '{_package(point)}'.",
        ) from error
    if described[0] != point.name:
        raise FamilyError(
            f"The package '{_package(point)}' announces the model family '{point.name}', "
            f"but it calls itself '{described[0]}'.",
            do=f"Update or uninstall '{_package(point)}'.",
        )
    return loaded
