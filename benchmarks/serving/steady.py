"""A server whose times are known, to hold the generator to: ``python steady.py MILLISECONDS [STALL AT]``.

It prints its port, and answers each request so long after it came. With STALL and AT, the request of that number keeps
all others waiting for STALL milliseconds. A thread for each connection sleeps to some tens of microseconds, where an
event loop would wait for whole milliseconds.
"""

from __future__ import annotations

import itertools
import socket
import sys
import threading
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def serve(seconds: float, stall: float = 0.0, at: int = 0) -> None:
    """Answer until killed."""
    count, gate = itertools.count(1), threading.Lock()

    def answer(connection: socket.socket) -> None:
        # Requests are small enough to come in one piece.
        while connection.recv(65536):
            with gate:
                if next(count) == at:
                    time.sleep(stall)
            time.sleep(seconds)
            connection.send(ANSWER)

    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    milliseconds, *stall = sys.argv[1:]
    serve(float(milliseconds) / 1e3, *((float(stall[0]) / 1e3, int(stall[1])) if stall else ()))
