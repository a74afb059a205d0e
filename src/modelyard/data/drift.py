"""Drift: how far one set of rows lies from another, and whether chance explains it: test part, new traffic.

A difference counts when it is both large enough to matter (PSI, corrected for what chance alone adds) and more than
chance (Kolmogorov-Smirnov or chi-squared, with the false discovery rate held over all columns). Either alone fails:
tests fire on harmless differences of large windows, and PSI on the noise of small ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modelyard.data.profile import ColumnProfile, Profile
from modelyard.data.significance import benjamini_hochberg, chi_squared, ks

Verdict = Literal["stable", "watch", "warning", "action"]
Counts = NDArray[np.float64]

WARNING, ACTION, FLOOR = 0.1, 0.25, 0.005
"""Limits of PSI*: from where a significant difference is a warning, calls for action, and is watched at all."""
FALSE_DISCOVERIES = 0.01
_GROUPS = 10
_RAREST_SHARE, _RAREST_COUNT = 0.005, 5.0


@dataclass(frozen=True, slots=True)
class Shift:
    """How far one set of counts lies from another.

    Attributes
    ----------
    psi : float
        Population stability index, as it is usually computed.
    corrected : float
        PSI*: less what chance alone adds, ``(bins - 1) (1/n + 1/m)``. About 0 without drift, whatever the rows.
    test : {"ks", "chi2"}
        What the p-value comes from.
    p_value : float
        Of that test, for this column alone.
    significant : bool
        Whether it is among those found with the false discovery rate held over the whole window.
    """

    psi: float
    corrected: float
    test: Literal["ks", "chi2"]
    p_value: float
    significant: bool = False

    @property
    def verdict(self) -> Verdict:
        """What this one window says; `compare` says "watch" where two windows agree."""
        if self.significant and self.corrected > WARNING:
            return "action" if self.corrected > ACTION else "warning"
        return "stable"


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """One column, then and now.

    Attributes
    ----------
    reference, window : ColumnProfile
        Counts over the same bins or levels.
    values : Shift
        Of the values that are there.
    missing : Shift
        Of the share that is not.
    missing_then, missing_now : float
        Those shares, 0 to 1.
    verdict : {"stable", "watch", "warning", "action"}
        Of the values.
    missing_verdict : the same
        Of the missing share.
    """

    reference: ColumnProfile
    window: ColumnProfile
    values: Shift
    missing: Shift
    missing_then: float
    missing_now: float
    verdict: Verdict
    missing_verdict: Verdict

    @property
    def name(self) -> str:
        """The column's name."""
        return self.reference.name


def psi(reference: Counts, window: Counts) -> float:
    """Return the population stability index of two sets of counts, each smoothed by half a row a bin.

    References
    ----------
    Siddiqi (2006), "Credit Risk Scorecards"; Yurdakul (2018), "Statistical properties of population stability index".
    """
    p, q = reference + 0.5, window + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def corrected_psi(reference: Counts, window: Counts) -> float:
    """Return PSI less its expectation without drift."""
    return _corrected(psi(reference, window), reference, window)


def _corrected(found: float, reference: Counts, window: Counts) -> float:
    n, m = float(window.sum()), float(reference.sum())
    return 0.0 if n == 0 or m == 0 else found - (len(reference) - 1) * (1 / n + 1 / m)


def pooled(reference: Counts, window: Counts, *, other: bool = False) -> tuple[Counts, Counts]:
    """Put categories too rare to judge into one: under 0.5 % of both sets together, or expected fewer than 5 times.

    With `other`, the last count stands for every level that is not listed, and is one of the rare.

    Both together, because a level kept for being frequent in one set is, by chance alone, rarer in the other. How the
    rows of a level fall on the two sets does not depend on how many there are, so this choice favours no difference.
    """
    both = reference + window
    share = both / max(both.sum(), 1.0)
    rare = (share < _RAREST_SHARE) | (share * min(reference.sum(), window.sum()) < _RAREST_COUNT)
    rare[-1] |= other
    together = reference[rare].sum(), window[rare].sum()
    rest = reference[~rare], window[~rare]
    if not any(together):
        return rest
    return np.append(rest[0], together[0]), np.append(rest[1], together[1])


