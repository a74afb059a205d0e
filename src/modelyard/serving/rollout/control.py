"""control: starts a rollout and moves it by hand; what the command line and the server's own interface share."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.compatible import breaking
from modelyard.bundle.load import load_bundle
from modelyard.core.canonical import to_plain
from modelyard.core.errors import ServingError
from modelyard.serving.rollout.ab import Outcome, outcome
from modelyard.serving.rollout.board import Board
from modelyard.serving.rollout.decide import moved
from modelyard.serving.rollout.released import check_gates, number_of
from modelyard.serving.rollout.rollout import Arm, Plan, Rollout
from modelyard.serving.rollout.store import Rollouts
from modelyard.serving.rollout.times import times_lines

FOLDER = "rollouts"
"""Of a workspace: where rollouts and boards lie."""
_LATE = 10.0
"""Seconds that a look may be late: a server loads and warms a candidate before the first."""


def start(
    folder: Path,
    plan: Plan,
    stable: tuple[str, Bundle],
    candidate: str,
    by: str,
    *,
    approved_by: str | None = None,
    why: str | None = None,
) -> Rollout:
    """Enter a rollout of one bundle beside another; servers that serve the first load the second and begin.

    Parameters
    ----------
    folder : path
        Where rollouts lie.
    plan : Plan
        What is settled beforehand.
    stable : (str, Bundle)
        Path and bundle of what serves.
    candidate : str
        Path of the bundle that is to.
    by : str
        Who starts it.
    approved_by, why : str, optional
        The person who decides where the registry's gates of the candidate are inconclusive, and the reason. Both are
        written down.

    Raises
    ------
    BundleError
        If a bundle is damaged.
    ServingError
        If the candidate does not answer what the stable one does, or a rollout is open.
    GateFailed, Undecided
        If a gate of the candidate said no, or could not say and nobody approves.
    """
    new = load_bundle(candidate)
    _check_compatible(stable[1], new)
    approved = bool(approved_by and why)
    if plan.kind != "shadow":  # which answers nobody
        check_gates(folder, new, approved=approved)
    old, arm = (
        Arm(str(Path(path).absolute()), bundle.hash, number_of(folder, bundle))
        for path, bundle in (stable, (candidate, new))
    )
    said = f"started, approved by {approved_by}: {why}" if approved else "started"
    return Rollouts(folder).start(new.manifest.name, plan, old, arm, by, why=said)


def move(folder: Path, name: str, action: str, by: str) -> Rollout:
    """Move the newest rollout of a use case: pause, resume, promote or rollback.

    Requests follow at once, whatever the server's workers are doing: the share stands on the board.

    Raises
    ------
    ServingError
        If there is none, or it cannot be moved so.
    """
    store = Rollouts(folder)
    return _settle(store, moved(newest(store, name), action, by, time.time()), by)


def end(folder: Path, rollout: Rollout, why: str, by: str) -> None:
    """End an open rollout that has nothing left to compare with, unless somebody else has ended it already.

    Parameters
    ----------
    folder : path
        Where rollouts lie.
    rollout : Rollout
        Which one.
    why, by : str
        What is written down, and whose doing it is.
    """
    with suppress(ServingError):
        _settle(Rollouts(folder), replace(rollout, state="ended", changed=time.time(), why=why), by)


def _settle(store: Rollouts, after: Rollout, by: str) -> Rollout:
    """Have requests follow where a rollout stands now, and write it down."""
    board = Board(store.folder, after.name)
    try:
        if board.rollout == after.id:
            if after.state in ("rolled_back", "ended"):
                board.tripped = True  # first of all, and for good: a look under way may yet set the share it has read
            elif after.share == 0:
                board.share = 0.0
            store.move(after, by)
            if after.state == "promoted":
                board.tripped = False  # a person promotes whatever was shown
            board.share = after.share
        else:
            store.move(after, by)
    finally:
        board.close()
    return after


def newest(store: Rollouts, name: str) -> Rollout:
    """Return the newest rollout of a use case.

    Raises
    ------
    ServingError
        If there is none.
    """
    rollout = store.last(name)
    if rollout is None:
        known = sorted({r.name for r in store.all()})
        raise ServingError(
            f"'{name}' has no rollout.",
            allowed=f"There are some of: {', '.join(known)}." if known else None,
            do="Start one: modelyard rollout start STABLE CANDIDATE",
        )
    return rollout


def status(store: Rollouts, rollout: Rollout) -> dict[str, Any]:
    """Return where a rollout stands, with its last look and every decision, as plain values."""
    last: dict[str, Any] | None = next(iter(store.looks(rollout.id, newest=1)), None)
    since = max(rollout.changed, last["at"] if last else 0.0)
    return {
        **to_plain(rollout),
        "share": rollout.share,
        "looks": store.count_looks(rollout.id),
        "unwatched": rollout.state in ("running", "held") and time.time() - since > 2 * rollout.plan.look + _LATE,
        "last": None if last is None else {**last, "readings": [to_plain(r) for r in last["readings"]]},
        "decisions": store.decisions(rollout.id),
    }


def outcome_of_file(rollout: Rollout, path: Path) -> Outcome:
    """Answer an A/B test from a file of outcomes: key, value, and where known before and variant.

    Raises
    ------
    ServingError
        If the file is not such a one.
    """
    import polars as pl  # a server that does not read outcomes need not load it here

    try:
        # As text: of a key such as 007 every character counts, as the server's hash went by them.
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
        rows = frame.with_columns(pl.col("key").cast(pl.String), pl.col("value").cast(pl.Float64)).drop_nulls(
            ["key", "value"]
        )
        before = rows["before"].cast(pl.Float64).fill_null(strategy="mean").to_numpy() if "before" in rows else None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ServingError(
            f"The outcomes cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            allowed="CSV or Parquet with the columns key and value, and where known before and variant.",
        ) from error
    variants = dict(zip(rows["key"], rows["variant"], strict=True)) if "variant" in rows else None
    return outcome(rollout, rows["key"].to_list(), rows["value"].to_numpy(), before, variants=variants, now=time.time())


def _check_compatible(old: Bundle, new: Bundle) -> None:
    """Refuse a candidate that cannot answer the requests the stable one answers, in the same form."""
    if old.manifest.name != new.manifest.name:
        raise ServingError(
            f"The candidate is a model of '{new.manifest.name}', the stable one of '{old.manifest.name}'.",
            allowed="Both are of one use case.",
            do="Name another bundle.",
        )
    broken = breaking(old, new)
    if broken:
        raise ServingError(
            "The candidate cannot answer the requests that the stable version answers.",
            where="; ".join(broken),
            allowed="Callers go on as they are.",
            do="Serve it under a name of its own.",
        )


def status_lines(shown: dict[str, Any]) -> list[str]:
    """Return a status as lines of text."""
    plan = shown["plan"]
    lines = [
        f"Rollout {shown['id']} of {shown['name']}: {plan['kind']}, "
        f"{shown['state'].replace('_', ' ')} ({shown['why']})",
        *(f"  {arm:<11}{_named(shown[arm])}  {shown[arm]['path']}" for arm in ("stable", "candidate")),
        f"  {'step':<11}{shown['step'] + 1} of {len(plan['steps'])}, {shown['share']:.0%} of requests, "
        f"{shown['looks']} looks",
    ]
    if shown["unwatched"]:
        why = "no server of the stable version runs with this workspace, or it cannot write here"
        lines.append(f"  {'no look':<11}is made: {why}")
    last = shown["last"]
    if last is not None:
        lines.append(f"  {'last look':<11}{last['decision']}: {last['why']}")
        for r in last["readings"]:
            seen = "no data" if r["missing"] else f"n = {r['requests']}, x = {r['events']}"
            apart = "" if r["difference"] is None else f", scores {r['difference']:.3g} apart in the mean"
            lines.append(f"    {r['metric']:<25}{seen:<22}log e {r['log_e']:.2f} of {r['needed']:.2f}{apart}")
            lines += times_lines(r["times"])
    return lines


def _named(arm: dict[str, str]) -> str:
    number = f"version {arm['number']}, " if arm["number"] else ""
    return f"{number}{arm['hash'][:12]}"
