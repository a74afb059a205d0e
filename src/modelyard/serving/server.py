"""The HTTP server: uvicorn, which stops being ready before it stops listening, and waits for no caller for ever."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from modelyard.serving.accept import Accepting, Share
from modelyard.serving.app import App
from modelyard.serving.wire import Wire

_FINISH_SECONDS = 30
"""Requests in flight may take this long once the server was told to stop."""
_LOOK = 1.0
_NEW_OBJECTS = 50_000
"""The collector looks for cycles once there are so many more objects, instead of 700, a few requests: a request makes
none."""


def run(
    app: App,
    listener: socket.socket,
    drain: float,
    *,
    share: Share | None = None,
    head_seconds: float = 10.0,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve an application until told to stop.

    Parameters
    ----------
    app : App
        What answers.
    listener : socket
        Where requests come from.
    drain : float
        Seconds between SIGTERM, when ``/health/ready`` turns to 503, and the end of listening.
    share : Share, optional
        What other workers have, who take connections from there too.
    head_seconds : float
        How long a request's head may take to arrive.
    certificate, key : path, optional
        Of TLS.
    """
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="uvloop" if os.name != "nt" else "auto",
        http=Wire,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_FINISH_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    _Server(config, drain, head_seconds, share).run(sockets=[listener])


class _Server(uvicorn.Server):  # type: ignore[misc]
    """uvicorn's server with a drain, and an end to its patience with heads that never come to theirs."""

    def __init__(self, config: uvicorn.Config, drain: float, head_seconds: float, share: Share | None = None) -> None:
        super().__init__(config)
        self._drain, self._head_seconds, self._share = drain, head_seconds, share
        self._loop: asyncio.AbstractEventLoop | None = None
        self._headless: dict[Any, float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets if self._share is None else [])
        if self._share is not None:
            for listener in sockets or ():
                self.servers.append(self._accepting(listener, self._loop, self._share))
        gc.collect()
        gc.freeze()  # what is loaded by now stays: the collector need not look at it again and again
        gc.set_threshold(_NEW_OBJECTS)
        self._loop.call_later(_LOOK, self._look)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = getattr(self.config, "loaded_app", None)
        if sig != signal.SIGTERM or self._loop is None or not isinstance(app, App) or not app.ready:
            super().handle_exit(sig, frame)
            return
        app.drain()
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain, self._stop)

    def _accepting(self, listener: socket.socket, loop: asyncio.AbstractEventLoop, share: Share) -> Accepting:
        config, state = self.config, self.server_state

        def protocol() -> Wire:
            return Wire(config=config, server_state=state, app_state=self.lifespan.state)

        return Accepting(loop, listener, protocol, lambda: len(state.connections), share, config.ssl)

    def _stop(self) -> None:
        self.should_exit = True

    def _look(self) -> None:
        """Close connections that are idle, or whose next request has not come to the end of its head, for too long.

        uvicorn itself times only connections that are idle after an answer that was not given at once. Looking at all
        of them once a second costs a request nothing.
        """
        if self._loop is None:
            return
        now = self._loop.time()
        connections = list(self.server_state.connections)
        for connection in connections:
            if connection.idle is not None and now - connection.idle > self.config.timeout_keep_alive:
                connection.transport.close()
        waiting = [c for c in connections if _headless(c)]
        self._headless = {c: self._headless.get(c, now) for c in waiting}
        for connection, since in self._headless.items():
            if now - since > self._head_seconds:
                connection.transport.close()
        self._loop.call_later(_LOOK, self._look)


def _headless(connection: Any) -> bool:
    """Return whether a connection has begun, and holds neither a request nor the quiet after one."""
    cycle = connection.cycle
    resting = connection.idle is not None or connection.timeout_keep_alive_task is not None
    return (cycle is None or cycle.response_complete) and not resting and connection.asked is None
