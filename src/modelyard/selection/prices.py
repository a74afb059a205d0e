"""Prices: what a run would cost on machines one can rent, from a dated table the user can edit."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from modelyard.core.errors import WorkspaceError
from modelyard.selection.plan import Price

VARIABLE = "MODELYARD_PRICES"
"""Environment variable that names another table."""


class _Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    cores: Annotated[int, msgspec.Meta(ge=1)]
    dollars_per_hour: Annotated[float, msgspec.Meta(ge=0)]
    dated: str


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    machine: tuple[_Machine, ...]


def prices(seconds: float, cores: int, table: Path | None = None) -> tuple[Price, ...]:
    """Return what a run costs on each machine of the table, cheapest first.

    Parameters
    ----------
    seconds : float
        Wall clock the run takes here.
    cores : int
        Cores it uses here. A machine with fewer takes longer in proportion; one with more is not taken to be faster,
        because the budget is wall clock and small fits do not spread.
    table : path, optional
        Default: the file `VARIABLE` names, else the table that comes with the package.

    Raises
    ------
    WorkspaceError
        If the table cannot be read.
    """
    path = table or Path(os.environ.get(VARIABLE) or Path(__file__).with_name("prices.toml"))
    try:
        machines = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Table).machine
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            "The table of machine prices cannot be read.",
            where=f"{path}: {error}",
            allowed="TOML with [[machine]] tables of name, cores, dollars_per_hour and dated.",
            do=f"Correct it, or unset {VARIABLE}.",
        ) from error
    found = []
    for machine in machines:
        there = seconds * max(1.0, cores / machine.cores)
        dollars = there / 3600 * machine.dollars_per_hour
        found.append(Price(machine.name, machine.cores, machine.dollars_per_hour, there, dollars, machine.dated))
    return tuple(sorted(found, key=lambda price: (price.dollars, price.machine)))
