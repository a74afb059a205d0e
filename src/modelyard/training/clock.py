"""Clock: the budget's wall clock; time a killed run spent before counts too, and what comes after is kept."""

from __future__ import annotations

import time

from modelyard.families.around import LEAST_SHARE

_SLOWEST = 2.0
_CORES = 1.18
"""Seconds of CPU in a second of what comes before the fits, where nobody else uses the machine."""


class Clock:
    """Wall clock against a budget.

    Parameters
    ----------
    budget : float
        Seconds that may be spent.
    began : float, optional
        ``time.monotonic()`` from which on they count; default: now.
    """

    def __init__(self, budget: float, began: float | None = None) -> None:
        self.budget = self._given = budget
        self._made, self._worked = time.monotonic(), time.process_time()
        self._began = self._made if began is None else began
        self._before = 0.0

    def keep(self, seconds: float) -> None:
        """Keep the last seconds for what comes after; half of the budget is left from now on, whatever that takes."""
        self.budget = max(self._given - seconds, self.spent + LEAST_SHARE * self._given)

    def credit(self, seconds: float) -> None:
        """Count time that was spent before this clock was started."""
        self._before += seconds

    @property
    def elapsed(self) -> float:
        """Seconds since the budget began."""
        return time.monotonic() - self._began

    def slowness(self, reckoned: float) -> float:
        """Return how many times as long as reckoned things take on this machine, from 1 to 2.

        Others on it show in time that passed without work of ours, a slower processor in work that took longer. Time
        alone does not tell: libraries that come from a disk for the first time take long, and only once.

        Parameters
        ----------
        reckoned : float
            Seconds that what was done so far was reckoned to take.
        """
        worked = max(time.process_time() - self._worked, 1e-9)
        passed = time.monotonic() - self._made
        return min(_SLOWEST, max(1.0, passed / worked, worked / (_CORES * max(reckoned, 1e-9))))

    @property
    def spent(self) -> float:
        """Seconds spent so far, those before it was started too."""
        return self._before + self.elapsed

    @property
    def left(self) -> float:
        """Seconds left of the budget, never below 0."""
        return max(0.0, self.budget - self.spent)
