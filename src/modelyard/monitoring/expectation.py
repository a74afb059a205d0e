"""How often the drift rule would cry wolf on this model: simulated from its own reference, not quoted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from modelyard.data.drift import ColumnDrift, drift, watched
from modelyard.data.profile import ColumnProfile, Profile

WINDOWS = 104
_MOST_COLUMNS = 200


@dataclass(frozen=True, slots=True)
class Expectation:
    """Windows drawn without drift, and what the rule made of them.

    Attributes
    ----------
    rows : int
        Rows of a window.
    windows : int
        Windows drawn.
    alarms : int
        Columns the rule spoke of in all of them; each is false.
    by_psi, by_test : int
        What PSI over 0.1 alone, and p under 0.01 alone, would have spoken of.
    """

    rows: int
    windows: int
    alarms: int
    by_psi: int
    by_test: int


def expect(reference: Profile, rows: int, *, windows: int = WINDOWS, seed: int = 0) -> Expectation:
    """Draw windows that differ from the reference by chance alone, and count what is raised.

    Parameters
    ----------
    reference : Profile
        Of the rows a model learnt from; its shares are taken for the truth, and columns for independent.
    rows : int
        Rows of a window.
    windows : int
        How many are drawn.
    seed : int
        Of the draws.
    """
    random = np.random.default_rng(seed)
    truth = Profile(reference.rows, tuple(c for c in reference.columns if sum(c.counts))[:_MOST_COLUMNS])
    drawn = _draw(random, truth, truth.rows)
    before: tuple[ColumnDrift, ...] = ()
    alarms, by_psi, by_test = 0, 0, 0
    for _ in range(windows):
        judged = drift(drawn, _draw(random, truth, rows))
        columns = watched(judged, before)
        alarms += sum((c.verdict != "stable") + (c.missing_verdict != "stable") for c in columns)
        by_psi += sum(c.values.psi > 0.1 for c in columns)
        by_test += sum(c.values.p_value < 0.01 for c in columns)
        before = judged
    return Expectation(rows, windows, alarms, by_psi, by_test)


def _draw(random: np.random.Generator, truth: Profile, rows: int) -> Profile:
    return Profile(rows, tuple(_column(random, c, rows) for c in truth.columns))


def _column(random: np.random.Generator, column: ColumnProfile, rows: int) -> ColumnProfile:
    everything = np.array([*column.counts, column.missing], dtype=np.float64)
    counts = random.multinomial(rows, everything / everything.sum())
    return replace(column, counts=tuple(counts[:-1].tolist()), missing=int(counts[-1]))
