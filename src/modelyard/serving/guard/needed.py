"""What a server needs from elsewhere, and what it says when that is gone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

_LOGGER = logging.getLogger("modelyard.serving")


class Needed:
    """Something that may be gone for a while: told once when it goes and once when it is back, and counted each time.

    Parameters
    ----------
    name : str
        "keys", "issuer", "limits" or "traces": the event in the server's log is the name with ``_lost`` or ``_back``.

    Attributes
    ----------
    lost : bool
        Whether it was gone when it was last asked.
    count : callable
        Called each time it is found gone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lost = False
        self.count: Callable[[], object] = lambda: None

    def gone(self, error: Exception, **more: str) -> None:
        """Say that it cannot be had, and why."""
        self.count()
        if not self.lost:
            self._say("lost", why=str(error), **more)
        self.lost = True

    def back(self) -> None:
        """Say that it can be had."""
        if self.lost:
            self._say("back")
        self.lost = False

    def _say(self, what: str, **facts: str) -> None:
        _LOGGER.warning("%s", json.dumps({"event": f"{self.name}_{what}", **facts}))
