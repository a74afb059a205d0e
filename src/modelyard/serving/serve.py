"""serve: a bundle behind HTTP until somebody stops it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from modelyard.bundle.load import load_bundle
from modelyard.core.errors import ServingError
from modelyard.serving.app import BODY_LIMIT, App
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import MULTIPROCESS

_SETTINGS = "MODELYARD_SERVE"
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
    app: App | str
    if workers == 1:
        app = _app(bundle_path, log, body_limit)
    else:
        load_bundle(bundle_path)  # a damaged bundle is told here, once, and not by every worker
        app = "modelyard.serving.serve:worker"
    listener = _listen(host, port)
    if started is not None:
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listener.getsockname()[1]}")
    config = uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
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
    server = _Server(config, drain)
    try:
        if workers == 1:
            server.run(sockets=[listener])
        else:
            _supervise(config, server, listener, {"path": str(bundle_path), "log": log, "body_limit": body_limit})
    except KeyboardInterrupt:
        return
    finally:
        listener.close()


def worker() -> App:
    """Return the application of one worker process, as the parent's environment describes it."""
    settings = msgspec.json.decode(os.environ[_SETTINGS])
    log = settings["log"]
    return _app(settings["path"], None if log is None else Path(log), settings["body_limit"])


def _app(path: str | Path, log: Path | None, body_limit: int) -> App:
    bundle = load_bundle(path)
    return App(bundle, log=None if log is None else PredictionLog(log), body_limit=body_limit)


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


def _supervise(config: uvicorn.Config, server: _Server, listener: socket.socket, settings: dict[str, Any]) -> None:
    from uvicorn.supervisors import Multiprocess

    # Workers share one set of counters through files: a scrape that meets any of them sees all.
    counters = tempfile.mkdtemp(prefix="modelyard-metrics-")
    os.environ[MULTIPROCESS] = counters
    os.environ[_SETTINGS] = msgspec.json.encode({**settings, "log": settings["log"] and str(settings["log"])}).decode()
    try:
        Multiprocess(config, target=server.run, sockets=[listener]).run()
    finally:
        del os.environ[MULTIPROCESS], os.environ[_SETTINGS]
        shutil.rmtree(counters, ignore_errors=True)


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
