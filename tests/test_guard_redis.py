"""Limits that several machines share, in a real Redis that is killed, stopped, slow and wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from socket import socket as socket_of_its_own

import pytest
import redis

from modelyard.adapters.redis_limits import RedisLimits
from modelyard.core.errors import ServingError
from modelyard.serving.guard import guard as guards
from modelyard.serving.guard.guard import BearerGuard
from modelyard.serving.guard.keyring import KeyRing
from modelyard.serving.guard.limit import Limit, Unreachable
from modelyard.serving.guard.store import KeyStore
from modelyard.serving.problem import HttpProblem
from redises import redis_server

PATIENT = 60.0
"""Seconds: a busy machine is no Redis that hangs."""


@pytest.fixture(scope="module")
def socket(tmp_path_factory):
    path = tmp_path_factory.mktemp("redis") / "socket"
    with redis_server(path):
        yield path


@pytest.fixture
def url(socket):
    with redis.Redis(unix_socket_path=str(socket)) as client:
        client.flushall()
    return f"unix://{socket}"


def run(*asked):
    """Run coroutines made of functions that take no argument, in one loop."""

    async def together():
        return await asyncio.gather(*(one() for one in asked))

    return asyncio.run(together())


class Machine:
    """A guard with a key, in a process that shares its limits."""

    def __init__(self, folder, url: str, limit: Limit, **options) -> None:
        store = KeyStore(folder / "keys.db")
        if not store.listed():
            (folder / "secret").write_text(store.create("ward", by="anna")[1])
        secret = (folder / "secret").read_bytes()
        self.guard = BearerGuard(KeyRing(store.path, limit), shared=RedisLimits(url, PATIENT), **options)
        self._headers = [(b"authorization", b"Bearer " + secret)]

    async def status(self) -> int:
        try:
            admitted = await self.guard.admit({"headers": self._headers}, "predict")
        except HttpProblem as problem:
            return problem.status
        assert dict(admitted.headers)[b"ratelimit"].startswith(b'"default";r=')
        return 200


def test_two_machines_share_one_limit(tmp_path, url):
    limit = Limit.a_minute(1, 10)
    machines = [Machine(tmp_path, url, limit) for _ in range(2)]

    async def burst():
        answers = await asyncio.gather(*(m.status() for m in machines * 20))
        for machine in machines:
            machine.guard.close()
        return answers

    answers = asyncio.run(burst())
    assert answers.count(200) == 10
    assert answers.count(429) == 30


def test_never_more_than_the_burst_and_what_came_meanwhile(url):
    limit = Limit.a_minute(6_000, 20)

    async def take(limits, seconds):
        admitted = 0
        while time.monotonic() - began < seconds:
            admitted += await limits.take("a", limit) >= 0
        limits.close()
        return admitted

    began = time.monotonic()
    admitted = sum(run(*(lambda: take(RedisLimits(url, PATIENT), 0.5) for _ in range(3))))
    elapsed = time.monotonic() - began
    assert 20 < admitted <= 20 + elapsed * 100


def test_what_is_left_and_how_long_to_wait(url):
    async def take():
        limits = RedisLimits(url, PATIENT)
        spare = [await limits.take("a", Limit.a_minute(1, 3)) for _ in range(5)]
        other = await limits.take("b", Limit.a_minute(1, 3))
        limits.close()
        return spare, other

    minute = 60 * 10**9
    spare, other = asyncio.run(take())
    assert [s // minute for s in spare[:3]] == [2, 1, 0]
    assert all(-minute < s < -0.9 * minute for s in spare[3:])
    assert other == 2 * minute


def test_a_bucket_goes_when_it_is_full_again(url, socket):
    async def take():
        limits = RedisLimits(url, PATIENT)
        await limits.take("a", Limit.a_minute(6_000, 5))
        limits.close()

    asyncio.run(take())
    with redis.Redis(unix_socket_path=str(socket)) as client:
        for _ in range(500):
            if not client.keys():
                break
            time.sleep(0.01)
        assert client.keys() == []


def test_a_clock_that_goes_back_does_not_lock_a_caller_out(url, socket):
    with redis.Redis(unix_socket_path=str(socket)) as client:
        client.set("modelyard:limit:a", f"{(time.time() + 86_400) * 1e6:.0f}")

    async def take():
        limits = RedisLimits(url, PATIENT)
        spare = [await limits.take("a", Limit.a_minute(1, 5)) for _ in range(6)]
        limits.close()
        return spare

    spare = asyncio.run(take())
    assert min(spare[:5]) >= 0  # what was taken before the step is forgotten, as by a Redis that comes back empty
    assert spare[5] < 0


@pytest.mark.parametrize(("otherwise", "status"), [("local", 200), ("deny", 503)])
def test_while_redis_is_gone_the_stated_policy_holds(tmp_path, monkeypatch, caplog, otherwise, status):
    monkeypatch.setattr(guards, "_AGAIN", 0.05)
    socket = tmp_path / "socket"
    machine = Machine(tmp_path, f"unix://{socket}", Limit.a_minute(1, 5), otherwise=otherwise)

    async def lives():
        with redis_server(socket) as process:
            assert [await machine.status() for _ in range(2)] == [200, 200]
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            while_gone = [await machine.status() for _ in range(3)]
            await asyncio.sleep(0.1)
            while_gone.append(await machine.status())  # asked again, in vain
        with redis_server(socket):
            await asyncio.sleep(0.1)
            back = [await machine.status() for _ in range(6)]
        machine.guard.close()
        return while_gone, back

    while_gone, back = asyncio.run(lives())
    assert while_gone == [status] * 4
    assert back == [200] * 5 + [429]  # a Redis that lost its memory begins with full buckets
    told = [json.loads(r.getMessage()) for r in caplog.records if r.name == "modelyard.serving"]
    assert [line["event"] for line in told] == ["limits_lost", "limits_back"]
    assert told[0]["instead"] == otherwise


def test_locally_a_limit_still_ends(tmp_path):
    machine = Machine(tmp_path, f"unix://{tmp_path}/nothing", Limit.a_minute(1, 3))
    assert asyncio.run(_statuses(machine, 5)) == [200, 200, 200, 429, 429]


def test_a_redis_that_hangs_holds_up_one_request_and_not_those_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(guards, "_AGAIN", 600.0)
    socket = tmp_path / "socket"
    asked = []
    take = RedisLimits.take
    monkeypatch.setattr(RedisLimits, "take", lambda *a: asked.append(1) or take(*a))
    with redis_server(socket) as process:
        machine = Machine(tmp_path, f"unix://{socket}", Limit.a_minute())

        async def stopped():
            assert await machine.status() == 200
            monkeypatch.setattr(machine.guard._shared, "_seconds", 0.05)
            os.kill(process.pid, signal.SIGSTOP)
            answers = [await machine.status() for _ in range(50)]
            machine.guard.close()
            return answers

        answers = asyncio.run(stopped())
        os.kill(process.pid, signal.SIGCONT)
    assert answers == [200] * 50
    assert len(asked) == 2


def test_a_request_that_waits_no_longer_does_not_end_the_opening_of_a_connection(tmp_path):
    socket = tmp_path / "socket"
    with redis_server(socket) as process:
        limits = RedisLimits(f"unix://:any@{socket}", 0.05)  # AUTH is answered once Redis goes on

        async def slow():
            os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(Unreachable):
                await limits.take("a", Limit.a_minute())
            opening = limits._opening
            os.kill(process.pid, signal.SIGCONT)
            with pytest.raises(ConnectionError, match="AUTH"):  # as no password is set: it was asked to its end
                await opening
            limits.close()

        asyncio.run(slow())


async def _statuses(machine: Machine, count: int) -> list[int]:
    found = [await machine.status() for _ in range(count)]
    machine.guard.close()
    return found


def test_with_a_password(tmp_path):
    socket = tmp_path / "socket"

    async def take(url):
        limits = RedisLimits(url, PATIENT)
        try:
            return await limits.take("a", Limit.a_minute())
        finally:
            limits.close()

    with redis_server(socket, "--port", "0", "--requirepass", "p@ss"):
        assert asyncio.run(take(f"unix://:p%40ss@{socket}")) > 0
        for given in ("", ":wrong@"):
            with pytest.raises(Unreachable) as caught:
                asyncio.run(take(f"unix://{given}{socket}"))
            assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_over_tcp_and_in_a_database_of_its_own(tmp_path):
    with socket_of_its_own() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def take():
        limits = RedisLimits(f"redis://127.0.0.1:{port}/2", PATIENT)
        spare = await limits.take("a", Limit.a_minute())
        limits.close()
        return spare

    with redis_server(tmp_path / "socket", "--port", str(port)):
        assert asyncio.run(take()) > 0
        with redis.Redis(port=port, db=2) as client:
            assert client.keys() == [b"modelyard:limit:a"]


def test_what_is_no_redis_is_unreachable(tmp_path):
    async def take():
        async def answer(reader, writer):
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_unix_server(answer, tmp_path / "socket"):
            await RedisLimits(f"unix://{tmp_path}/socket", PATIENT).take("a", Limit.a_minute())

    with pytest.raises(Unreachable):
        asyncio.run(take())


@pytest.mark.parametrize(
    "url", ["http://:s3cret@h", "redis://:s3cret@", "redis://h:s3cret", "redis://h/s3cret", "unix:", ""]
)
def test_no_address_of_a_redis(url):
    with pytest.raises(ServingError, match="no address of a Redis") as caught:
        RedisLimits(url)
    assert "s3cret" not in str(caught.value)
