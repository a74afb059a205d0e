"""Limit: how many requests a caller may send, and how an answer says what is left of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from modelyard.core.errors import ServingError

RATE = 1_000
"""Requests a minute, where nothing else is asked for."""
_MINUTE = 60 * 10**9
_MOST = 10**6
_SECOND = 10**9


class Limit:
    """A token bucket: it holds `burst` requests, and one more comes every `interval`.

    Whole nanoseconds, so that no rounding lets one request more through.

    Parameters
    ----------
    interval : int
        Nanoseconds after which another request may come.
    burst : int
        Requests that may come at once after a pause.
    """

    __slots__ = ("_more", "_policy", "burst", "depth", "interval", "window")

    def __init__(self, interval: int, burst: int) -> None:
        self.interval, self.burst = interval, burst
        self.depth = interval * burst
        """Nanoseconds in which an empty bucket is full."""
        self.window = -(-self.depth // _SECOND)
        self._policy = b"ratelimit-policy", b'"default";q=%d;w=%d' % (burst, self.window)
        self._more = -(-interval // _SECOND)

    @staticmethod
    @lru_cache(1024)
    def a_minute(rate: int = RATE, burst: int | None = None) -> Limit:
        """Return the limit of `rate` requests a minute.

        Parameters
        ----------
        rate : int
            Requests a minute, 1 to 1,000,000.
        burst : int, optional
            Requests that may come at once; default: as many as in a minute, so that nobody who keeps to the rate
            in every minute is refused.

        Raises
        ------
        ServingError
            If either is out of range.
        """
        for name, value in (("rate", rate), ("burst", rate if burst is None else burst)):
            if not 1 <= value <= _MOST:
                raise ServingError(f"A {name} cannot be {value:,}.", allowed=f"1 to {_MOST:,} requests.")
        return Limit(-(-_MINUTE // rate), rate if burst is None else burst)

    @lru_cache(1024)  # noqa: B019 -- limits are few, and live as long as the server
    def divided(self, workers: int) -> Limit:
        """Return the part of one of several processes that do not know of each other; a burst of 1 at least."""
        return self if workers == 1 else Limit(self.interval * workers, max(1, self.burst // workers))

    def headers(self, left: int, wait: int = 0) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers of an answer.

        Parameters
        ----------
        left : int
            Requests that may still come at once.
        wait : int
            Seconds until the next may, where none is left; else one more comes within an interval.

        References
        ----------
        IETF, draft-ietf-httpapi-ratelimit-headers-10 (September 2025), "RateLimit header fields for HTTP".
        """
        more = wait or (self._more if left < self.burst else 0)
        return self._policy, (b"ratelimit", b'"default";r=%d;t=%d' % (left, more))


class SharedLimits(Protocol):
    """Buckets that several machines share."""

    async def take(self, bucket: str, limit: Limit) -> int:
        """Take one request from a bucket.

        Returns
        -------
        int
            Nanoseconds' worth of requests that are left; below zero, nothing was taken, and the next request may come
            after as many nanoseconds.

        Raises
        ------
        Unreachable
            If the buckets cannot be asked.
        """

    def close(self) -> None:
        """Close connections."""


class Unreachable(Exception):
    """What several machines share cannot be asked."""
