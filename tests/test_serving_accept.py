"""Workers take about as many connections each, and none waits for one that takes none."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from modelyard.serving import accept
from modelyard.serving.accept import NOBODY, Accepting, Share


class Greets(asyncio.Protocol):
    """Says who took a connection."""

    def __init__(self, who: bytes, held: set) -> None:
        self.who, self.held = who, held

    def connection_made(self, transport) -> None:
        self.held.add(self)
        self.transport = transport
        transport.write(self.who)

    def shutdown(self) -> None:
        self.transport.close()

    def connection_lost(self, error) -> None:
        self.held.discard(self)


@contextmanager
def workers(counts: list[int], present: int):
    """Let the first of some workers take connections, in one loop; yield the address and what each holds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop, held = asyncio.get_running_loop(), [set() for _ in range(present)]
        taking = [
            Accepting(
                loop, listener.dup(), lambda w=w: Greets(b"%d" % w, held[w]), lambda w=w: len(held[w]), Share(counts, w)
            )
            for w in range(present)
        ]  # fmt: skip
        try:
            yield listener.getsockname(), held, taking
        finally:
            for one in taking:
                one.close()
                one._listener.close()


async def greeted(address, count: int, opened: ExitStack) -> list[bytes]:
    """Open connections at once; return who took each."""
    callers = [opened.enter_context(socket.create_connection(address)) for _ in range(count)]

    async def one(caller: socket.socket) -> bytes:
        caller.setblocking(False)
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(caller, 1), 10)

    return await asyncio.gather(*map(one, callers))


def test_connections_that_come_together_are_shared_evenly(monkeypatch):
    monkeypatch.setattr(accept, "_WAIT", 0.05)  # a machine that pauses for less gives none away

    async def scene():
        with workers([NOBODY] * 3, 3) as (address, held, _), ExitStack() as opened:
            found = await greeted(address, 30, opened)
            assert all(8 <= found.count(b"%d" % w) <= 12 for w in range(3))
            for one in list(held[1]):
                one.transport.close()
            await asyncio.sleep(0.05)
            # Whoever has fewer by now has the next, once it has told so: the two others may wake before it.
            assert (await greeted(address, 10, opened)).count(b"1") >= 8

    asyncio.run(scene())


def test_nobody_waits_long_for_a_worker_that_takes_none():
    async def scene(counts):
        with workers(counts, 1) as (address, _, _), ExitStack() as opened:
            began = time.monotonic()
            assert await greeted(address, 20, opened) == [b"0"] * 20
            return time.monotonic() - began

    assert asyncio.run(scene([NOBODY, 0])) >= 19 * accept._WAIT  # it hangs: each is left to it for a moment
    assert asyncio.run(scene([NOBODY, NOBODY])) < 10  # it has ended


def test_a_connection_another_worker_took_is_no_error(caplog):
    async def scene():
        with workers([NOBODY], 1) as (address, _, (taking,)), ExitStack() as opened:
            taking._take()
            assert await greeted(address, 1, opened) == [b"0"]

    asyncio.run(scene())
    assert caplog.text == ""


def test_a_system_without_files_is_asked_again(monkeypatch, caplog):
    monkeypatch.setattr(accept, "_EXHAUSTED", 0.05)

    class Exhausted(socket.socket):
        asked = 0

        def accept(self):
            Exhausted.asked += 1
            if Exhausted.asked == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    async def scene():
        with workers([NOBODY], 1) as (address, _, (taking,)), ExitStack() as opened:
            plain = taking._listener
            taking._listener = Exhausted(fileno=plain.detach())
            assert await greeted(address, 1, opened) == [b"0"]

    asyncio.run(scene())
    assert caplog.text.count("no connection can be accepted: [Errno 24] Too many open files") == 1


def test_one_that_was_just_taken_is_shut_down_with_the_rest():
    async def scene():
        with workers([NOBODY], 1) as (address, held, (taking,)), ExitStack() as opened:
            caller = opened.enter_context(socket.create_connection(address))
            taking._take()
            assert held == [set()]
            taking.close()
            await taking.wait_closed()
            await asyncio.sleep(0.05)
            assert held == [set()]
            caller.settimeout(10)
            assert caller.recv(9) == b"0"
            assert caller.recv(9) == b""

    asyncio.run(scene())


@pytest.mark.parametrize("pause", [False, True], ids=["listening", "waiting"])
def test_a_closed_one_takes_no_more(pause):
    async def scene():
        with workers([NOBODY, 0], 1) as (address, held, (taking,)), ExitStack() as opened:
            if pause:
                await greeted(address, 1, opened)
                opened.enter_context(socket.create_connection(address))
                await asyncio.sleep(0)
            before = len(held[0])
            taking.close()
            opened.enter_context(socket.create_connection(address))
            await asyncio.sleep(0.05)
            assert len(held[0]) == before

    asyncio.run(scene())
