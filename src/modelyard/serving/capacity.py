"""Capacity: what a load needs, from what one request was measured to cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.bundle.bundle import Bundle

PEAK = 3.0
"""The busiest moment of a day against its mean. An assumption, and said to be one."""
BUSY = 0.6
"""Share of a core one worker is meant to use at the peak: above it, waiting grows fast."""
BODIES = 16
"""Bodies of 1 MiB that a server's memory is made for: it takes no more bytes at once (see `Terms.bodies_limit`)."""
_SECONDS = 86_400.0
_LEAST_PODS = 2  # so that one can be lost or replaced while the other answers
_LEAST_MILLICORES, _MOST_MILLICORES = 100, 1_000
# A server of a small model took 116 MiB resident (Python 3.11, ONNX Runtime 1.32), and 36 MiB more while it answered 16
# bodies of 0.9 MB sent at once, as it parses and scores two at a time. A forest's graph takes 12 to 15 times its file
# once loaded, and a little more while loading (files of 5, 8 and 68 MiB). Tests hold real servers against all three.
_SERVER_MEBIBYTES, _BATCHES_MEBIBYTES, _TIMES_FILE = 128, 64, 16
# Bodies of columns are answered one at a time: 20,000 rows of 30 columns took 64 MiB as the log writes them.
_COLUMNS_MEBIBYTES = 96
_LOADER_MEBIBYTES = 96
"""Of the process beside it that loads the prediction log: 65 at most while it loaded 60,000 records that had waited."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a load needs.

    Attributes
    ----------
    microseconds : float
        CPU time of one request.
    requests_per_day : float or None
        From the brief.
    peak : float
        Requests a second at the busiest moment: the mean times `PEAK`; 0 where the brief names no load.
    per_core : float
        Requests a second one core answers at `BUSY`.
    pods, most_pods : int
        To start with, and at most.
    millicores, mebibytes : int
        CPU and memory each of them asks for.
    """

    microseconds: float
    requests_per_day: float | None
    peak: float
    per_core: float
    pods: int
    most_pods: int
    millicores: int
    mebibytes: int


def capacity(bundle: Bundle, microseconds: float) -> Capacity:
    """Return what the brief's load needs.

    Parameters
    ----------
    bundle : Bundle
        What is served; its brief names the load.
    microseconds : float
        CPU time of one request.
    """
    load = bundle.manifest.brief.requests_per_day
    peak = 0.0 if load is None else PEAK * load / _SECONDS
    per_core = BUSY * 1e6 / microseconds
    cores = peak / per_core
    pods = max(_LEAST_PODS, math.ceil(cores))
    # Each pod runs one worker, so more than a core would lie idle.
    millicores = min(_MOST_MILLICORES, max(_LEAST_MILLICORES, 50 * math.ceil(1000 * cores / pods / 50)))
    return Capacity(
        microseconds=microseconds,
        requests_per_day=load,
        peak=peak,
        per_core=per_core,
        pods=pods,
        most_pods=max(4, 3 * pods),
        millicores=millicores,
        mebibytes=_SERVER_MEBIBYTES
        + _BATCHES_MEBIBYTES
        + _COLUMNS_MEBIBYTES
        + _LOADER_MEBIBYTES
        + 32 * math.ceil(_TIMES_FILE * model_bytes(bundle) / 2**20 / 32),
    )


def model_bytes(bundle: Bundle) -> int:
    """Return the size of the files that answering needs."""
    names = {"onnx": "model.onnx", "arrays": "forecast.npz"}
    return (bundle.path / names[bundle.manifest.runtime]).stat().st_size


def plain_capacity(needs: Capacity) -> Mapping[str, Any]:
    """Return the requests of one container, as Kubernetes writes them."""
    return {"cpu": f"{needs.millicores}m", "memory": f"{needs.mebibytes}Mi"}
