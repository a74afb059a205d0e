"""Tracker: where every trial is written down. Adapters implement it; training only speaks to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    """A place that keeps runs: parameters, metrics, curves, files."""

    def start(self, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Mapping[str, str]:
        """Begin (or, with a name it knows, take up again) a run; return where it is kept."""

    def trial(
        self,
        name: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        curves: Mapping[str, tuple[tuple[int, float], ...]],
    ) -> None:
        """Write one trial as a child of the run."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Write figures of the run itself."""

    def files(self, folder: Path) -> None:
        """Keep the files of a folder with the run."""

    def finish(self, status: str) -> None:
        """End the run: "finished", "stopped" or "failed"."""


class Nowhere:
    """A tracker that keeps nothing."""

    def start(self, name: str, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> Mapping[str, str]:
        """Return no place."""
        return {}

    def trial(
        self,
        name: str,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        curves: Mapping[str, tuple[tuple[int, float], ...]],
    ) -> None:
        """Keep nothing."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Keep nothing."""

    def files(self, folder: Path) -> None:
        """Keep nothing."""

    def finish(self, status: str) -> None:
        """Keep nothing."""
