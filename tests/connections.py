"""Connections to an application that serves in a thread, and what goes over them."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from contextlib import contextmanager

import uvicorn

from bundles import PLAIN
from modelyard.serving.server import _Server
from modelyard.serving.wire import Wire

BODY = json.dumps(PLAIN).encode()


@contextmanager
def listening(app, idle=75):
    """Serve an application in a thread; yield its port."""
    plain = {"lifespan": "off", "log_config": None, "server_header": False, "proxy_headers": False}
    server = _Server(uvicorn.Config(app, port=0, http=Wire, timeout_keep_alive=idle, **plain), 0.0, 10.0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        end = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < end
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def post(body=BODY, *more: str, path="/v1/predict", length=True, version="1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: model", "Content-Type: application/json", *more]
    lines += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def answers(port: int, *pieces: bytes, count: int = 1, pause: float = 0.002) -> list[tuple[int, dict[str, str], bytes]]:
    """Send pieces one after the other; return the answers until there are so many, or the connection ends."""
    found, held = [], b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause if len(pieces) > 1 else 0)
        while len(found) < count and (got := connection.recv(65536)):
            held += got
            while (end := held.find(b"\r\n\r\n")) >= 0:
                head = held[:end].decode()
                size = int(re.search(r"(?i)content-length: (\d+)", head)[1]) if " 100 " not in head else 0
                if len(held) < end + 4 + size:
                    break
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
                if " 100 " not in head:
                    found.append((int(head[9:12]), fields, held[end + 4 : end + 4 + size]))
                held = held[end + 4 + size :]
    assert not held
    return found


def said(answer: tuple[int, dict[str, str], bytes]) -> dict:
    """Return what an answer says, but for its id."""
    return {name: value for name, value in json.loads(answer[2]).items() if name != "id"}
