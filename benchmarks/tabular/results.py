"""Which runs are asked, which are on record, and doing those that are not."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tabular.environments import PACKAGES, environment, home, python
from tabular.sets import SETS
from tabular.split import write

RECORD = Path(__file__).with_name("results.jsonl")
UNTIMED = frozenset({"lightgbm"})
"""Frameworks that take no budget: one run, recorded with budget 0, stands beside every budget."""
BUSY = 0.2
"""Share of the machine that others may use during a run before the report says so."""


class Key(NamedTuple):
    """What makes a run one of its own."""

    framework: str
    name: str
    seed: int
    budget: int


Record = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """The runs of a benchmark: every framework on every set, for every budget in seconds and every split seed."""

    frameworks: tuple[str, ...]
    sets: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...]

    def runs(self) -> list[Key]:
        """Return every run once, so ordered that a benchmark cut short has compared whole sets."""
        ordered = (
            Key(framework, name, seed, 0 if framework in UNTIMED else budget)
            for seed in self.seeds
            for budget in self.budgets
            for name in self.sets
            for framework in self.frameworks
        )
        return list(dict.fromkeys(ordered))


def read(path: Path) -> dict[Key, Record]:
    """Return the runs on record; of two of one key the later holds, and a line cut short by a kill is none."""
    found: dict[Key, Record] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[Key(record["framework"], record["set"], record["seed"], record["budget"])] = record
    return found


def missing(keys: Iterable[Key], found: Mapping[Key, Record], code: str, again: bool = False) -> list[Key]:
    """Return the runs to do: those not on record and, ``again``, those that failed or that other code of ours made."""

    def stands(key: Key) -> bool:
        record = found.get(key)
        if record is None or not again:
            return record is not None
        return "error" not in record and record.get("code", code) == code

    return [key for key in keys if not stands(key)]


def append(path: Path, record: Record) -> None:
    """Add a line to the record, on disk when this returns; a line cut short before it is ended first."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def code() -> str:
    """Return a hash of this project's source, by which a run says what it measured."""
    spec = find_spec("modelyard")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        whole.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()[:12]


def complete(asked: Asked, path: Path, again: bool = False, run: Callable[[Key], Record] | None = None) -> None:
    """Do what is missing, one run at a time, each on record before the next begins."""
    version = code()
    todo = missing(asked.runs(), read(path), version, again)
    least = sum(key.budget for key in todo) / 3600
    print(f"{len(asked.runs())} runs asked, {len(todo)} to do: {least:.1f} hours of budget", flush=True)
    for i, key in enumerate(todo, 1):
        record = (run or measure)(key)
        record |= {"framework": key.framework, "set": key.name, "seed": key.seed, "budget": key.budget}
        if key.framework == "modelyard":
            record["code"] = version
        append(path, record)
        print(f"{i}/{len(todo)} {_line(key, record)}", flush=True)


def measure(key: Key) -> Record:
    """Run one framework in its own environment and return its figures, or the error it ended with."""
    import psutil

    interpreter = python(key.framework)
    split = write(SETS[key.name], key.seed, home() / "splits")
    limit = 600 + 5 * key.budget
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        out = Path(folder) / "figures.json"
        runner = Path(__file__).with_name("runner.py")
        # -P: the runner's neighbours must not be taken for a framework's own modules.
        words = [interpreter, "-P", str(runner), key.framework, str(split), str(key.budget), PACKAGES[key.framework]]
        before, ours = psutil.cpu_times(), os.times()
        began = time.monotonic()
        with (Path(folder) / "output").open("wb") as output:
            process = subprocess.Popen(
                [*words, str(out)], cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env={**environment(key.framework), "TMPDIR": folder},
            )  # fmt: skip
            try:
                ended = f"exit code {process.wait(limit)}"
            except subprocess.TimeoutExpired:
                ended = f"not done after {limit} s"
            finally:
                _end(process)
        seconds, after, used = time.monotonic() - began, psutil.cpu_times(), os.times()
        spent = used.children_user + used.children_system - ours.children_user - ours.children_system
        figures: Record
        if out.exists():
            figures = json.loads(out.read_text(encoding="utf-8"))
        else:
            said = (Path(folder) / "output").read_text(encoding="utf-8", errors="replace")
            figures = {"error": f"{ended}: {_last(said)}"}
    cores = psutil.cpu_count() or 1
    figures |= {"cores": cores, "machine": _machine(), "day": f"{date.today()}"}
    figures["others"] = round(max(0.0, (worked(after) - worked(before) - spent) / (seconds * cores)), 3)
    return figures


def _last(said: str) -> str:
    """Return the last words of a run that failed: the record is kept, and says nothing of where it ran."""
    lines = said.strip().splitlines() or [""]
    return lines[-1].replace(str(home()), "MODELYARD_BENCH")[-500:]


def _machine() -> str:
    """Return what the processor calls itself, as far as the system says."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def worked(times: Any) -> float:
    """Return the seconds the cores of the machine were in use."""
    return float(times.user + times.system + times.nice + getattr(times, "irq", 0) + getattr(times, "softirq", 0))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a run and all it started: what it leaves behind would slow the next one."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _line(key: Key, record: Record) -> str:
    words = f"{key.framework:<10} {key.name:<19} seed {key.seed} {key.budget:>4} s  "
    if "error" in record:
        return f"{words}FAILED {record['error'].splitlines()[-1]}"
    loss = record.get("rmse", record.get("log_loss"))
    busy = f"  (others used {record['others']:.0%} of the machine)" if record.get("others", 0) > BUSY else ""
    return f"{words}loss {loss:.5g}  fit {record['fit_s']:.0f} s  one row {record['row_ms_p50']:.3g} ms{busy}"
