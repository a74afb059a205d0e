"""Copying a bundle: what its manifest lists and nothing else, so that no stray file travels along."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from modelyard.bundle.verify import MANIFEST, SEAL, check_files, read_manifest
from modelyard.core.files import guarded


def copy_bundle(source: Path, target: Path) -> Path:
    """Copy the manifest, its seal and every listed file of a bundle; a folder that is there already is replaced.

    Parameters
    ----------
    source : Path
        The bundle's folder.
    target : Path
        Where the copy goes; where it is the bundle itself, nothing is done.

    Returns
    -------
    Path
        The target.

    Raises
    ------
    BundleError
        If a listed file is missing or was changed.
    WorkspaceError
        If the copy cannot be written.
    """
    manifest, _ = read_manifest(source)
    check_files(source, manifest.files)
    if target.resolve() == source.resolve():
        return target
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with guarded(target):
        try:
            for name in (*manifest.files, MANIFEST, SEAL):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, part / name)
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return target
