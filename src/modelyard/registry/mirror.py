"""Mirror: another registry that shows what ours holds. Ours decides; a mirror that fails holds nothing up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from modelyard.registry.release import Release


class Mirror(Protocol):
    """Another registry, such as MLflow's."""

    def show(self, release: Release, releases: Sequence[Release]) -> None:
        """Show a release that moved, and all those of its name, as they stand now; calling twice changes nothing."""


def reflect(mirror: Mirror, release: Release, releases: Sequence[Release]) -> str:
    """Show a release in a mirror; the next move shows again what this one could not.

    Parameters
    ----------
    mirror : Mirror
        Where.
    release : Release
        The one that moved.
    releases : sequence of Release
        All those of its name: a move to production archives another.

    Returns
    -------
    str
        Empty, or one sentence that says why the mirror does not show it.
    """
    try:
        mirror.show(release, releases)
    except Exception as error:
        # The move is made and written down; no fault of a third party's registry may turn it into a failure.
        return f"The mirror does not show this move, the registry itself has it: {type(error).__name__}: {error}"
    return ""
