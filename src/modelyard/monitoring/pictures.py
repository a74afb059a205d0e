"""Pictures of profiles: a column's values where the model learnt, and now."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from modelyard.core.charts import histogram
from modelyard.core.markup import Block, Figure, Table, literal
from modelyard.data.profile import ColumnProfile

_LEVELS = 12


def picture(profiles: Mapping[str, ColumnProfile]) -> Block | None:
    """Draw one column's values, an outline or a column of shares for each profile; None where it has none.

    Parameters
    ----------
    profiles : mapping of str to ColumnProfile
        By what they are ("reference", "now"), over the same bins or levels.
    """
    first = next(iter(profiles.values()))
    if not any(sum(p.counts) for p in profiles.values()):
        return None
    if first.levels:
        return _shares(first, profiles)
    return _outlines(first, profiles) if first.edges and first.kind != "date" else None


def level_name(column: ColumnProfile, level: str) -> str:
    """Return a level as callers send it: true, not True."""
    return level.lower() if column.kind == "boolean" else level


def _outlines(first: ColumnProfile, profiles: Mapping[str, ColumnProfile]) -> Block:
    inner = first.edges
    step = (inner[-1] - inner[0]) / max(len(inner) - 1, 1) or max(abs(inner[0]), 1.0) / 10
    lows = [p.low for p in profiles.values() if p.low is not None]
    highs = [p.high for p in profiles.values() if p.high is not None]
    # The outermost bins reach as far as the values do; a bin that holds one value only needs some width to be seen.
    edges = [min([*lows, inner[0] - step]), *inner, max([*highs, inner[-1] + step])]
    widths = [b - a for a, b in pairwise(edges)]
    # Bins hold equal shares, not equal widths: height must be a density, or every reference would look flat.
    heights = {
        name: [c / max(sum(p.counts), 1) / w for c, w in zip(p.counts, widths, strict=True)]
        for name, p in profiles.items()
    }
    said = "; ".join(f"{name}: mean {p.mean:.4g}" for name, p in profiles.items() if p.mean is not None)
    return Figure(
        histogram(edges, heights, x=first.name, y="share of rows for each unit"), f"How {first.name} is spread. {said}."
    )


def _shares(first: ColumnProfile, profiles: Mapping[str, ColumnProfile]) -> Block:
    totals = {name: max(sum(p.counts), 1) for name, p in profiles.items()}
    most = sorted(range(len(first.levels)), key=lambda i: -max(p.counts[i] / totals[n] for n, p in profiles.items()))
    shown = sorted(most[:_LEVELS])
    rows = [
        (
            literal(level_name(first, first.levels[i])),
            *(f"{p.counts[i] / totals[name]:.1%}" for name, p in profiles.items()),
        )
        for i in shown
    ]
    rest = [
        1 - sum(p.counts[i] for i in shown) / totals[name] if sum(p.counts) else 0.0 for name, p in profiles.items()
    ]
    if any(share > 1e-9 for share in rest):
        rows.append(("every other level", *(f"{share:.1%}" for share in rest)))
    return Table((literal(first.name), *profiles), rows, "l" + "r" * len(profiles))
