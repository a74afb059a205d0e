"""Releases: what register, promote and rollback need of a run, gathered from the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelyard.bundle.compatible import breaking
from modelyard.bundle.latency import Timing
from modelyard.bundle.load import load_bundle
from modelyard.core.canonical import from_json
from modelyard.core.errors import ModelyardError
from modelyard.data.finding import Finding
from modelyard.evaluation.store import load_report
from modelyard.flow.compare import gain
from modelyard.flow.workspace import Workspace
from modelyard.registry.gates import better_than_production, compatible
from modelyard.registry.mirror import reflect
from modelyard.registry.register import register, whoever
from modelyard.registry.release import Event, Gate, Release, Stage
from modelyard.registry.store import Registry


@dataclass(frozen=True, slots=True)
class Moved:
    """A release where it now stands, what the gates said, and what the mirror could not do."""

    release: Release
    gates: tuple[Gate, ...]
    mirror: str


def register_run(yard: Workspace, word: str, by: str | None = None) -> Moved:
    """Enter a run's bundle in the registry, with the answers of its gates.

    Parameters
    ----------
    yard : Workspace
    word : str
        A run's id or name, or "last".
    by : str, optional
        Who enters it; default the user of this machine.

    Raises
    ------
    ModelyardError
        If there is no such run, or its bundle is damaged.
    """
    record = yard.find(word)
    folder = yard.folder(record)
    bundle = load_bundle(folder / "bundle")
    registry = Registry(yard.registry)
    release = register(
        bundle,
        load_report(folder / "report.json"),
        registry=registry,
        latency=load_timing(folder),
        findings=load_findings(folder),
        by=by or whoever(),
    )
    return Moved(release, _last_gates(registry, release), _mirror(yard, release))


def promote_release(
    yard: Workspace,
    release: Release,
    to: Stage | None,
    *,
    by: str | None = None,
    approved_by: str | None = None,
    why: str | None = None,
) -> Moved:
    """Move a release on, after comparing it with the one in production on the same rows.

    Raises
    ------
    GateFailed, Undecided
        If a gate says no, or cannot say and nobody approves.
    RegistryError
        If the stages do not allow the move.
    """
    registry = Registry(yard.registry)
    present = registry.current(release.name)
    rival = present if present is not None and present.version != release.version else None
    moved = registry.promote(
        release.name,
        release.version,
        to,
        by=by or whoever(),
        gates=(_against_production(yard, release, rival), _compatible(release, rival)),
        approved_by=approved_by,
        why=why,
        against=None if rival is None else rival.version,
    )
    if moved.stage == "production" and rival is not None:
        _end_rollout(yard, rival, moved, by)
    return Moved(moved, _last_gates(registry, moved), _mirror(yard, moved))


def roll_back(yard: Workspace, name: str, *, by: str | None = None, why: str = "") -> Moved:
    """Put the production release before the present one back.

    Raises
    ------
    RegistryError
        If there is none to go back to.
    """
    registry = Registry(yard.registry)
    present = registry.current(name)
    release = registry.rollback(name, by=by or whoever(), why=why)
    if present is not None:
        _end_rollout(yard, present, release, by)
    return Moved(release, (), _mirror(yard, release))


def deprecate_release(
    yard: Workspace,
    release: Release,
    *,
    since: datetime | None = None,
    sunset: datetime | None = None,
    undo: bool = False,
    by: str | None = None,
    why: str = "",
) -> Release:
    """Say from when a release is deprecated and when it ends, or take that back.

    Raises
    ------
    RegistryError
        If it would end before it is deprecated.
    """
    begins = None if undo else since or datetime.now(UTC)
    return Registry(yard.registry).deprecate(
        release.name, release.version, since=begins, sunset=sunset, by=by or whoever(), why=why
    )


def history_lines(events: tuple[Event, ...]) -> list[str]:
    """Return what happened, a line each, with the gates that did not pass below."""
    lines = []
    for e in events:
        move = f"{e.before or '-'} -> {e.after or '-'}"
        lines.append(f"{e.at}  {e.name} {e.version:<3} {e.action:<9} {move:<28} by {e.by}  {e.note}".rstrip())
        lines += [f"{'':<22}{g.name}: {g.answer}, {g.why}" for g in e.gates if g.answer != "pass"]
    return lines


def load_timing(folder: Path) -> Timing | None:
    """Return how fast a run's packed bundle answered, or None where it was not measured."""
    path = folder / "latency.json"
    return from_json(path.read_bytes(), Timing) if path.is_file() else None


def load_findings(folder: Path) -> tuple[Finding, ...]:
    """Return what a run saw in its data."""
    return from_json((folder / "findings.json").read_bytes(), tuple[Finding, ...])


def _mirror(yard: Workspace, release: Release) -> str:
    """Show a release in MLflow's registry; where that fails the move stands, and it is said."""
    from modelyard.adapters.mlflow_registry import MLflowMirror

    return reflect(MLflowMirror(yard.root), release, Registry(yard.registry).releases(release.name))


def _end_rollout(yard: Workspace, gone: Release, release: Release, by: str | None) -> None:
    """Have no rollout go on beside what is gone, or with it where it had promoted that over what answers again."""
    from modelyard.serving.rollout.control import FOLDER, end, move
    from modelyard.serving.rollout.rollout import OPEN
    from modelyard.serving.rollout.store import Rollouts

    folder = yard.root / FOLDER
    if not folder.is_dir():
        return
    last = Rollouts(folder).last(release.name)
    if last is None:
        return
    who = by or whoever()
    if last.state == "promoted" and (last.candidate.hash, last.stable.hash) == (gone.hash, release.hash):
        move(folder, release.name, "rollback", who)
    elif last.state in OPEN and last.stable.hash == gone.hash:
        why = f"version {release.version} took the place of version {gone.version} in production"
        end(folder, last, why, who)


def _last_gates(registry: Registry, release: Release) -> tuple[Gate, ...]:
    return registry.history(release.name, release.version)[-1].gates


def _compatible(release: Release, rival: Release | None) -> Gate:
    """Compare what callers send, ask for and are answered with what production takes and answers."""
    if rival is None:
        return compatible(None, None)
    try:
        before, after = (load_bundle(one.bundle) for one in (rival, release))
    except ModelyardError:
        return compatible(rival, None)
    return compatible(rival, breaking(before, after))


def _against_production(yard: Workspace, release: Release, rival: Release | None) -> Gate:
    """Compare with production on rows that neither has learnt from."""
    if rival is None:
        return better_than_production(None, None)
    try:
        found, n, why = gain(yard, yard.find(release.run), yard.find(rival.run))
    except ModelyardError as error:
        return better_than_production(rival, None, missing=error.what)
    return better_than_production(rival, found, n=n, missing=why)
