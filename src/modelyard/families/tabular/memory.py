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
    """Answers given before, at most `most` of them: every candidate asks the same of the same rows."""

    most: int
    held: dict[str, Any] = field(default_factory=dict)

    def ask(self, key: str, work: Callable[[], T]) -> T:
        """Return the answer held under a key, worked out where there is none."""
        found: T | None = self.held.get(key)  # one look: folds ask side by side, and at a second it may be gone
        if found is None:
            found = work()
            with _TURN:
                while len(self.held) >= self.most:
                    self.held.pop(next(iter(self.held)))
                self.held[key] = found
        return found
