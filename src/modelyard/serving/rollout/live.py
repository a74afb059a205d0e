"""live: keeps one worker of a server in step with the workspace's rollouts."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.errors import BundleError, ModelyardError, RegistryError, ServingError, WorkspaceError
from modelyard.serving.app import App
from modelyard.serving.asgi import JSON, Receive, Scope, read_body
from modelyard.serving.copies import NO_COPIES, Copies
from modelyard.serving.endpoint import Reply
from modelyard.serving.guard.admitted import ANYBODY, Admitted
from modelyard.serving.problem import HttpProblem
from modelyard.serving.rollout.board import Board
from modelyard.serving.rollout.control import end, move, start, status
from modelyard.serving.rollout.decide import MOVES
from modelyard.serving.rollout.described import described
from modelyard.serving.rollout.looks import Looks
from modelyard.serving.rollout.rollout import OPEN, Rollout, planned
from modelyard.serving.rollout.router import RolloutRouter
from modelyard.serving.rollout.shadow import Shadow
from modelyard.serving.rollout.store import Rollouts
from modelyard.serving.version import Version

PATH = "/admin/rollout"
_EVERY = 0.2
"""Seconds between two looks at the workspace: what a person decides reaches workers sooner, over the board."""
_LOGGER = logging.getLogger("modelyard.serving")


class Start(msgspec.Struct, forbid_unknown_fields=True):
    """What starts a rollout over HTTP."""

    candidate: str
    plan: dict[str, Any] = {}
    approve: str = ""
    why: str = ""


class Move(msgspec.Struct, forbid_unknown_fields=True):
    """What moves one over HTTP."""

    move: str


class Live:
    """A worker's part in rollouts: it loads candidates, and one worker of all makes the looks.

    Parameters
    ----------
    app : App
        The server; its router is replaced by one that can choose.
    folder : path
        Where rollouts lie.
    path : str
        Of the bundle that is served.
    copies : Copies
        Where candidates are loaded from.
    """

    def __init__(self, app: App, folder: Path, path: str, copies: Copies = NO_COPIES) -> None:
        self._app, self._folder, self._path, self._copies = app, folder, path, copies
        self._store = Rollouts(folder)
        stable = app.router.stable
        self._name = stable.name
        self._board = Board(folder, self._name)
        self._router = RolloutRouter(stable, self._board)
        self._looks = Looks(self._store, self._board, self._name)
        self._last: Rollout | None = None
        self._loaded = self._aside = 0
        self._told = ""
        self._shadow: Shadow | None = None
        app.router = self._router
        app.add(PATH, self._answer, wanted="admin", methods=("GET", "POST"), described=described(Start, Move))
        # Before the first request: after a restart the version that was promoted answers, and not the one before.
        self._safe_tick()

    async def run(self) -> None:
        """Keep in step until cancelled."""
        try:
            while True:
                await asyncio.sleep(_EVERY)
                await asyncio.to_thread(self._safe_tick)
        finally:
            self._end_shadow()

    def tick(self) -> None:
        """Load what is to answer, and make the look that is due."""
        unread = None
        try:
            self._last = self._store.last(self._name)
        except WorkspaceError as error:
            if self._last is None:
                raise
            unread = error  # what was read last is watched on: a full disk must not keep a bad candidate
        last, rollout = self._last, None
        if last is not None and last.stable.hash == self._router.baseline.bundle.hash:
            rollout = last
        if last is not None and rollout is None and last.state in OPEN:
            self._stand_aside(last)
        elif self._board.hold("decider"):
            rollout = self._looks.tick(rollout, time.time())
        self._load(rollout)
        if unread is not None:
            raise unread

    def _safe_tick(self) -> None:
        told = ""
        try:
            self.tick()
        except Exception as error:
            # A full disk or a damaged candidate: requests go on with what is loaded. Told once, not at every tick.
            told = error.what if isinstance(error, ModelyardError) else repr(error)
            if told != self._told:
                _LOGGER.error("the rollout cannot go on: %s", error, exc_info=not isinstance(error, ModelyardError))
        self._told = told

    def _stand_aside(self, rollout: Rollout) -> None:
        """Leave an open rollout to servers of its stable version; end it where this one has just left that version."""
        number = self._router.baseline.number
        if self._loaded == rollout.id:
            end(self._folder, rollout, f"version {number} answers in place of the stable one", "modelyard")
        elif self._aside != rollout.id:
            _LOGGER.warning(
                "rollout %d of '%s' is beside version %s, and this server serves version %s: it takes no part",
                rollout.id, self._name, rollout.stable.number or rollout.stable.hash[:12], number,
            )  # fmt: skip
            self._aside = rollout.id
        self._board.release("decider")
        self._looks = Looks(self._store, self._board, self._name)  # who decides meanwhile remembers more

    def _load(self, rollout: Rollout | None) -> None:
        if rollout is not None and rollout.state not in (*OPEN, "promoted"):
            rollout = None
        if self._loaded != (0 if rollout is None else rollout.id):
            # Before another is loaded, which takes its time: the share on the board is that one's.
            self._router.take(None)
            self._router.promoted, self._loaded = False, 0
            self._end_shadow()
        if rollout is None:
            return
        if self._loaded != rollout.id:
            if rollout.plan.kind == "shadow":
                where = self._copies.place(rollout.candidate.path, rollout.candidate.hash)
                self._shadow = Shadow(rollout, self._folder, where, self._router.baseline.bundle.path)
                self._app.answerer.copy = self._shadow.copy
            else:
                self._router.take(self._candidate(rollout), rollout.id)
            self._loaded = rollout.id
        if self._shadow is not None:
            self._shadow.keep_alive()
        promoted, candidate = rollout.state == "promoted", self._router.candidate
        if promoted and candidate is not None and candidate.variant != "stable":
            # Counted and logged as what it is from now on; the graph that is loaded goes on.
            self._router.take(self._app.version(candidate.bundle, candidate.number, "stable"), rollout.id)
        self._router.promoted = promoted

    def _candidate(self, rollout: Rollout) -> Version:
        """Load and warm a candidate; one that cannot be is rolled back before it meets a request."""
        try:
            bundle = self._copies.load(rollout.candidate.path, rollout.candidate.hash)
            if bundle.hash != rollout.candidate.hash:
                raise ServingError("The candidate is not the bundle it was.", where=rollout.candidate.path)
            variant = "b" if rollout.plan.kind == "ab" else "canary"
            candidate = self._app.version(bundle, rollout.candidate.number or None, variant)
            candidate.prove()
        except Exception as error:  # a bundle may break in any way
            if rollout.state in OPEN:
                why = f"the candidate cannot be loaded and warmed: {error}"
                self._store.move(replace(rollout, state="rolled_back", changed=time.time(), why=why), "modelyard")
            raise ServingError("The candidate cannot be loaded and warmed.", where=rollout.candidate.path) from error
        return candidate

    def _end_shadow(self) -> None:
        if self._shadow is not None:
            self._app.answerer.copy = None
            self._shadow.close()
            self._shadow = None

    async def _answer(self, scope: Scope, receive: Receive, admitted: Admitted) -> Reply:
        """Tell where the newest rollout stands, start one, or move it."""
        try:
            if scope["method"] == "GET":
                found = await asyncio.to_thread(self._status)
            else:
                if admitted is ANYBODY:  # who may move what answers, and load bundles, must be somebody
                    raise HttpProblem(
                        403, "Nobody moves rollouts here over HTTP: serve with --auth, or use modelyard rollout."
                    )
                found = await asyncio.to_thread(self._act, await read_body(receive, 2**16), admitted.key)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise HttpProblem(400, f'Send {{"candidate": PATH, "plan": {{}}}} or {{"move": MOVE}}: {error}.') from None
        except BundleError as error:
            raise HttpProblem(400, error.render()) from None
        except (WorkspaceError, RegistryError) as error:
            raise HttpProblem(503, error.render()) from None
        except ModelyardError as error:
            raise HttpProblem(409, error.render()) from None
        return 200, JSON, found

    def _status(self) -> bytes:
        rollout = self._store.last(self._name)
        if rollout is None:
            raise HttpProblem(404, f"'{self._name}' has no rollout.")
        return msgspec.json.encode(status(self._store, rollout))

    def _act(self, body: bytes, by: str) -> bytes:
        asked = msgspec.json.decode(body, type=dict)
        if "move" in asked:
            action = msgspec.convert(asked, Move).move
            if action not in MOVES:
                raise HttpProblem(400, f"A rollout can be moved by {', '.join(MOVES)}; not by '{action}'.")
            move(self._folder, self._name, action, by)
        else:
            self._start(msgspec.convert(asked, Start), by)
        return self._status()

    def _start(self, wanted: Start, by: str) -> None:
        if bool(wanted.approve) != bool(wanted.why):
            raise HttpProblem(400, "An approval needs both: who approves, and why.")
        try:
            plan = planned(wanted.plan)
        except ServingError as error:
            raise HttpProblem(400, error.render()) from None
        stable = (self._path, self._router.baseline.bundle)
        start(self._folder, plan, stable, wanted.candidate, by, approved_by=wanted.approve, why=wanted.why)
