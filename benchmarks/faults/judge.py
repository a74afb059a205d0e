"""What the run's promises came to: every call, every answer and every record held against each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from faults.bodies import Told
from faults.releases import LIMIT, Releases
from faults.stage import Stage, Window
from modelyard.brief.rule import Rule
from modelyard.bundle.load import load_bundle
from modelyard.core.errors import RowError
from modelyard.serving.log import Record, read_log

SECONDS = LIMIT.milliseconds / 1e3
BAR = 0.999
_CLOSE = 1e-6
_UNKNOWN_SECONDS = 1.0
"""A connection that broke before its first answer, so soon after a kill, counts as one of the killed process."""
_ANSWER = ("prediction", "probabilities", "served_by")
_SHOWN = 5
_TOGETHER = 0.5


@dataclass(frozen=True, slots=True)
class Call:
    """A request as its caller saw it: see ``load.py``."""

    number: int
    row: int
    due: float
    done: float
    status: int
    tries: list[tuple[float, float, str, str]]
    answer: str

    @property
    def seconds(self) -> float:
        """From the moment it was due to its answer, or to when it was given up."""
        return self.done - self.due

    @property
    def good(self) -> bool:
        """Whether it was answered."""
        return self.status == 200

    @property
    def sent(self) -> float:
        """When it was sent for the last time."""
        return self.tries[-1][0]


@dataclass
class Question:
    """A promise, what was found of it, and whether it holds; `timed` where a busy machine alone may break it."""

    text: str
    found: str
    holds: bool
    examples: list[str] = field(default_factory=list)
    timed: bool = False


@dataclass
class Judged:
    """What a run came to.

    Attributes
    ----------
    calls : list of Call
        All of them, in the order they were due.
    apart : set of int
        Numbers of those that were due while there was no server.
    with_worker, failed : Counter of int
        By a call's number: tries that ended with a killed process, and such as failed for no reason that is named.
    questions : list of Question
        The promises.
    """

    calls: list[Call]
    apart: set[int]
    with_worker: Counter[int]
    failed: Counter[int]
    questions: list[Question] = field(default_factory=list)


def judge(stage: Stage, calls: Path) -> Judged:
    """Hold everything against everything; the server must have ended."""
    held = [Call(*plain) for plain in json.loads(calls.read_text(encoding="utf-8"))["calls"]]
    judged = _tries(held, stage.windows)
    records: dict[str, list[Record]] = {}
    for record in read_log(stage.log):
        records.setdefault(record.id, []).append(record)
    judged.questions += [
        Question("every fault ends as documented", "; ".join(stage.late) or "all did", not stage.late),
        _logged(stage, held, records),
        _versions(stage, held),
        _healthy(judged),
        _strangers(stage),
        _in_time(stage, judged, "answered within the limit, over the whole run"),
        _in_time(stage, judged, "the same, where nothing was broken", calm(stage.windows)),
    ]
    return judged


def calm(windows: Iterable[Window]) -> Any:
    """Return what says whether a moment lies in no window."""
    held = [(w.began, w.ended) for w in windows]
    return lambda moment: not any(began <= moment <= ended for began, ended in held)


def _tries(calls: list[Call], windows: list[Window]) -> Judged:
    """Sort out which tries failed, and with whom."""
    downs = [w.down for w in windows if w.down[1]]
    kills = [moment for w in windows for moment in w.kills]
    last: dict[str, float] = {}  # by worker, when it answered for the last time
    for call in calls:
        if call.good:
            worker = _worker(_id(call))
            last[worker] = max(last.get(worker, 0.0), call.done)
    judged = Judged(calls, set(), Counter(), Counter())
    for call in calls:
        if any(began <= call.due <= ended for began, ended in downs):
            judged.apart.add(call.number)
            continue
        for _, ended, how, before in call.tries:
            if how == "answered":
                continue
            if before:
                dead = last[_worker(before)] <= ended and any(k <= ended + 0.1 for k in kills)
            else:
                dead = any(k <= ended <= k + _UNKNOWN_SECONDS for k in kills)
            (judged.with_worker if dead and how == "broken" else judged.failed)[call.number] += 1
        if not call.good and call.number not in judged.failed:
            judged.failed[call.number] += 1
    return judged


def _logged(stage: Stage, calls: list[Call], records: dict[str, list[Record]]) -> Question:
    """Every acknowledged prediction is in the log once, as it was answered, but for those counted as dropped."""
    missing, wrong = [], []
    acknowledged = 0
    for call in calls:
        if not call.good:
            continue
        acknowledged += 1
        told = json.loads(call.answer)
        found = records.get(told["id"], [])
        if not found:
            missing.append(call)
        elif len(found) > 1 or not _same(found[0], told, stage.releases.rows[call.row], f"{call.number + 1:032x}"):
            wrong.append(f"{told} is in the log {len(found)} times, as {found[0]}")
    for one in chain(*stage.strangers.values()):
        if one.status == 200:
            acknowledged += 1
            found = records.get(json.loads(one.body)["id"], [])
            if len(found) != 1:
                wrong.append(f"{one.body!r} is in the log {len(found)} times")
    twice = sum(len(found) > 1 for found in records.values())
    text = f"of {acknowledged:,}: {len(missing):,} missing, {stage.dropped:,} counted as dropped"
    text += f"; {twice} twice; {len(wrong)} otherwise"
    return Question(
        "acknowledged predictions are in the log, once and as answered",
        text,
        len(missing) == stage.dropped and not twice and not wrong,
        [*wrong[:_SHOWN], *(f"missing: {c.answer}" for c in missing[:_SHOWN] if len(missing) != stage.dropped)],
    )


def _same(record: Record, told: dict[str, Any], row: dict[str, Any], trace: str) -> bool:
    (answer,) = record.answers
    return (
        record.rows == [row]
        and record.trace == trace
        and record.bundle.startswith(told["bundle"])
        and answer == {name: told[name] for name in _ANSWER if name in told}
    )


def _versions(stage: Stage, calls: list[Call]) -> Question:
    """Every answer names a version that was the one to answer then, and is what that version answers."""
    releases = stage.releases
    names = {short: version for version, short in releases.hashes.items()}
    rule = Rule.parse(releases.rule)
    wrong: list[str] = []
    by: Counter[str] = Counter()
    for call in calls:
        if not call.good:
            continue
        told = json.loads(call.answer)
        by[told["served_by"]] += 1
        version = names.get(told["bundle"], 0)
        then = [s for s in stage.served if s.version == version and s.began <= call.done and call.sent <= s.ended]
        if not then:
            wrong.append(f"at {call.done - stage.began:.1f} s version {version} answered")
        elif not _answers(releases, version, told, releases.rows[call.row], call.row, rule):
            wrong.append(f"version {version} answered {told} to row {call.row}")
    shares = ", ".join(f"{source} {count:,}" for source, count in by.most_common())
    return Question(
        "answers are of the version released then, and what it answers",
        f"{len(wrong):,} otherwise of {sum(by.values()):,} ({shares})",
        not wrong,
        wrong[:_SHOWN],
    )


def _answers(
    releases: Releases, version: int, told: dict[str, Any], row: dict[str, Any], number: int, rule: Rule
) -> bool:
    if told["served_by"] == "rule":
        return bool(told["prediction"] == ("yes" if rule.evaluate(row) else "no"))
    # What a faulty version answers, and what the version before it does, is what the second one answers.
    expected = releases.answers[releases.hashes[releases.model_of(version)]][number]
    if told["served_by"] == "model" and releases.bad(version, row):
        return False
    return abs(told["probabilities"]["yes"] - expected) <= _CLOSE


def _healthy(judged: Judged) -> Question:
    failed = [call for call in judged.calls if call.number in judged.failed]
    kinds = Counter(str(call.status) if call.status else call.tries[-1][2] for call in failed)
    with_worker = judged.with_worker.total()
    text = f"{len(failed):,} failed{f' {dict(kinds)}' if kinds else ''}"
    text += f"; {with_worker} tries broke with a killed process, and were made again"
    return Question(
        "no request to a healthy worker fails",
        text,
        not failed,
        [f"{call.status} {call.tries} {call.answer[:200]}" for call in failed[:_SHOWN]],
    )


def _in_time(stage: Stage, judged: Judged, text: str, among: Any = lambda moment: True) -> Question:
    calls = [call for call in judged.calls if call.number not in judged.apart and among(call.due)]
    late = [call for call in calls if not call.good or call.seconds > SECONDS]
    share = 1 - len(late) / len(calls) if calls else 0.0
    found = f"{100 * share:.3f} % of {len(calls):,}, {len(late):,} late or not"
    return Question(text, found, share >= BAR, [_together(stage, calls) for calls in _stretches(late)], timed=True)


def _stretches(late: list[Call]) -> list[list[Call]]:
    """Return late requests that were due close to each other together."""
    found: list[list[Call]] = []
    for call in late:
        if found and call.due - found[-1][-1].due < _TOGETHER:
            found[-1].append(call)
        else:
            found.append([call])
    return found


def _together(stage: Stage, late: list[Call]) -> str:
    first = late[0].due
    window = next((w.name for w in stage.windows if w.began <= first <= w.ended), "nothing broken")
    worst, sent = max(call.seconds for call in late), max(call.tries[0][0] - call.due for call in late)
    return (
        f"at {first - stage.began:.1f} s ({window}): {len(late)}, {1e3 * worst:.0f} ms at most; "
        f"the callers themselves were {1e3 * sent:.0f} ms late"
    )


def _strangers(stage: Stage) -> Question:
    """Strangers are refused as documented, answered right, or let go."""
    wrong = [_shown(one) for one in stage.strangers["malformed"] if not _right(stage, one)]
    wrong += [_shown(one) for one in stage.strangers["oversized"] if one.status != 413]
    expected = {"mute": 0, "slow head": 0, "slow body": 408}
    wrong += [_shown(one) for one in stage.strangers["slow"] if one.status != expected[one.kind]]
    count = sum(len(told) for name, told in stage.strangers.items() if name != "met")
    return Question(
        "malformed, oversized and endless requests get what is documented",
        f"{len(wrong):,} otherwise of {count:,}",
        not wrong,
        wrong[:_SHOWN],
    )


def _shown(one: Told) -> str:
    return f"{one.kind}: {one.status} {one.body[:200]!r} to {one.sent[:200]!r}"


def _right(stage: Stage, one: Told) -> bool:
    """Say whether a malformed body was refused with a problem that is documented, or rightly answered after all."""
    if one.status in (400, 422):
        problem = json.loads(one.body)
        return (
            problem["status"] == one.status and bool(problem["detail"]) and b"connection: close" not in one.head.lower()
        )
    if one.status != 200:
        return False
    told = json.loads(one.body)
    bundle = _loaded(stage, told["bundle"])
    try:
        sent = json.loads(one.sent)
        rows, answers = sent.get("instances", [sent]), told.get("predictions", [told])
        checked = [bundle.schema.check_row(row) for row in rows]
    except (ValueError, RowError):
        return False
    expected = [float(probabilities[1]) for probabilities in bundle.predict_rows(checked)]
    return len(answers) == len(expected) and all(
        answer["served_by"] == "model" and abs(answer["probabilities"]["yes"] - value) <= _CLOSE
        for answer, value in zip(answers, expected, strict=True)
    )


@cache
def _bundle(folder: Path) -> Any:
    return load_bundle(folder)


def _loaded(stage: Stage, short: str) -> Any:
    (version,) = [v for v, known in stage.releases.hashes.items() if known == short]
    return _bundle(stage.releases.folders[version])


def _id(call: Call) -> str:
    return str(msgspec.json.decode(call.answer, type=dict)["id"])


def _worker(id: str) -> str:
    return id.rpartition("-")[0]
