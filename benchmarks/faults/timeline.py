"""The faults, one after the other, each with calm behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from faults import bodies
from faults.parts import RESTART_SECONDS, until
from faults.releases import DAMAGED, DEAD, HANGS, NANS, RAISES, SECOND, damage
from faults.stage import WORKERS, Served, Stage, Window

MALFORMED = 10_000
_A_SECOND = 400
"""Malformed bodies, so that they take a part of the processor and not all of it."""
_HOUR = 3_600


def _kill_worker(stage: Stage, window: Window) -> None:
    window.kills.append(time.monotonic())
    stage.server.workers()[0].kill()


def _replaced(stage: Stage) -> None:
    until(stage.meets_another_worker, "a killed worker is not replaced", every=0.1)


def workers_killed(stage: Stage) -> None:
    """Kill every worker, one after the other."""
    with stage.window("kill -9 of each worker") as window:
        for _ in range(WORKERS):
            _kill_worker(stage, window)
            _replaced(stage)
            stage.wait(2.0)
        window.felt = f"{WORKERS} killed and replaced"


def loader_killed(stage: Stage) -> None:
    """Kill the process that loads the log."""
    with stage.window("kill -9 of the log's loader") as window:
        (victim,) = stage.server.loaders()
        victim.kill()
        until(lambda: [w for w in stage.server.loaders() if w.pid != victim.pid], "a killed loader is not replaced")
        window.felt = "killed and replaced"


def redis_killed(stage: Stage) -> None:
    """Kill the Redis of the limits, and start an empty one."""
    _without_redis(stage, "kill -9 of Redis", stage.redis.kill, stage.redis.start)


def redis_held(stage: Stage) -> None:
    """Keep that Redis from answering for a while."""
    _without_redis(stage, "Redis that hangs", stage.redis.hold, stage.redis.go_on)


def _without_redis(stage: Stage, name: str, take: Callable[[], None], give_back: Callable[[], None]) -> None:
    with stage.window(name) as window:
        before = _guard_failures(stage)
        take()
        stage.wait(4.0)
        give_back()
        stage.wait(3.0, 1.5)
        window.felt = f"{_guard_failures(stage) - before:.0f} times found gone"


def _guard_failures(stage: Stage) -> float:
    return stage.server.counted("modelyard_guard_failures_total", needed="limits")


def good_release(stage: Stage) -> None:
    """Release the second version, while nothing is broken."""
    with stage.window("a new release") as window:
        with stage.flip(SECOND):
            stage.releases.promote(SECOND)
        window.felt = f"taken by {WORKERS} workers"
        stage.wait(2.0)


def registry_lost(stage: Stage) -> None:
    """Take the registry away, then have a file there that is none; a worker starts meanwhile."""
    path = stage.releases.registry.path
    away = path.with_suffix(".away")

    def missed() -> float:
        return stage.server.counted("modelyard_release_flips_total", result="unreachable")

    with stage.window("registry gone, then unreadable; a worker killed") as window:
        before = missed()
        path.rename(away)
        until(lambda: missed() > before, "nobody misses the registry")
        _kill_worker(stage, window)
        _replaced(stage)
        stage.wait(2.0)
        path.write_bytes(b"This is no registry." * 1_000)
        until(lambda: missed() > before + 2 * WORKERS, "nobody minds what the registry holds")
        stage.wait(2.0)
        away.replace(path)
        window.felt = f"{missed() - before:.0f} times unreachable"
        stage.wait(2.0, 1.2)


def disk_full(stage: Stage) -> None:
    """Leave no byte free on the one disk; a worker starts meanwhile."""
    if not stage.disk.real:
        stage.left_out.append("disk full (nobody may mount one here)")
        return

    def dropped() -> float:
        return stage.server.counted("modelyard_prediction_log_failures_total")

    with stage.window("disk full; a worker killed") as window:
        before = dropped()
        stage.disk.fill()
        stage.wait(4.0)
        _kill_worker(stage, window)
        stage.wait(4.0, 2.0)
        stage.disk.free()
        _replaced(stage)
        stage.wait(2.0)
        stage.dropped = round(dropped() - before)
        window.felt = f"{stage.dropped} records dropped, as counted"


def damaged_release(stage: Stage) -> None:
    """Release a bundle of which half was copied."""
    with stage.window("a release damaged on its way") as window:
        damage(stage.releases.folders[DAMAGED])
        try:
            with stage.flip(DAMAGED, refused=True):
                stage.releases.promote(DAMAGED)
        finally:
            stage.releases.back()
        window.felt = f"refused by {WORKERS} workers"


def dead_release(stage: Stage) -> None:
    """Release a model that raises on every row."""
    with stage.window("a release whose model answers no row") as window:
        try:
            with stage.flip(DEAD, refused=True):
                stage.releases.promote(DEAD)
        finally:
            stage.releases.back()
        window.felt = f"refused by {WORKERS} workers"


def _faulty(stage: Stage, version: int, name: str, seconds: float, least: float = 1.5) -> None:
    def failures() -> float:
        return stage.server.counted("modelyard_source_failures_total", source="model")

    with stage.window(name) as window:
        before = failures()
        with stage.flip(version):
            stage.releases.promote(version)
        stage.wait(seconds, least)
        with stage.flip(SECOND):
            stage.releases.back()
        window.felt = f"{failures() - before:.0f} answers it failed to give"


def model_raises(stage: Stage) -> None:
    """Release a model that raises on some rows, and go back."""
    _faulty(stage, RAISES, "a model that raises", 5.0)


def model_nan(stage: Stage) -> None:
    """Release a model that answers NaN to some rows, and go back."""
    _faulty(stage, NANS, "a model that answers NaN", 5.0)


def model_hangs(stage: Stage) -> None:
    """Release a model that never ends on some rows, for longer than it is left to rest, and go back."""
    _faulty(stage, HANGS, "a model that hangs", 14.0, 2.5)


def malformed(stage: Stage) -> None:
    """Send bodies that are not what they should be."""
    count = max(1_000, round(stage.share * MALFORMED))
    with stage.window(f"{count:,} malformed bodies") as window:
        sent = bodies.malformed(stage.releases.rows, count)
        told = bodies.pour(stage.server.port, stage.key, sent, _A_SECOND)
        stage.strangers["malformed"] = told
        refused = sum(400 <= one.status < 500 for one in told)
        window.felt = f"{refused:,} refused, {sum(one.status == 200 for one in told)} right by chance"


def slow_and_large(stage: Stage) -> None:
    """Send what never ends, and what is far too large."""
    port, row = stage.server.port, stage.releases.rows[0]
    with stage.window("slow loris, oversized bodies") as window:
        slow = stage.strangers["slow"]
        thread = threading.Thread(target=lambda: slow.extend(bodies.slowly(port, stage.key, row, 150)))
        thread.start()
        large = stage.strangers["oversized"] = bodies.oversized(port, stage.key, max(8, round(40 * stage.share)))
        thread.join()
        window.felt = f"{len(slow)} let go, {len(large)} refused"


def clock_stepped(stage: Stage) -> None:
    """Set the time of day forward and back, and then behind."""
    if not stage.clock.real:
        stage.left_out.append("clock step (there is no C compiler)")
        return
    with stage.window("clock an hour forward, back, and an hour behind") as window:
        felt = []
        for seconds in (_HOUR, 0, -_HOUR, 0):
            stage.clock.set(seconds)
            stage.wait(5.0, 1.5)
            felt.append(f"{stage.server.clock():+,} s")
        window.felt = ", ".join(felt)


def parent_killed(stage: Stage) -> None:
    """Kill the first process, and start the server again once its workers have ended."""
    with stage.window("kill -9 of the parent; started again") as window:
        down = time.monotonic()
        window.kills.append(down)
        stage.server.kill()
        time.sleep(RESTART_SECONDS)
        ready = stage.server.start()
        window.down = (down, ready)
        window.felt = f"{ready - down:.1f} s until it was ready again"
        stage.wait(2.0)


FAULTS: tuple[Callable[[Stage], None], ...] = (
    workers_killed,
    loader_killed,
    redis_killed,
    redis_held,
    good_release,
    registry_lost,
    disk_full,
    damaged_release,
    dead_release,
    model_raises,
    model_nan,
    model_hangs,
    malformed,
    slow_and_large,
    clock_stepped,
    parent_killed,
)


def play(stage: Stage) -> None:
    """Have every fault, one after the other."""
    stage.served.append(Served(1, stage.began))
    until(lambda: stage.meets_another_worker() and len(stage.met) == WORKERS, "not all workers answer", every=0.1)
    stage.wait(4.0)
    for fault in FAULTS:
        fault(stage)
