"""Profile: what a table looks like, small enough to ship in a bundle and to add up across workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """Counts of one column: additive, so two profiles over the same bins can be summed.

    Attributes
    ----------
    name, kind : str
        As in the schema.
    edges : tuple of float
        Inner bin edges of a number or date, increasing; ``len(edges) + 1`` bins, bin i holding
        edges[i-1] < x <= edges[i].
    levels : tuple of str
        Levels of a category or boolean; one more count stands for every other level.
    counts : tuple of int
        Rows in each bin or level (for levels, ``len(levels) + 1`` of them).
    missing : int
        Rows without a value.
    mean, deviation, low, high : float or None
        Of a number.
    """

    name: str
    kind: str
    edges: tuple[float, ...]
    levels: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a table looks like.

    Attributes
    ----------
    rows : int
        Rows it was made from.
    columns : tuple of ColumnProfile
        One for each feature, and one for the prediction (named ``"prediction"``) once there is a model.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]
