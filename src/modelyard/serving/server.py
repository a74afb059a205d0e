"""The HTTP server: uvicorn, which stops being ready before it stops listening, and waits for no caller for ever."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from modelyard.serving.app import App

_FINISH_SECONDS = 30
"""Requests in flight may take this long once the server was told to stop."""
_LOOK = 1.0
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def run(
    app: App,
    listener: socket.socket,
    drain: float,
    *,
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
    head_seconds : float
        How long a request's head may take to arrive.
    certificate, key : path, optional
        Of TLS.
    """
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="uvloop" if os.name != "nt" else "auto",
        http=_Protocol,
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
    _Server(config, drain, head_seconds).run(sockets=[listener])


class _Cycle(RequestResponseCycle):  # type: ignore[misc]
    """A request of uvicorn's whose answer, where it comes whole, is written in one piece: one system call less."""

    head: bytes | None = None
    response_started: bool

    async def send(self, message: Any) -> None:
        """Keep the head of an answer of known length until its body is there."""
        if self.head is not None:
            await self._finish(message, self.head)
        elif not (message["type"] == "http.response.start" and self._hold(message)):
            await super().send(message)

    def _hold(self, message: Any) -> bool:
        headers = message.get("headers", ())
        if self.response_started or self.disconnected or self.flow.write_paused or self.default_headers:
            return False
        if not self.keep_alive or self.scope["method"] == "HEAD":
            return False
        lines = [STATUS_LINE[message["status"]]]
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name in (b"connection", b"transfer-encoding"):
                return False
            lines += (name, b": ", value, b"\r\n")
        if length is None:
            return False
        if _FORBIDDEN.search(b"".join([part for header in headers for part in header])):
            raise RuntimeError("a header holds a control character")
        self.response_started, self.waiting_for_100_continue = True, False
        self.chunked_encoding, self.expected_content_length = False, length
        lines.append(b"\r\n")
        self.head = b"".join(lines)
        return True

    async def _finish(self, message: Any, head: bytes) -> None:
        self.head = None
        body = message.get("body", b"")
        if message.get("more_body", False) or len(body) != self.expected_content_length:
            self.transport.write(head)
            await super().send(message)
        elif not self.disconnected:
            self.transport.write(head + body)
            self.expected_content_length = 0
            self.response_complete = True
            self.message_event.set()
            self.on_response()


class _Protocol(HttpToolsProtocol):  # type: ignore[misc]
    """uvicorn's protocol with requests of that kind."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if type(self.cycle) is RequestResponseCycle:  # it is made there by name, and asked nothing before it runs
            self.cycle.__class__ = _Cycle


class _Server(uvicorn.Server):  # type: ignore[misc]
    """uvicorn's server with a drain, and an end to its patience with heads that never come to theirs."""

    def __init__(self, config: uvicorn.Config, drain: float, head_seconds: float) -> None:
        super().__init__(config)
        self._drain, self._head_seconds = drain, head_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._headless: dict[Any, float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._loop.call_later(_LOOK, self._look)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = getattr(self.config, "loaded_app", None)
        if sig != signal.SIGTERM or self._loop is None or not isinstance(app, App) or not app.ready:
            super().handle_exit(sig, frame)
            return
        app.drain()
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain, self._stop)

    def _stop(self) -> None:
        self.should_exit = True

    def _look(self) -> None:
        """Close connections whose next request has not come to the end of its head in time.

        uvicorn itself times only connections that are idle after an answer. Looking at all of them once a second costs
        a request nothing.
        """
        if self._loop is None:
            return
        now = self._loop.time()
        waiting = [c for c in self.server_state.connections if _headless(c)]
        self._headless = {c: self._headless.get(c, now) for c in waiting}
        for connection, since in self._headless.items():
            if now - since > self._head_seconds:
                connection.transport.close()
        self._loop.call_later(_LOOK, self._look)


def _headless(connection: Any) -> bool:
    """Return whether a connection has begun, and holds neither a request nor the quiet after one."""
    cycle = connection.cycle
    return (cycle is None or cycle.response_complete) and connection.timeout_keep_alive_task is None
