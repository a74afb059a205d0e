"""What a forecast is worth by step ahead and by series, and whether its intervals hold what came true."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.evaluation.evidence import Evidence
from modelyard.evaluation.report import Coverage, Forecasts, Picture, SeriesError, StepError
from modelyard.evaluation.values import mean_interval
from modelyard.families.find import family_named
from modelyard.metrics.intervals import wilson
from modelyard.training.run import Run

_FILE = "forecast.npz"
_SHOWN = 5  # series told at either end
_PAST = 3  # horizons of the past drawn before a forecast


def forecasts(run: Run, evidence: Evidence) -> Forecasts | None:
    """Return the details of a forecast of untouched rows; None for other tasks, or without a time column.

    Errors are absolute, divided by the scale of their series where it is known (then their mean is MASE).
    """
    rows = evidence.rows
    times = rows.times() if rows.schema.task == "forecast" else None
    if times is None or len(rows) == 0:
        return None
    truth = np.asarray(evidence.truth, dtype=np.float64)
    names = _names(rows)
    steps = _steps(names, times)
    scale = rows.extras.get("scale")
    unit = np.ones(len(rows)) if scale is None else np.where(scale > 0, scale, np.nan)
    naive = rows.extras.get("naive", np.full(len(rows), np.nan))
    error, simple = np.abs(evidence.answers - truth) / unit, np.abs(naive - truth) / unit
    known = np.isfinite(error)
    if not known.any():
        return None
    by_step = []
    for step in np.unique(steps[known]):
        where = known & (steps == step)
        mean = mean_interval(evidence, error, where)
        by_step.append(StepError(int(step), *mean, _mean(evidence, simple, where), int(where.sum())))
    by_series = sorted(
        (
            SeriesError(str(name), _mean(evidence, error, w), _mean(evidence, simple, w), int(w.sum()))
            for name in np.unique(names[known])
            for w in (known & (names == name),)
        ),
        key=lambda one: (one.error, one.series),
    )
    middle = by_series[(len(by_series) - 1) // 2].series
    return Forecasts(
        "absolute error" if scale is None else "absolute error over the series' seasonal-naive error",
        tuple(by_step),
        tuple(by_series[:-_SHOWN][:_SHOWN]),  # none twice, where there are few
        tuple(by_series[::-1][:_SHOWN]),
        len(by_series),
        _picture(run, middle, names == middle, times, truth, evidence.answers, naive),
        _coverages(run, evidence, names, times, truth, unit),
    )


def _names(rows: Dataset) -> NDArray[np.str_]:
    column = next((c.name for c in rows.schema.columns if c.role == "group" and c.name in rows.frame.columns), None)
    if column is None:
        return np.full(len(rows), "", dtype=np.str_)
    return np.asarray(rows.frame[column].cast(pl.String).fill_null("").to_list(), dtype=np.str_)


def _steps(names: NDArray[np.str_], times: Floats) -> Ints:
    """Return how many observations ahead each row is within its series, from 1."""
    frame = pl.DataFrame({"name": names, "time": times})
    return frame.select(pl.col("time").rank("dense").over("name").cast(pl.Int64)).to_series().to_numpy()


def _mean(evidence: Evidence, values: Floats, where: NDArray[np.bool_]) -> float:
    return mean_interval(evidence, values, where & np.isfinite(values))[0]


def _picture(
    run: Run, name: str, where: NDArray[np.bool_], times: Floats, truth: Floats, answers: Floats, naive: Floats
) -> Picture:
    order = np.flatnonzero(where)[np.argsort(times[where], kind="stable")]
    rows = run.development
    mine = np.flatnonzero(_names(rows) == name)
    moments = rows.times()
    known = np.asarray(rows.truth(), dtype=np.float64)[
        mine if moments is None else mine[np.argsort(moments[mine], kind="stable")]
    ]
    past = known[-_PAST * len(order) :]
    return Picture(
        name, *(tuple(float(v) for v in part) for part in (past, truth[order], answers[order], naive[order]))
    )


def _coverages(
    run: Run, evidence: Evidence, names: NDArray[np.str_], times: Floats, truth: Floats, unit: Floats
) -> tuple[Coverage, ...]:
    """Return how often intervals held, of the fit that saw development rows alone: the one that answered these rows.

    Its family writes them as the bundle would have them; a family that writes none is judged by its values alone.
    """
    family = family_named(run.plan.family)
    if not family.refits:
        return ()
    files = family.export(run.blend, run.development).files
    if _FILE not in files:
        return ()
    with np.load(io.BytesIO(files[_FILE]), allow_pickle=False) as opened:
        arrays: Mapping[str, NDArray[Any]] = {key: opened[key] for key in opened.files}
    place = _places(arrays, names, np.rint(times * 1e6).astype(np.int64))
    found = []
    for level in sorted(int(key[4:]) for key in arrays if key.startswith("low_")):
        low, high = arrays[f"low_{level}"][place], arrays[f"high_{level}"][place]
        known = np.isfinite(low) & np.isfinite(high) & (place[0] >= 0)
        if known.any():
            held = ((low <= truth) & (truth <= high)).astype(np.float64)
            share, least, most = mean_interval(evidence, held, known)
            # Where none missed, or none held, what has not happened yet shows in no spread.
            if np.isfinite(least) and held[known].min() == held[known].max():
                n = int(known.sum()) if evidence.groups is None else len(np.unique(evidence.groups[known]))
                least, most = wilson(share * n, n)
            width = _mean(evidence, (high - low) / unit, known)
            found.append(Coverage(level, share, max(0.0, least), min(1.0, most), width, int(known.sum())))
    return tuple(found)


def _places(arrays: Mapping[str, NDArray[Any]], names: NDArray[np.str_], times: Ints) -> tuple[Ints, Ints]:
    """Return series (-1 where it is not in the arrays) and step of each row: the one whose time is nearest."""
    order = {str(name): i for i, name in enumerate(arrays["series"])}
    alone = len(order) == 1
    series = np.array([0 if alone else order.get(str(name), -1) for name in names], dtype=np.int64)
    return series, np.abs(arrays["times"][series] - times[:, None]).argmin(axis=1).astype(np.int64)
