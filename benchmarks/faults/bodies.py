"""What no sane caller sends: malformed bodies, heads and bodies that never end, and such as are far too large."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from serving.generator import whole

Row = dict[str, Any]
LIMIT = 2**20
"""Bytes a body may have."""
HEAD_SECONDS = 10.0
"""What a head or a body may take to arrive."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a request: the kind of its body, the body, and the answer's status, head and body.

    The status is 0 where the connection was closed without an answer, and -1 where none came in time.
    """

    kind: str
    sent: bytes
    status: int
    head: bytes = b""
    body: bytes = b""


def _any(random: random.Random, row: Row) -> str:
    return random.choice(list(row))


def _flipped(random: random.Random, row: Row) -> bytes:
    body = bytearray(_json(row))
    for _ in range(random.randint(1, 3)):
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)
    return bytes(body)


def _cut(random: random.Random, row: Row) -> bytes:
    body = _json(row)
    return body[: random.randrange(len(body))]


def _typed(random: random.Random, row: Row) -> bytes:
    others = [None, True, [], [1], {}, {"a": 1}, "", "x" * 500, "1e3", -1, 10**25, 0.1, 2**63, -(2**64)]
    return _json({**row, _any(random, row): random.choice(others)})


def _nested(random: random.Random, row: Row) -> bytes:
    depth = random.choice([50, 1_000, 20_000])
    opened, closed = random.choice([("[", "]"), ('{"a":', "}")])
    deep = opened * depth + "1" + closed * depth
    if random.random() < 0.3:
        return deep.encode()
    return _with(random, row, deep)


def _huge(random: random.Random, row: Row) -> bytes:
    numbers = [
        "1e999",
        "-1e400",
        "1e-999",
        "9" * 400,
        "0." + "3" * 1_000,
        "1e38",
        "1e39",
        "-0",
        "1" + "0" * 30,
        "00",
        "+1",
    ]
    return _with(random, row, random.choice([*numbers, "NaN", "Infinity", "-Infinity", "0x10", ".5", "5."]))


def _twice(random: random.Random, row: Row) -> bytes:
    name = _any(random, row)
    value = random.choice([row[name], 1, "level 1", None, [], 10**400])
    return _json(row)[:-1] + f",{json.dumps(name)}:{json.dumps(value)}}}".encode()


def _encoded(random: random.Random, row: Row) -> bytes:
    bad = random.choice(
        [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\x80", b"\\ud800", b"\\u12", b"\x00"]
    )
    body = _json(row)
    at = body.index(b'"level') + 2
    return random.choice([body[:at] + bad + body[at:], bad + body, body + bad, body.replace(b'"level', b'"' + bad, 1)])


def _named(random: random.Random, row: Row) -> bytes:
    name, changed = _any(random, row), dict(row)
    value = changed.pop(name)
    return _json(
        random.choice([changed, {**changed, name.upper(): value}, {**row, "": 1}, {**row, name + "\x00": value}])
    )


def _many(random: random.Random, row: Row) -> bytes:
    rows: list[Any] = [row, {**row, _any(random, row): []}, 3, None, [row], {}]
    lists: list[Any] = [[], {}, None, "rows", 1, [row], [random.choice(rows) for _ in range(random.randint(1, 5))]]
    return _json({"instances": random.choice(lists), **random.choice([{}, {}, {"more": 1}, row])})


def _garbage(random: random.Random, row: Row) -> bytes:
    plain = [
        b"",
        b" ",
        b"null",
        b"true",
        b"3",
        b'"row"',
        b"[]",
        b"{}",
        b"{",
        b"\xef\xbb\xbf{}",
        b"PRI * HTTP/2.0",
        b"<row/>",
    ]
    return random.choice([*plain, random.randbytes(random.randint(1, 2_000))])


KINDS: dict[str, Callable[[random.Random, Row], bytes]] = {
    "bytes flipped": _flipped,
    "cut": _cut,
    "wrong types": _typed,
    "deep nesting": _nested,
    "huge numbers": _huge,
    "duplicate keys": _twice,
    "invalid UTF-8": _encoded,
    "wrong names": _named,
    "wrong lists": _many,
    "garbage": _garbage,
}


def malformed(rows: list[Row], count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Return so many bodies that are not what they should be, each with its kind; a few are right by chance."""
    chance = random.Random(seed)
    kinds = list(KINDS.items())
    for number in range(count):
        name, make = kinds[number % len(kinds)]
        yield name, make(chance, chance.choice(rows))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _with(random: random.Random, row: Row, text: str) -> bytes:
    """Return a row in which a number's value is a text as it stands."""
    name = random.choice([name for name in row if isinstance(row[name], float)])
    return _json({**row, name: "@@"}).replace(b'"@@"', text.encode())


