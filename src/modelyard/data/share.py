"""Tables larger than memory: read piece by piece, and of their rows a share is kept that a run can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.delimited import Words, layout, read_text
from modelyard.data.finding import Finding
from modelyard.data.source import Loaded, arrow_pieces, existing, form_of, load

COPIES, FIXED = 20.0, 8e8
"""Memory a run takes at its height: sizes of its table (parts, matrices, and those of each fit), and bytes besides.

Two thirds more than what was seen: 1.9 GB touched with a table of 88 MB and every kind of model, 3.4 with 350 MB.
"""
UNPACKED = {"text": 3.0, "parquet": 25.0}
"""How many times larger than its file a table may be in memory, at most; Arrow files are as large."""
_PIECE = 50_000
_WHOLE = 2**64


def load_within(path: str | Path, memory: float, group: str | None) -> Loaded:
    """Return a table, or where a run over all of it would not fit into memory a share of its rows.

    The share is 1/2, 1/4, ... as small as it must be, and is found while the file is read once, in pieces. Which rows
    are kept follows from what they hold: whole entities where a group is named, and copies of a row together. Classes
    and times keep their proportions but for chance.

    Parameters
    ----------
    path : path
        CSV, Parquet, Arrow or Feather.
    memory : float
        Bytes a run may take.
    group : str or None
        Column of the entity.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read as a table.
    """
    path = existing(path)
    room, form = max(memory - FIXED, memory / 10) / COPIES, form_of(path)
    unpacked = UNPACKED.get(form, 1.0) * (20.0 if path.suffix == ".gz" else 1.0)
    if path.stat().st_size * unpacked <= room:
        return load(path)
    words = Words()
    found = layout(path) if form == "text" else None
    pieces = arrow_pieces(path, _PIECE) if found is None else read_text(path, found, words)
    kept, rows, halvings = _share(pieces, room, group)
    notes = () if found is None else found.notes
    if halvings:
        notes = (*notes, _kept_of(kept.height, rows, halvings, memory, group))
    elif not kept.width:
        return load(path)
    return Loaded(kept, found is not None, notes, words)


def _share(pieces: Iterator[pl.DataFrame], room: float, group: str | None) -> tuple[pl.DataFrame, int, int]:
    """Return the rows kept, how many were read, and how often the share was halved."""
    kept: list[pl.DataFrame] = []
    held, rows, halvings = 0.0, 0, 0
    for piece in pieces:
        rows += piece.height
        some = _some(piece, group, halvings)
        kept.append(some)
        held += some.estimated_size()
        while held > room:
            halvings += 1
            # One table again: many small ones would keep alive what was filtered away.
            kept = [_some(pl.concat(kept), group, halvings).rechunk()]
            held = kept[0].estimated_size()
            if not kept[0].height:
                break
    return (pl.concat(kept) if kept else pl.DataFrame()), rows, halvings


def _some(piece: pl.DataFrame, group: str | None, halvings: int) -> pl.DataFrame:
    if not halvings:
        return piece
    named = group is not None and group in piece.columns
    of = piece.select(pl.col(str(group)).cast(pl.String)) if named else piece
    return piece.filter(pl.Series(_even(of.hash_rows(seed=0).to_numpy()) < np.uint64(_WHOLE >> halvings)))


def _even(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread hashes evenly over all their bits, which polars' own are not (the last steps of splitmix64)."""
    mixed = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def _kept_of(kept: int, rows: int, halvings: int, memory: float, group: str | None) -> Finding:
    whole = "whole entities, " if group is not None else ""
    return Finding(
        "sampled",
        "warn",
        None,
        f"A run over all {rows:,} rows would take more than the {memory / 1e9:.2g} GB of memory there are: 1 in "
        f"{2**halvings} was kept ({kept:,} rows), {whole}chosen by what they hold.",
        "The model learns from these rows and is tested on them alone; levels and classes of few rows may be gone.",
        f"Run it where there is more memory, or write budget.memory: {memory / 1e9:.2g} to keep the same rows again.",
    )
