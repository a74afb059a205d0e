"""follow: the production release of a name in the registry, taken up while requests go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from modelyard.bundle.compatible import breaking
from modelyard.core.errors import BundleError, WorkspaceError
from modelyard.registry.release import Release
from modelyard.registry.store import Registry
from modelyard.serving.app import App
from modelyard.serving.asgi import Headers
from modelyard.serving.copies import NO_COPIES, Copies
from modelyard.serving.terms import notice
from modelyard.serving.version import Version

_LOOK = 1.0
_AGAIN = 30.0
"""Seconds until a release that was refused is tried again: its files may have been on their way."""
_LOGGER = logging.getLogger("modelyard.serving")


Served = tuple[str, str | None]
"""Path of a bundle, and the version it goes by; None for its short hash."""
Told = tuple[Served | None, Served]
"""What stands in since a release was taken up, where something does, and what answers."""
Tell = Callable[[Told], None]


def follow(app: App, registry: Path, tell: Tell | None = None, copies: Copies = NO_COPIES) -> None:
    """Have a server follow the registry: it looks now, and every second once it runs.

    A worker that takes a killed one's place starts with what the others told last, which may be out of production.

    Parameters
    ----------
    app : App
        The server; its model's name is the release's.
    registry : path
        The registry's file.
    tell : callable, optional
        Told of each release that was taken up.
    copies : Copies
        Where releases are loaded from.
    """
    follower = Follower(app, registry, tell, copies)
    follower.recall()
    follower.look()
    app.background.append(follower.run)


class Follower:
    """Watches the registry for the production release of a name.

    A new one is loaded, checked and warmed in a thread, and then takes its place in one step: a request finishes on the
    version it was given. The one before stays loaded, to stand in, and to come back at once when the registry says so.
    """

    def __init__(self, app: App, registry: Path, tell: Tell | None = None, copies: Copies = NO_COPIES) -> None:
        self._app, self._path, self._tell, self._copies = app, registry, tell, copies
        self._name = app.bundle.manifest.name
        self._before: Version | None = None
        self._refused: dict[str, float] = {}
        self._said = ""

    async def run(self) -> None:
        """Look at the registry until cancelled; whatever is wrong there, the server goes on as it is."""
        while True:
            await asyncio.sleep(_LOOK)
            await asyncio.to_thread(self.look)

    def recall(self) -> None:
        """Load the release that was in production before the one that answers, where the brief has it stand in.

        It is there from the start then, and not only once another was taken up. What goes wrong costs nothing else.
        """
        now = self._app.router.stable
        if "previous" not in now.bundle.manifest.brief.fallback:
            return
        try:
            registry = self._registry()
            present, release = registry.current(self._name), registry.previous(self._name)
            if present is None or release is None or present.hash != now.bundle.hash:
                return
            before = self._version(release)
        except Exception as error:  # a bundle may break in any way
            _LOGGER.error("%s: the version before does not stand in: %s", self._name, error)
            return
        self._before = before
        self._app.router.stable = self._app.version(now.bundle, now.number, previous=before)

    def look(self) -> None:
        """Look once."""
        try:
            registry = self._registry()
            release = registry.current(self._name)
            self._app.say(_notice(registry.holding(self._name, self._app.bundle.hash)))
        except Exception as error:  # a later modelyard, which may have changed its tables, among what can be wrong
            self._say(f"the registry cannot be read: {error}")
            self._app.metrics.flipped("unreachable")
            return
        if self._app.terms.pinned:
            self._said = ""
        elif release is None:
            self._say("nothing is in production; the version that is served goes on")
        elif release.hash == self._app.bundle.hash:
            self._said = ""
        elif self._in_place_of(release):
            self._say("a rollout has promoted its candidate; the registry still names the version before")
        elif time.monotonic() - self._refused.get(release.hash, float("-inf")) > _AGAIN:
            self._take(release)

    def _registry(self) -> Registry:
        if not self._path.is_file():  # SQLite would make an empty one
            raise WorkspaceError("The registry is gone.", where=str(self._path))
        return Registry.at(self._path)

    def _in_place_of(self, release: Release) -> bool:
        """Whether a rollout has put another version in a release's place: going back is the rollout's to say."""
        before = self._app.router.instead(self._app.router.stable)
        return before is not None and before.bundle.hash == release.hash

    def _take(self, release: Release) -> None:
        try:
            version = self._ready(release)
        except Exception as error:  # a bundle may break in any way, and the server goes on
            self._refused[release.hash] = time.monotonic()
            self._app.metrics.flipped("refused")
            self._say(f"version {release.version} is refused: {error}")
            return
        gone, before = self._before, self._app.router.stable
        back = gone is version
        self._before, self._app.router.stable = before, version
        if self._tell is not None:
            self._tell((None if back else _served(before), _served(version)))
        if gone is not None and not back:
            self._copies.drop(gone.bundle.hash)
        self._app.metrics.flipped("done")
        _LOGGER.warning("%s: version %s answers from now on", self._name, version.number)
        self._said = ""
        self._app.say(_notice(release))

    def _ready(self, release: Release) -> Version:
        if self._before is not None and self._before.bundle.hash == release.hash:
            return self._before
        version = self._version(release)
        broken = breaking(self._app.bundle, version.bundle)
        if broken and not self._rolled_back(release):
            raise BundleError("Callers of /v1 could not go on.", where="; ".join(broken))
        return version

    def _version(self, release: Release) -> Version:
        """Load a release, and see that its model answers."""
        bundle = self._copies.load(release.bundle, release.hash)
        if bundle.hash != release.hash:
            raise BundleError(
                "The folder holds another bundle than was registered.",
                where=f"{release.bundle}: {bundle.hash[:12]}, registered {release.hash[:12]}",
            )
        version = self._app.version(bundle, str(release.version))
        version.prove()
        return version

    def _rolled_back(self, release: Release) -> bool:
        """Whether the registry went back to a release: that is to be obeyed, though later columns are refused then."""
        moves = [e for e in Registry.at(self._path).history(release.name, release.version) if e.before != e.after]
        return moves[-1].action == "rollback"

    def _say(self, text: str) -> None:
        if text != self._said:  # once, and not every second
            _LOGGER.error("%s: %s", self._name, text)
            self._said = text


def _served(version: Version) -> Served:
    return str(version.bundle.path), version.number


def _notice(release: Release | None) -> Headers:
    """Return what answers say of a release's future."""
    if release is None:
        return ()
    dates = (release.deprecated, release.sunset)
    return notice(*(None if date is None else datetime.fromisoformat(date) for date in dates))
