"""Uncertainty: what a bundle knows of how sure its answers are, small enough to travel with the model."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.core.errors import BundleError
from modelyard.uncertainty.conformal import Intervals, Sets, units_needed
from modelyard.uncertainty.novelty import Novelty

FILE = "uncertainty.json"
"""Its name in a bundle."""
COVERAGES = (0.8, 0.9, 0.95)
"""Coverages that bounds are made for."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Conformal bounds, and what they stand on.

    Attributes
    ----------
    rows, units : int
        Out-of-fold rows they were made from, and how many of what is exchangeable: rows, or groups of them.
    grouped : bool
        Whether units are groups.
    since : float or None
        Of a split forward in time, the moment from which on rows were used (see `Dataset.times`).
    intervals, sets : tuple
        One for each coverage the units support, increasing: intervals for numbers, sets for classes.
    """

    rows: int
    units: int
    grouped: bool
    since: float | None
    intervals: tuple[Intervals, ...] = ()
    sets: tuple[Sets, ...] = ()

    @property
    def coverages(self) -> tuple[float, ...]:
        """Coverages there are, increasing."""
        return tuple(one.coverage for one in self.intervals) + tuple(one.coverage for one in self.sets)

    def place(self, coverage: float) -> int:
        """Return which of the intervals or sets has a coverage.

        Raises
        ------
        BundleError
            If none has.
        """
        for i, known in enumerate(self.coverages):
            if abs(known - coverage) < 1e-9:
                return i
        few = coverage in COVERAGES and self.units < units_needed(coverage)
        unit = "groups" if self.grouped else "rows"
        raise no_coverage(
            coverage,
            self.coverages,
            f"It takes {units_needed(coverage)} out-of-fold {unit}; there were {self.units}." if few else None,
        )


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """What a bundle holds beside its model, as ``uncertainty.json``: its bounds, and how unusual a row is."""

    bounds: Bounds
    novelty: Novelty | None


def no_coverage(coverage: float, known: tuple[float, ...], why: str | None = None) -> BundleError:
    """Return the error for a coverage that is not held."""
    return BundleError(
        f"The model has no bounds of coverage {coverage:g}.",
        where=why,
        allowed=f"Coverages: {', '.join(f'{c:g}' for c in known) or 'none'}.",
    )
