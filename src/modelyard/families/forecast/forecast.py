"""Forecast: many series in one long table, each carried forward by its own past."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.presets import fold_count
from modelyard.core.errors import FamilyError
from modelyard.core.optional import has, need
from modelyard.data.dataset import Dataset, Floats, Fold, Ints, Parts
from modelyard.data.profile import Profile
from modelyard.families.family import Watch
from modelyard.families.fitted import Blend, Candidate, Cost, Export, Fitted
from modelyard.families.forecast.backtest import longest_reach, origins
from modelyard.families.forecast.conformal import COVERAGES, radii
from modelyard.families.forecast.methods import TITLES, WINDOWS, forecast
from modelyard.families.forecast.npz import npz_bytes
from modelyard.families.forecast.series import Series, by_name, moments, take_apart

_REASONS = {
    "seasonal_naive": "repeats the last season: the floor every other method must beat, and it needs no estimation",
    "autotheta": "a line and exponential smoothing of the seasonally adjusted series; strong on short, noisy series",
    "autoces": "complex exponential smoothing: follows level, trend and season without choosing a form for each",
    "autoets": "error, trend and season chosen for each series by corrected AIC",
}


class Forecast:
    """The family of forecasts.

    A row is a series (the group column; none for a single series), a time and a label. Other columns are not used.
    Each series is laid on its calendar, missing steps are drawn as straight lines, and forecast from its own past.
    A fitted candidate holds its forecasts, so predicting is looking them up: a row is answered by the step nearest
    to its time.
    """

    name = "forecast"
    tasks = frozenset({"forecast"})
    refits = True

    def candidates(self, brief: Brief, profile: Profile, data: Dataset) -> tuple[Candidate, ...]:
        """Return the methods, best bet first; those of statsforecast only where it is installed.

        Raises
        ------
        MissingExtra
            If the brief names a method of statsforecast and it is not installed.
        FamilyError
            If the table holds no series to forecast.
        """
        asked = brief.model.lower().replace("-", "").replace("_", "").replace(" ", "")
        named = [method for method in TITLES if method.replace("_", "") == asked]
        if named and named != ["seasonal_naive"]:
            need("statsforecast", "forecast", f"The method '{TITLES[named[0]]}'")
        methods = named or [m for m in TITLES if m == "seasonal_naive" or has("statsforecast")]
        asked_of_each = {"horizon": brief.forecast.horizon, "season": brief.forecast.season}
        known = {key: value for key, value in asked_of_each.items() if value is not None}
        series = take_apart(data, **known)
        seasons = sorted({one.season for one in series})
        shape = f"{len(series)} series of {_span([len(one.values) for one in series])} rows, season {_span(seasons)}"
        return tuple(
            Candidate(
                name=method,
                family=self.name,
                title=TITLES[method],
                parameters={**known, "window": WINDOWS[method]} if method in WINDOWS else known,
                space={},
                reason=f"{_REASONS[method]} ({shape})",
                cost=_probe(method, series, fold_count(brief)),
            )
            for method in methods
        )

    def fit(
        self,
        candidate: Candidate,
        parts: Parts,
        seed: int,
        watch: Watch | None = None,
        rounds: tuple[int, ...] | None = None,
    ) -> Fitted:
        """Forecast the scored rows of each fold from its training rows, then what comes after every row.

        Without folds the last horizons of every series are scored instead: intervals need past errors.
        Nothing here is drawn at random and nothing iterates, so `seed` and `rounds` change nothing.

        Raises
        ------
        MissingExtra
            If the method needs statsforecast and it is not installed.
        FamilyError
            If the table holds no series to forecast.
        """
        began = time.perf_counter()
        data, parameters = parts.development, candidate.parameters
        series = take_apart(data, parameters.get("season"), parameters.get("horizon"))
        reach = longest_reach(series)
        scores, scales = np.full((len(data), 1), np.nan), np.full(len(data), np.nan)
        steps = np.zeros(len(data), dtype=np.int64)
        truth = data.truth().astype(np.float64)
        for number, fold in enumerate(parts.split.folds or origins(series)):
            for past, ahead in _sides(series, fold, len(data)):
                mean, _, moments_ahead = _ahead(candidate, past, reach)
                found = nearest(int(past.times[-1]), moments_ahead, ahead.times)
                rows, at = ahead.rows[found > 0], found[found > 0]
                scores[rows, 0], steps[rows], scales[rows] = mean[at - 1], at, past.scale()
            if watch is not None:
                with np.errstate(divide="ignore", invalid="ignore"):
                    error = np.abs(truth - scores[:, 0]) / scales
                watch(number, float(np.mean(error[np.isfinite(error)])) if np.isfinite(error).any() else float("nan"))
        means, owns, times = zip(*(_ahead(candidate, one, reach) for one in series), strict=True)
        scored = np.flatnonzero(np.isfinite(scores[:, 0]))
        return Fitted(
            candidate=candidate,
            facts={
                "series": [one.name for one in series],
                "horizons": [one.horizon for one in series],
                "seasons": [one.season for one in series],
                "frequencies": [one.frequency.kind for one in series],
                "stand_ins": len(series) - sum(owns),
            },
            arrays={
                "last": np.array([one.times[-1] for one in series], dtype=np.int64),
                "times": np.array(times, dtype=np.int64),
                "mean": np.array(means, dtype=np.float64),
                "scale": np.array([one.scale() for one in series], dtype=np.float64),
                "scored": scored,
                "scored_step": steps[scored],
                "scored_scale": scales[scored],
                "scored_truth": truth[scored],
            },
            texts={},
            scores=scores,
            seconds=time.perf_counter() - began,
        )

    def predict(self, fitted: Fitted, rows: Dataset) -> Floats:
        """Return the forecast of the step nearest to each row's time, float64 of shape [n, 1].

        Raises
        ------
        FamilyError
            If a row is of a series that was not learnt from, is not after its last row, or is too far ahead.
        """
        known = {name: i for i, name in enumerate(fitted.facts["series"])}
        asked, out = moments(rows), np.empty((len(rows), 1))
        for name, at in by_name(rows):
            if name not in known:
                raise FamilyError(
                    f"Series '{name}' was not learnt from, so it cannot be forecast.",
                    allowed=f"{len(known)} series, such as {', '.join(sorted(known)[:3])}.",
                    do="Leave its rows out, or develop again with its past in the data.",
                )
            i = known[name]
            last, ahead = int(fitted.arrays["last"][i]), fitted.arrays["times"][i]
            found = nearest(last, ahead, asked[at])
            if (found == 0).any():
                raise FamilyError(
                    f"{(found == 0).sum()} rows of series '{name}' lie outside what was forecast.",
                    allowed=f"Times after {_moment(last, rows)}, up to {_moment(int(ahead[-1]), rows)}.",
                    do="Leave them out, or develop again with newer rows or a longer forecast.horizon.",
                )
            out[at, 0] = fitted.arrays["mean"][i][found - 1]
        return out

    def export(self, blend: Blend, data: Dataset) -> Export:
        """Return the blend's forecasts with their intervals as ``forecast.npz``.

        Its arrays, for S series and H steps: ``series`` (text [S]), ``last`` (int64 [S], the last time learnt from),
        ``times`` (int64 [S, H]: microseconds since 1970, or millionths of a numeric time's unit), ``mean`` and, for
        each coverage, ``low_80``, ``high_80``, ... (float64 [S, H]; NaN where past forecasts are too few).
        """
        first = blend.members[0][0]
        horizons = np.array(first.facts["horizons"])
        horizon = int(horizons.max())
        mean = _blended(blend, [fitted.arrays["mean"] for fitted, _ in blend.members])[:, :horizon]
        scored = first.arrays["scored"]
        past = _blended(blend, [fitted.scores[scored] for fitted, _ in blend.members])[:, 0]
        scale = first.arrays["scored_scale"]
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = np.abs(first.arrays["scored_truth"] - past) / scale
        arrays: dict[str, Any] = {
            "series": np.array(first.facts["series"], dtype=np.str_),
            "last": first.arrays["last"],
            "times": first.arrays["times"][:, :horizon],
            "mean": mean,
        }
        for coverage in COVERAGES:
            width = radii(errors, first.arrays["scored_step"], horizon, coverage) * first.arrays["scale"][:, None]
            # Beyond a series' own horizon no error of its kind was ever seen.
            width[np.arange(horizon) >= horizons[:, None]] = np.nan
            arrays[f"low_{coverage}"], arrays[f"high_{coverage}"] = mean - width, mean + width
        return Export(
            runtime="arrays",
            files={"forecast.npz": npz_bytes(arrays)},
            facts={
                "series": len(first.facts["series"]),
                "horizon": horizon,
                "coverages": list(COVERAGES),
                "past_forecasts": int(np.isfinite(errors).sum()),
                "members": [
                    {"name": fitted.candidate.name, "title": fitted.candidate.title, "weight": weight}
                    for fitted, weight in blend.members
                ],
            },
        )


def nearest(last: int, ahead: Ints, asked: Ints) -> Ints:
    """Return the step, from 1, nearest to each time asked for; 0 where it is not ahead or beyond the last step."""
    known = np.concatenate([[last], ahead])
    edges = known + np.diff(known, append=2 * known[-1] - known[-2]) // 2  # halfway to the next
    edges[0] = last
    step = np.searchsorted(edges, asked, side="left")
    return np.where(step < len(edges), step, 0).astype(np.int64)


def _ahead(candidate: Candidate, series: Series, steps: int) -> tuple[Floats, bool, Ints]:
    """Return the forecasts of a series, whether they are the method's own, and their times."""
    method, window = candidate.name.split("-")[0], candidate.parameters.get("window")
    mean, own = forecast(method, series.even(), series.season, steps, window)
    return mean, own, series.frequency.future(int(series.times[-1]), steps)


def _sides(series: Sequence[Series], fold: Fold, n: int) -> list[tuple[Series, Series]]:
    """Return, for each series a fold scores, what is learnt from and what is scored."""
    train, score = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    train[fold.train], score[fold.score] = True, True
    sides = ((one.where(train), one.where(score)) for one in series)
    return [(past, ahead) for past, ahead in sides if past is not None and ahead is not None]


def _blended(blend: Blend, raws: Sequence[Floats]) -> Floats:
    """Return the blend's answers for raw scores of its members, of the same shape."""
    raw = sum((weight * one for (_, weight), one in zip(blend.members, raws, strict=True)), np.zeros_like(raws[0]))
    return blend.answer(raw.reshape(-1, 1)).reshape(raw.shape)


def _probe(method: str, series: Sequence[Series], folds: int) -> Cost:
    """Time one series of middle length; each is forecast once a fold, once at the end, and four times when packed."""
    short = min(series, key=lambda one: len(one.values))
    forecast(method, np.resize(short.even(), 12) + np.arange(12), 1, 1)  # what a first call loads is no part of a fit
    middle = sorted(series, key=lambda one: len(one.values))[len(series) // 2]
    began = time.perf_counter()
    forecast(method, middle.even(), middle.season, middle.horizon, WINDOWS.get(method))
    seconds = (time.perf_counter() - began) * len(series) * (folds + 1)
    return Cost(seconds=seconds, megabytes=sum(one.values.nbytes for one in series) / 1e6)


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _moment(time_: int, data: Dataset) -> str:
    if any(c.role == "time" and c.kind == "date" for c in data.schema.columns):
        return str(np.datetime64(time_, "us")).removesuffix(".000000").replace("T00:00:00", "")
    return f"{time_ / 1e6:g}"
