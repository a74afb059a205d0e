"""Listening: on a TCP port, or on a Unix socket."""

from __future__ import annotations

import errno
import socket
import ssl
import stat
from pathlib import Path

from modelyard.core.errors import ServingError

_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Listen on a TCP port.

    Raises
    ------
    ServingError
        If the address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.set_inheritable(True)
    except (OSError, UnicodeError) as error:  # a name such as a..b can be no host's
        listener.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        raise ServingError(
            f"Port {port} is in use." if taken else f"The server cannot listen on {host}:{port}.",
            where=f"{host}:{port}: {getattr(error, 'strerror', None) or error}",
            do="Choose another with --port, or stop what uses it." if taken else "Choose another --host or --port.",
        ) from error
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket; one that a killed server left behind is taken away first.

    Raises
    ------
    ServingError
        If another server listens there, or the socket cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o660)
        listener.listen(_BACKLOG)
        listener.set_inheritable(True)
    except OSError as error:
        listener.close()
        raise ServingError(
            f"The server cannot listen on {path}.",
            where=f"{path}: {error.strerror or error}",
            do="Choose another with --uds, or stop what uses it.",
        ) from error
    return listener


def address(listener: socket.socket, host: str, secure: bool) -> str:
    """Return where a listener can be reached, as a person writes it."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if secure else ''}://{shown}:{listener.getsockname()[1]}"


def check_certificate(certificate: Path, key: Path | None) -> None:
    """Refuse a certificate and a key that cannot be used together.

    Raises
    ------
    ServingError
        If they cannot be read, or do not belong together.
    """
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ServingError(
            "The certificate and its key cannot be used.",
            where=f"{certificate}, {key or certificate}: {error}",
            allowed="PEM files that belong together, the key without a passphrase.",
            do="Check --tls-cert and --tls-key.",
        ) from error


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as other:
        try:
            other.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True
