"""What a user may call a bundle: its folder, its archive, its run, or its release."""

from __future__ import annotations

from pathlib import Path

from modelyard.core.errors import RegistryError, WorkspaceError
from modelyard.core.files import exists
from modelyard.flow.workspace import Record, Workspace
from modelyard.registry.release import STAGES, Release
from modelyard.registry.store import Registry


def find_bundle(word: str, workspace: Path | str | None) -> Path:
    """Return the folder or archive of a bundle.

    Parameters
    ----------
    word : str
        A path; a run's id or name, or "last"; or a release as ``name`` (its production version, else its newest),
        ``name@3`` or ``name@staging``.
    workspace : path or None
        Where runs and releases are looked up.

    Raises
    ------
    WorkspaceError
        If nothing is called so.
    """
    path = Path(word)
    if exists(path):
        # A run's folder is as good as the bundle in it.
        return path / "bundle" if (path / "bundle" / "manifest.json").is_file() else path
    yard = Workspace.open(workspace)
    try:
        return Path(find_release(word, yard).bundle)
    except RegistryError:
        pass
    try:
        record = yard.find(word)
    except WorkspaceError as error:
        raise WorkspaceError(
            f"No bundle, run or release is called '{word}'.",
            where=str(yard.root),
            allowed="A bundle's folder or .tar.gz, a run's id, a release's name, name@version or name@stage.",
            do=error.do,
        ) from None
    bundle = yard.folder(record) / "bundle"
    if not (bundle / "manifest.json").is_file():
        raise WorkspaceError(
            f"Run '{record.id}' has no bundle: it is {record.status}.", do="Run develop with its brief again."
        )
    return bundle


def find_served(word: str, workspace: Path | str | None) -> tuple[Path, Release, bool] | None:
    """Return the registry, the release that a server is to start with, and whether it stays with that version.

    Parameters
    ----------
    word : str
        ``name`` or ``name@production``, whose next production release is taken up; a version or another stage, which
        stays; a run or a path, which are in no registry: None.
    workspace : path or None
        Where releases are looked up.
    """
    if exists(Path(word)):
        return None
    yard = Workspace.open(workspace)
    try:
        return yard.registry, find_release(word, yard), word.partition("@")[2] not in ("", "production")
    except RegistryError:
        return None


def find_run(word: str, yard: Workspace) -> Record:
    """Return a run by its id or name, "last", or the name of a release made of it.

    Raises
    ------
    WorkspaceError
        If there is none.
    """
    try:
        return yard.find(word)
    except WorkspaceError as error:
        try:
            return yard.find(find_release(word, yard).run)
        except RegistryError:
            raise error from None


def find_release(word: str, yard: Workspace) -> Release:
    """Return a release by ``name``, ``name@version`` or ``name@stage``.

    Raises
    ------
    RegistryError
        If there is none.
    """
    registry = Registry(yard.registry)
    name, _, which = word.partition("@")
    versions = registry.releases(name)
    if not versions:
        raise RegistryError(
            f"No release is called '{name}'.", where=str(yard.registry), do="Enter one: modelyard register RUN"
        )
    if not which:
        live = [r for r in versions if r.stage == "production"]
        return max(live or versions, key=lambda r: r.version)
    chosen = [r for r in versions if which in (str(r.version), r.stage)]
    if not chosen:
        raise RegistryError(
            f"'{name}' has no version or stage '{which}'.",
            where=str(yard.registry),
            allowed=f"Versions {', '.join(str(r.version) for r in versions)}; stages {', '.join(STAGES)}.",
        )
    return max(chosen, key=lambda r: r.version)


def find_movable(word: str, yard: Workspace) -> Release:
    """Return the release a move is about: as `find_release`, but without a version the newest not in production.

    Raises
    ------
    RegistryError
        If there is none.
    """
    if "@" in word:
        return find_release(word, yard)
    waiting = [r for r in Registry(yard.registry).releases(word) if r.stage in ("development", "staging")]
    return max(waiting, key=lambda r: r.version) if waiting else find_release(word, yard)
