"""Parsed: native texts of boosters, kept as their library has read them for as long as they are asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

CHARACTERS = 200_000_000
"""Of texts kept parsed; a parsed one takes about as many bytes. A booster of a hundred classes alone has 60 million."""


class Parsed:
    """Reads texts, and remembers those last asked for, up to `CHARACTERS` of them and one at least.

    Parameters
    ----------
    read : callable
        Parses a text.
    """

    def __init__(self, read: Callable[[str], Any]) -> None:
        self._read = read
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, text: str) -> Any:
        """Return a text as its library reads it."""
        with self._lock:
            if text in self._kept:
                self._kept.move_to_end(text)
                return self._kept[text]
        parsed = self._read(text)  # by several threads at once, each a text of its own
        with self._lock:
            self._kept[text] = parsed
            size = sum(map(len, self._kept))
            while size > CHARACTERS and len(self._kept) > 1:
                size -= len(self._kept.popitem(last=False)[0])
        return parsed
