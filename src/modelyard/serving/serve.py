"""serve: a bundle behind HTTP until somebody stops it."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from modelyard.bundle.load import load_bundle
from modelyard.core.errors import ServingError
from modelyard.serving.app import BODY_LIMIT, App
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.issuer import LOCAL
from modelyard.serving.log import PredictionLog
from modelyard.serving.workers import supervise

_LOGGER = logging.getLogger("modelyard.serving")
_FINISH_SECONDS = 30
"""Requests in flight may take this long once the server was told to stop."""


def serve(
    bundle_path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    log: Path | None = None,
    workers: int = 1,
    body_limit: int = BODY_LIMIT,
    drain: float = 1.0,
    access: Access | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve a bundle over HTTP; return when it was told to stop and every request in flight is answered.

    Parameters
    ----------
    bundle_path : path
        A bundle's folder or its ``.tar.gz``.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    log : path, optional
        Folder of the prediction log; None keeps none.
    workers : int
        Processes; one for each core is right for models of trees.
    body_limit : int
        Bytes a request's body may have.
    drain : float
        Seconds between SIGTERM, when ``/health/ready`` turns to 503, and the end of listening.
    access : Access, optional
        Who may call; None lets everybody in.
    started : callable, optional
        Told the address, once it is listened on.

    Raises
    ------
    BundleError
        If the bundle is damaged.
    ServingError
        If the address cannot be had or the log cannot be written.
    """
    if workers < 1:
        raise ServingError(f"A server cannot have {workers} workers.", allowed="1 or more.")
    # With several workers it is loaded here too, so that what is wrong with it is told once.
    app = _app(bundle_path, log, body_limit, access, workers)
    listener = _listen(host, port)
    if access is None and host not in LOCAL:
        _LOGGER.warning("Whoever reaches %s may call this model: there is no guard (--auth keys, --auth oidc).", host)
    if started is not None:
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listener.getsockname()[1]}")
    try:
        if workers == 1:
            _run(app, listener, drain)
        else:
            supervise(workers, _work, (str(bundle_path), log, body_limit, access, workers, listener, drain))
    except KeyboardInterrupt:
        return
    finally:
        listener.close()


def _work(
    path: str,
    log: Path | None,
    body_limit: int,
    access: Access | None,
    workers: int,
    listener: socket.socket,
    drain: float,
) -> None:
    """Be one of several workers, in a process of its own."""
    _run(_app(path, log, body_limit, access, workers), listener, drain)


def _run(app: App, listener: socket.socket, drain: float) -> None:
    config = uvicorn.Config(
        app,
        loop="uvloop" if os.name != "nt" else "auto",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_FINISH_SECONDS,
    )
    _Server(config, drain).run(sockets=[listener])


def _app(path: str | Path, log: Path | None, body_limit: int, access: Access | None, workers: int) -> App:
    bundle = load_bundle(path)
    guard = None if access is None else access.guard(workers)
    app = App(
        bundle,
        log=None if log is None else PredictionLog(log),
        body_limit=body_limit,
        guard=guard,
        guarded_metrics=access is not None and access.metrics,
    )
    for needed in () if guard is None else guard.needs:
        needed.count = app.metrics.guard_failed(needed.name)
    return app


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.set_inheritable(True)
    except OSError as error:
        listener.close()
        taken = error.errno == errno.EADDRINUSE
        raise ServingError(
            f"Port {port} is in use." if taken else f"The server cannot listen on {host}:{port}.",
            where=f"{host}:{port}: {error.strerror or error}",
            do="Choose another with --port, or stop what uses it." if taken else "Choose another --host or --port.",
        ) from error
    return listener


class _Server(uvicorn.Server):  # type: ignore[misc]
    """uvicorn's server, which stops being ready a while before it stops listening."""

    def __init__(self, config: uvicorn.Config, drain: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = getattr(self.config, "loaded_app", None)
        if sig != signal.SIGTERM or self._loop is None or not isinstance(app, App) or not app.ready:
            super().handle_exit(sig, frame)
            return
        app.drain()
        self._loop.call_soon_threadsafe(self._loop.call_later, self._drain, self._stop)

    def _stop(self) -> None:
        self.should_exit = True