def tenths(reference: Counts, window: Counts) -> tuple[Counts, Counts]:
    """Merge neighbouring bins into ten or fewer that hold about a tenth of the reference each."""
    total = max(reference.sum(), 1.0)
    middle = (np.cumsum(reference) - reference / 2) / total
    group = np.minimum((middle * _GROUPS).astype(np.int64), _GROUPS - 1)
    _, place = np.unique(group, return_inverse=True)
    return np.bincount(place, reference).astype(np.float64), np.bincount(place, window).astype(np.float64)


def shift(reference: ColumnProfile, window: ColumnProfile) -> Shift:
    """Compare one column's values, then and now."""
    then, now = np.array(reference.counts, dtype=np.float64), np.array(window.counts, dtype=np.float64)
    if reference.edges:
        a, b = pooled(*tenths(then, now))
        return _shift(a, b, "ks", ks(then, now)[1])
    a, b = pooled(then, now, other=True)
    return _shift(a, b, "chi2", chi_squared(a, b)[1])


def missing_shift(reference: ColumnProfile, window: ColumnProfile) -> Shift:
    """Compare the share of missing values, then and now."""
    return _missing_shift(reference.missing, sum(reference.counts), window.missing, sum(window.counts))


@lru_cache(maxsize=1024)  # most columns miss nothing, in window after window
def _missing_shift(gone: int, there: int, gone_now: int, there_now: int) -> Shift:
    a, b = (np.array(counts, dtype=np.float64) for counts in ((gone, there), (gone_now, there_now)))
    return _shift(a, b, "chi2", chi_squared(a, b)[1])


def _shift(reference: Counts, window: Counts, test: Literal["ks", "chi2"], p_value: float) -> Shift:
    found = psi(reference, window)
    return Shift(found, _corrected(found, reference, window), test, p_value)


def drift(reference: Profile, window: Profile, before: Profile | None = None) -> tuple[ColumnDrift, ...]:
    """Compare every column of some rows with the reference.

    Parameters
    ----------
    reference : Profile
        Of the rows a model learns from.
    window : Profile
        Of other rows, over the same bins and levels.
    before : Profile, optional
        Of the window before: a small difference that both windows show is watched.

    Returns
    -------
    tuple of ColumnDrift
        In the reference's order, for the columns the window has.
    """
    now = _judged(reference, window)
    return now if before is None else watched(now, _judged(reference, before))


def watched(now: tuple[ColumnDrift, ...], before: tuple[ColumnDrift, ...]) -> tuple[ColumnDrift, ...]:
    """Return a window's verdicts in the light of those of the window before: a small difference in both is watched."""
    earlier = {c.name: c for c in before}
    return tuple(
        replace(
            c,
            verdict=_watched(c.values, earlier[c.name].values) if c.name in earlier else c.verdict,
            missing_verdict=_watched(c.missing, earlier[c.name].missing) if c.name in earlier else c.missing_verdict,
        )
        for c in now
    )


def _watched(now: Shift, before: Shift) -> Verdict:
    if now.verdict == "stable" and all(s.significant and s.corrected > FLOOR for s in (now, before)):
        return "watch"
    return now.verdict


def _judged(reference: Profile, window: Profile) -> tuple[ColumnDrift, ...]:
    present = {c.name: c for c in window.columns}
    pairs = [(c, present[c.name]) for c in reference.columns if c.name in present]
    shifts = [(shift(a, b), missing_shift(a, b)) for a, b in pairs]
    found = iter(benjamini_hochberg([s.p_value for both in shifts for s in both], FALSE_DISCOVERIES))
    judged = [tuple(replace(s, significant=next(found)) for s in both) for both in shifts]
    return tuple(
        ColumnDrift(
            reference=a,
            window=b,
            values=values,
            missing=missing,
            missing_then=_missing_share(a),
            missing_now=_missing_share(b),
            verdict=values.verdict,
            missing_verdict=missing.verdict,
        )
        for (a, b), (values, missing) in zip(pairs, judged, strict=True)
    )


def _missing_share(column: ColumnProfile) -> float:
    total = sum(column.counts) + column.missing
    return column.missing / total if total else 0.0