class Stranger:
    """A caller that sends what it likes over a connection it keeps, and opens again where it was closed.

    Parameters
    ----------
    port : int
        Of the server.
    key : str
        Its API key.
    """

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._socket: socket.socket | None = None

    def head(self, length: int | None) -> bytes:
        """Return a request's head; without a length the body is sent in chunks."""
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = ["POST /v1/predict HTTP/1.1", "Host: faults", f"Authorization: Bearer {self._key}"]
        return "\r\n".join([*lines, "Content-Type: application/json", size, "", ""]).encode()

    def ask(self, kind: str, body: bytes, *, chunked: bool = False, seconds: float = 30.0) -> Told:
        """Send a body whole, and wait for the answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.settimeout(seconds)
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
        with suppress(OSError):  # the answer may be there all the same
            self._socket.sendall(self.head(None if chunked else len(body)) + framed)
        told = received(self._socket, kind, body)
        if told.status <= 0 or b"connection: close" in told.head.lower():
            self.close()
        return told

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def received(connection: socket.socket, kind: str, sent: bytes) -> Told:
    """Wait for an answer."""
    said = b""
    try:
        while not (b"\r\n\r\n" in said and whole(said)):
            part = connection.recv(65_536)
            if not part:
                return Told(kind, sent, 0)
            said += part
    except TimeoutError:
        return Told(kind, sent, -1)
    except OSError:
        return Told(kind, sent, 0)
    head, _, body = said.partition(b"\r\n\r\n")
    return Told(kind, sent, int(head[9:12]), head, body)


def pour(port: int, key: str, bodies: Iterator[tuple[str, bytes]], rate: float, callers: int = 4) -> list[Told]:
    """Send bodies one after the other, so many a second at most; return what became of each."""
    told: list[Told] = []
    turn, began = threading.Lock(), time.monotonic()
    count = 0

    def call() -> None:
        nonlocal count
        stranger = Stranger(port, key)
        while True:
            with turn:
                following = next(bodies, None)
                due = began + count / rate
                count += 1
            if following is None:
                break
            time.sleep(max(0.0, due - time.monotonic()))
            told.append(stranger.ask(*following))
        stranger.close()

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def oversized(port: int, key: str, count: int) -> list[Told]:
    """Send bodies of two and eight times what is allowed, with their length and in chunks."""
    told = []
    for number in range(count):
        stranger = Stranger(port, key)
        body = b'{"number_00": "' + b"9" * (LIMIT * (2, 8)[number % 2]) + b'"}'
        told.append(stranger.ask("chunked" if number % 4 > 1 else "with length", body, chunked=number % 4 > 1))
        stranger.close()
    return told


def slowly(port: int, key: str, row: Row, count: int) -> list[Told]:
    """Open connections that say nothing, or a head or a body one byte a second; return what became of each.

    Raises
    ------
    OSError
        If the server cannot be reached.
    """
    body = _json(row)
    whole_head = Stranger(port, key).head(len(body))
    waiting: list[tuple[str, socket.socket, Iterator[int]]] = []
    for number in range(count):
        kind = ("mute", "slow head", "slow body")[number % 3]
        connection = socket.create_connection(("127.0.0.1", port))
        if kind == "slow body":
            connection.sendall(whole_head)
        rest = {"mute": b"", "slow head": whole_head[:-2], "slow body": body[:-1]}[kind]
        waiting.append((kind, connection, iter(rest)))
    told = []
    end = time.monotonic() + 3 * HEAD_SECONDS
    while waiting and time.monotonic() < end:
        left = []
        for kind, connection, rest in waiting:
            connection.settimeout(0.001)
            found = received(connection, kind, b"")
            if found.status >= 0:
                told.append(found)
                connection.close()
                continue
            left.append((kind, connection, rest))
            if (following := next(rest, None)) is not None:
                with suppress(OSError):  # closed in this moment: seen in the next round
                    connection.send(bytes([following]))
        waiting = left
        time.sleep(1.0)
    for kind, connection, _ in waiting:
        told.append(Told(kind, b"", -1))
        connection.close()
    return told
