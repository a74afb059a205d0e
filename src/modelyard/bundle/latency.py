"""How long one answer takes, through the interface users call."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import polars as pl

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.runtimes.arrays import ArraysRuntime
from modelyard.core.errors import DataError

_BATCH, _LEAST = 10_000, 100
"""Rows of a batch, at most and at least."""
_BATCH_SECONDS, _ONE_BATCH = 0.2, 2.0
"""How long batches are timed, and what one may take at the pace of single rows: a slow model gets a smaller one."""
_WARM = 20
_CELLS = 1_000_000
"""Values of the rows that are asked in turn: writing wide rows out as callers do takes longer than asking them."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long answers took on this machine.

    Attributes
    ----------
    p50, p99 : float
        Microseconds one row took, from a dict to its answer: half, and 99 of 100, were no slower.
    n : int
        Single rows timed.
    rows_per_second : float
        Rate of a batch, from a typed frame to its answers.
    batch : int
        Rows of that batch.
    """

    p50: float
    p99: float
    n: int
    rows_per_second: float
    batch: int


def measure(bundle: Bundle, rows: object, seconds: float = 1.0) -> Timing:
    """Time single rows and a batch.

    Parameters
    ----------
    bundle : Bundle
        What answers.
    rows : Dataset, table or list of dict
        Rows sent in turn; a forecast is asked for rows it has, whatever is given.
    seconds : float
        How long single rows are sent; the batch takes a little more.

    Raises
    ------
    DataError
        If there are no rows.
    """
    frame = bundle.runtime.known() if isinstance(bundle.runtime, ArraysRuntime) else bundle.frame(rows)
    if frame.height == 0:
        raise DataError("There are no rows to time the bundle with.", do="Give at least one.")
    sent = plain_rows(frame.head(max(_LEAST, min(_BATCH, _CELLS // frame.width))), bundle.schema)
    ask = bundle.predict if bundle.labels is None else bundle.predict_proba
    for i in range(_WARM):
        ask(sent[i % len(sent)])
    times: list[int] = []
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while True:
        row = sent[len(times) % len(sent)]
        began = time.perf_counter_ns()
        ask(row)
        now = time.perf_counter_ns()
        times.append(now - began)
        if now >= end:
            break
    p50, p99 = np.percentile(np.array(times) / 1e3, [50, 99])
    size = min(_BATCH, max(_LEAST, int(1e6 * _ONE_BATCH / p50)))
    return Timing(float(p50), float(p99), len(times), _rate(bundle, frame, size), size)


def _rate(bundle: Bundle, frame: pl.DataFrame, size: int) -> float:
    batch = pl.concat([frame] * -(-size // frame.height)).head(size)
    bundle.runtime.frame(batch)  # the first one also allocates
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < _BATCH_SECONDS:
        bundle.runtime.frame(batch)
        done += size
    return done / (time.perf_counter() - began)
