"""Clock: the budget's wall clock; time a killed run spent before counts too."""

from __future__ import annotations

import time


class Clock:
    """Wall clock against a budget.

    Parameters
    ----------
    budget : float
        Seconds that may be spent.
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self._began = time.monotonic()
        self._before = 0.0

    def credit(self, seconds: float) -> None:
        """Count time that was spent before this clock was started."""
        self._before += seconds

    @property
    def spent(self) -> float:
        """Seconds spent so far."""
        return self._before + time.monotonic() - self._began

    @property
    def left(self) -> float:
        """Seconds left of the budget, never below 0."""
        return max(0.0, self.budget - self.spent)
