"""Memory: answers that many fits ask for, worked out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")
_TURN = Lock()


@dataclass(frozen=True, slots=True)
class Memory:
    """Answers given before, the `most` asked last: every candidate asks the same of the same rows."""

    most: int
    held: dict[str, Any] = field(default_factory=dict)

    def ask(self, key: str, work: Callable[[], T]) -> T:
        """Return the answer held under a key, worked out where there is none."""
        with _TURN:
            found: T | None = self.held.pop(key, None)
            if found is not None:
                self.held[key] = found
        if found is None:  # folds ask side by side: two may work out the same
            found = work()
            with _TURN:
                self.held[key] = found
                while len(self.held) > self.most:
                    self.held.pop(next(iter(self.held)))
        return found
