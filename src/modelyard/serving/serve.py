"""serve: a bundle behind HTTP until somebody stops it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard.core.errors import BundleError, ServingError
from modelyard.serving.accept import Share
from modelyard.serving.app import App
from modelyard.serving.copies import Copies, copies_for
from modelyard.serving.follow import Tell, Told, follow
from modelyard.serving.guard.access import Access
from modelyard.serving.guard.issuer import LOCAL
from modelyard.serving.listen import address, check_certificate, listen, listen_unix
from modelyard.serving.log import PredictionLog
from modelyard.serving.rollout.live import Live
from modelyard.serving.server import run
from modelyard.serving.terms import Terms
from modelyard.serving.traces import Traces
from modelyard.serving.workers import orphaned, supervise

_LOGGER = logging.getLogger("modelyard.serving")


def serve(
    bundle_path: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    uds: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    workers: int = 1,
    drain: float = 1.0,
    log: Path | None = None,
    access: Access | None = None,
    terms: Terms | None = None,
    traces: Callable[[], Traces] | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve a bundle over HTTP; return when it was told to stop and every request in flight is answered.

    Parameters
    ----------
    bundle_path : path
        A bundle's folder or its ``.tar.gz``.
    host, port : str, int
        Where to listen; port 0 takes a free one.
    uds : path, optional
        A Unix socket to listen on instead.
    certificate, key : path, optional
        PEM files of TLS; without a key the certificate's file holds it.
    workers : int
        Processes; one for each core is right for models of trees.
    drain : float
        Seconds between SIGTERM, when ``/health/ready`` turns to 503, and the end of listening.
    log : path, optional
        Folder of the prediction log; None keeps none.
    access : Access, optional
        Who may call; None lets everybody in.
    terms : Terms, optional
        Limits, and the registry that is followed.
    traces : callable, optional
        Makes what sends a worker's spans, in the worker; None makes no spans.
    started : callable, optional
        Told the address, once it is listened on.

    Raises
    ------
    BundleError
        If the bundle is damaged, or answers nothing.
    ServingError
        If the address cannot be had, the certificate not be used, or the log not be written.
    """
    if workers < 1:
        raise ServingError(f"A server cannot have {workers} workers.", allowed="1 or more.")
    if certificate is not None:
        check_certificate(certificate, key)
    elif key is not None:
        raise ServingError("A key needs its certificate.", do="Give --tls-cert too.")
    with copies_for(workers) as copies:
        way = _Way(str(bundle_path), drain, certificate, key, log, access, workers, terms or Terms(), traces, copies)
        # With several workers it is loaded here too, so that what is wrong with it is told once.
        app = way.app((None, (way.path, way.terms.release)))
        app.router.stable.example()  # a model that answers nothing is an error here, and a trace where it is warmed
        listener = listen(host, port) if uds is None else listen_unix(uds)
        if access is None and uds is None and host not in LOCAL:
            _LOGGER.warning(
                "Whoever reaches %s may call this model: there is no guard (--auth keys, --auth oidc).", host
            )
        if started is not None:
            started(address(listener, host, certificate is not None))
        try:
            if workers == 1:
                way.run(app, listener)
            else:
                app.close()
                supervise(workers, _work, (way, listener), told=(None, (str(app.bundle.path), way.terms.release)))
        except KeyboardInterrupt:
            return
        finally:
            listener.close()
            if uds is not None:
                uds.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Way:
    """What a worker must be told to serve as the others do."""

    path: str
    drain: float
    certificate: Path | None
    key: Path | None
    log: Path | None
    access: Access | None
    workers: int
    terms: Terms
    traces: Callable[[], Traces] | None
    copies: Copies

    def app(self, told: Told) -> App:
        """Make the server, with what it is told that answers, and that stands in."""
        before, now = told
        if before is not None:
            with suppress(BundleError):  # one that is gone by now cannot stand in
                app = self._app(*before)
                app.router.stable = app.version(self.copies.load(now[0]), now[1])
                return app
        return self._app(*now)

    def _app(self, path: str, release: str | None) -> App:
        terms = replace(self.terms, release=release)
        log = None if self.log is None else PredictionLog(self.log)
        guard = None if self.access is None else self.access.guard(self.workers)
        app = App(
            self.copies.load(path),
            log=log,
            guard=guard,
            guarded_metrics=self.access is not None and self.access.metrics,
            terms=terms,
            traces=None if self.traces is None else self.traces(),
        )
        for needed in () if guard is None else guard.needs:
            needed.count = app.metrics.guard_failed(needed.name)
        return app

    def run(self, app: App, listener: socket.socket, tell: Tell | None = None, share: Share | None = None) -> None:
        if self.terms.rollouts is not None:
            app.background.append(Live(app, self.terms.rollouts, self.path, self.copies).run)
        if self.terms.registry is not None:
            follow(app, self.terms.registry, tell, self.copies)
        run(
            app,
            listener,
            self.drain,
            share=share,
            head_seconds=self.terms.head_seconds,
            certificate=self.certificate,
            key=self.key,
        )


def _work(told: Told, tell: Tell, share: Share, way: _Way, listener: socket.socket) -> None:
    """Be one of several workers, in a process of its own."""
    try:
        way.run(way.app(told), listener, tell, share)
    finally:
        if orphaned():
            way.copies.remove()
