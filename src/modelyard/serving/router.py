"""Router: which version answers a request."""

from __future__ import annotations

from typing import Protocol

from modelyard.serving.version import Version


class Router(Protocol):
    """What chooses a version for each request, and hears how it went.

    Attributes
    ----------
    stable : Version
        The one that health, documents and a request outside any rollout go by.
    compares : bool
        Whether two versions share the requests, and the times they take are compared.
    """

    stable: Version

    @property
    def compares(self) -> bool:
        """Whether the times of two versions are compared."""

    def choose(self, key: bytes) -> Version:
        """Return the version that answers; of the same key always the same, at random where the key is empty."""

    def instead(self, version: Version) -> Version | None:
        """Return the version that answers where this one cannot; None where there is no other."""

    def seen(self, version: Version, ok: bool, seconds: float | None, score: float | None) -> None:
        """Hear of a request that was answered, or that could not be.

        Parameters
        ----------
        version : Version
            The one that was chosen.
        ok : bool
            Whether its model answered; False too where something stood in for it.
        seconds : float or None
            What a row of it took; None where that is not to be compared: see `Served`.
        score : float or None
            Of the first row: the probability of the last class, or the value; None where nothing was answered.
        """


class OneVersion:
    """The same version for every request.

    `stable` may be set to another: requests in flight finish on the one they were given.
    """

    compares = False

    def __init__(self, stable: Version) -> None:
        self.stable = stable

    def choose(self, key: bytes) -> Version:
        """Return the version."""
        return self.stable

    def instead(self, version: Version) -> Version | None:
        """Return None: there is no other."""
        return None

    def seen(self, version: Version, ok: bool, seconds: float | None, score: float | None) -> None:
        """Nothing hangs on it."""
