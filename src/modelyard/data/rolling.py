"""Rolling origins: the split of series, each by its own last observations, and the naive figures to beat."""

from __future__ import annotations

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.presets import fold_count
from modelyard.core.errors import SplitError, listed
from modelyard.data.dataset import Dataset, Floats, Fold, Ints, Split
from modelyard.data.finding import Finding
from modelyard.data.season import season_length, seasonal_naive, seasonal_scale, usual_horizon

_LEAST_HISTORY = 3


def roll(data: Dataset, brief: Brief) -> tuple[Split, dict[str, Floats], tuple[Finding, ...]]:
    """Hold out the last `horizon` observations of each series, and roll the origin back for the folds.

    Parameters
    ----------
    data : Dataset
        Sorted by series and time, as `read_data` leaves a table whose task is a forecast.
    brief : Brief
        ``forecast.horizon`` and ``forecast.season``; without them each series' spacing decides.

    Returns
    -------
    (Split, dict, tuple of Finding)
        The split; ``"scale"`` and ``"naive"`` of every row, float64 [n] (scale from development rows alone; naive
        from the origin of the fold or test part a row is scored in, else one season back, NaN in the first);
        a finding for series too short to be tested.

    Raises
    ------
    SplitError
        If every series is too short.
    """
    times, values = data.times(), np.asarray(data.truth(), dtype=np.float64)
    assert times is not None  # noqa: S101  (read_data refuses a forecast without a time)
    groups = data.groups()
    codes = np.zeros(len(data), dtype=np.int64) if groups is None else groups
    scale, naive = np.full(len(data), np.nan), np.full(len(data), np.nan)
    held_out = brief.validation.test_fraction != 0
    development: list[Ints] = []
    test: list[Ints] = []
    windows = fold_count(brief)
    learn: list[list[Ints]] = [[] for _ in range(windows)]
    score: list[list[Ints]] = [[] for _ in range(windows)]
    short: list[int] = []
    horizons: set[int] = set()
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        season = brief.forecast.season or season_length(times[rows])
        horizon = brief.forecast.horizon or usual_horizon(times[rows])
        end = rows.size - (horizon if held_out else 0)
        if end - horizon < _LEAST_HISTORY:
            short.append(int(rows[0]))
            continue
        horizons.add(horizon)
        past = values[rows[:end]]
        scale[rows] = seasonal_scale(past, season)
        naive[rows[season:]] = values[rows[:-season]]
        naive[rows[end:]] = seasonal_naive(past, season, rows.size - end)
        development.append(rows[:end])
        test.append(rows[end:])
        for back in range(windows):
            origin = end - (back + 1) * horizon
            # The newest origin always stands; older ones only where a season and more comes before them.
            if origin < _LEAST_HISTORY or (back and origin < season + _LEAST_HISTORY):
                break
            ahead = rows[origin : origin + horizon]
            naive[ahead] = seasonal_naive(values[rows[:origin]], season, horizon)
            learn[back].append(rows[:origin])
            score[back].append(ahead)
    if not development:
        raise SplitError(
            "Every series is too short to be tested.",
            allowed=f"Twice the horizon and {_LEAST_HISTORY} observations.",
            do="Write a smaller forecast.horizon, or add observations.",
        )
    kept = np.concatenate(development)
    place = np.full(len(data), -1, dtype=np.int64)
    place[kept] = np.arange(kept.size)
    # From the oldest origin to the newest, as time went by.
    folds = tuple(
        Fold(place[np.concatenate(a)], place[np.concatenate(b)])
        for a, b in zip(reversed(learn), reversed(score), strict=True)
        if a
    )
    last = np.concatenate(test)
    series = f"{len(development):,} series" if len(development) > 1 else "one series"
    ahead_text = str(next(iter(horizons))) if len(horizons) == 1 else f"{min(horizons)} to {max(horizons)}"
    reason = f"rolling origin over {series}: {len(folds)} origins, {ahead_text} observations ahead; " + (
        f"the last {ahead_text} of each ({last.size:,} rows) untouched" if held_out else "no test part"
    )
    notes = (_too_short(data, brief, short),) if short else ()
    return Split("rolling", reason, kept, last, folds), {"scale": scale, "naive": naive}, notes


def _too_short(data: Dataset, brief: Brief, first_rows: list[int]) -> Finding:
    group = brief.data.group
    names = [] if group is None else [str(data.frame[group][row]) for row in first_rows]
    return Finding(
        "short_series",
        "warn",
        group,
        f"{len(first_rows):,} series are too short to be tested: {listed(names, 5)}.",
        "They are left out of training and testing.",
        "Write a smaller forecast.horizon to keep them.",
    )
