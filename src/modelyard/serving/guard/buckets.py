"""Token buckets in this process."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelyard.serving.guard.limit import Limit

_MOST = 100_000
"""Buckets held before the full ones are let go of: a full bucket is what a caller begins with."""


class Buckets:
    """Token buckets, each held as one number: when it will be full.

    That is the generic cell rate algorithm, which admits what a token bucket admits. In any stretch of `t` nanoseconds
    a caller is admitted at most ``burst + t / interval`` times.

    Parameters
    ----------
    clock : callable
        Nanoseconds that never go back.

    References
    ----------
    ITU-T I.371 (2004), annex A, "Generic cell rate algorithm".
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._full: dict[str, int] = {}
        self._most = _MOST

    def take(self, bucket: str, limit: Limit) -> int:
        """Take one request from a bucket; return what `SharedLimits.take` returns."""
        now = self._clock()
        held = self._full.get(bucket, 0)
        full = (held if held > now else now) + limit.interval
        spare = limit.depth - full + now
        if spare >= 0:
            self._full[bucket] = full
            if len(self._full) > self._most:
                self._full = {name: moment for name, moment in self._full.items() if moment > now}
                self._most = max(_MOST, 2 * len(self._full))
        return spare
