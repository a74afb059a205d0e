"""A server whose times are known, to hold the generator to: ``python steady.py PORT MILLISECONDS [STALL AT]``.

Each request is answered so long after it came. With STALL and AT, the request of that number keeps all others waiting
for STALL milliseconds.
"""

from __future__ import annotations

import asyncio
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Steady(asyncio.Protocol):
    """Answers every read after a while."""

    seconds = stall = 0.0
    at = count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer later: requests are small enough to come in one piece."""
        Steady.count += 1
        if Steady.count == Steady.at:
            time.sleep(Steady.stall)
        asyncio.get_running_loop().call_later(Steady.seconds, self._transport.write, ANSWER)  # type: ignore[attr-defined]


async def serve(port: int) -> None:
    """Answer until killed."""
    server = await asyncio.get_running_loop().create_server(Steady, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    port, milliseconds, *stall = sys.argv[1:]
    Steady.seconds = float(milliseconds) / 1e3
    if stall:
        Steady.stall, Steady.at = float(stall[0]) / 1e3, int(stall[1])
    asyncio.run(serve(int(port)))
