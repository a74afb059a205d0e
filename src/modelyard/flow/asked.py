"""What the user asked for: the brief, with what the command line says on top of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelyard.brief.brief import Brief
from modelyard.brief.read import read_brief
from modelyard.core.errors import BriefError


def asked(
    source: str | Path,
    *,
    data: Path | None = None,
    label: str | None = None,
    presets: str | None = None,
    seconds: float | None = None,
    seed: int | None = None,
) -> Brief:
    """Read a brief and lay over it what was said beside it.

    Raises
    ------
    BriefError
        If the brief cannot be read, no preset is called so, or the brief names neither data nor label and nobody else
        does.
    """
    brief = read_brief(source, presets=presets)
    path = brief.data.path if data is None else str(data.absolute())
    table = replace(brief.data, path=path, label=label or brief.data.label)
    if table.path is None or table.label is None:
        missing = "data.path" if table.path is None else "data.label"
        option = "--data FILE" if table.path is None else "--label COLUMN"
        raise BriefError(
            f"The brief does not say {missing}.", where=brief.source, do=f"Add it to the brief, or give {option}."
        )
    if seconds is not None and seconds <= 0:
        raise BriefError(f"A budget of {seconds:g} seconds trains nothing.", where="--seconds", allowed="More than 0.")
    budget = brief.budget if seconds is None else replace(brief.budget, seconds=seconds)
    return replace(brief, data=table, budget=budget, seed=brief.seed if seed is None else seed)
