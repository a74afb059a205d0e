"""Writing a bundle's folder and archive from its parts: the half of packing that knows nothing of training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from modelyard.bundle.archive import write_archive
from modelyard.bundle.bom import bill_of_materials
from modelyard.bundle.manifest import Manifest
from modelyard.bundle.mlmodel import mlmodel_files
from modelyard.bundle.verify import MANIFEST, SEAL, checked_bytes, read_manifest, seal
from modelyard.core.canonical import bytes_hash, pretty_json
from modelyard.core.files import guarded, write_atomic
from modelyard.data.profile import Profile
from modelyard.families.fitted import Export
from modelyard.uncertainty.uncertainty import FILE, Uncertainty

ANSWERING = ("modelyard", "msgspec", "numpy", "onnxruntime", "polars", "pyarrow", "pandas", "mlflow", "pyyaml")
"""Packages a bundle answers with, through this package or through MLflow."""


def write_bundle(
    folder: Path,
    draft: Manifest,
    export: Export,
    *,
    profile: Profile,
    card: str,
    examples: Sequence[Mapping[str, Any]],
    uncertainty: Uncertainty | None = None,
) -> Path:
    """Write a bundle's folder, whole or not at all, and its ``.tar.gz`` beside it.

    Parameters
    ----------
    folder : Path
        Where; a bundle that is there already is replaced.
    draft : Manifest
        Everything but the hashes of the files.
    export : Export
        The model's files.
    profile : Profile
        Reference for monitoring: what the rows and the predictions looked like.
    card : str
        The model card, Markdown.
    examples : sequence of mapping
        A few rows a user can send; nobody's own.
    uncertainty : Uncertainty, optional
        How sure its answers are.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    WorkspaceError
        If it cannot be written.
    """
    versions = answering_versions()
    files: dict[str, bytes] = {
        **export.files,
        **mlmodel_files(draft.schema, versions),
        "profile.json": pretty_json(profile),
        "model-card.md": card.encode(),
        "examples.json": pretty_json(list(examples)),
    }
    if uncertainty is not None:
        files[FILE] = pretty_json(uncertainty)
    hashes = {name: bytes_hash(content) for name, content in files.items()}
    files["bom.cdx.json"] = bill_of_materials(replace(draft, files=hashes), versions)
    manifest = replace(draft, files={name: bytes_hash(content) for name, content in files.items()})
    return _write(folder, manifest, files)


def with_file(source: Path, name: str, content: bytes, target: Path) -> Path:
    """Write a bundle again with one file more, or another content of it: another bundle, with another hash.

    Parameters
    ----------
    source : Path
        The bundle's folder.
    name : str
        The file.
    content : bytes
        What it is to hold.
    target : Path
        Where the new bundle goes; it may be the same folder.

    Raises
    ------
    BundleError
        If the bundle is damaged.
    WorkspaceError
        If it cannot be written.
    """
    manifest, _ = read_manifest(source)
    files = {held: checked_bytes(source, held, manifest.files) for held in manifest.files}
    files[name] = content
    return _write(target, replace(manifest, files={**manifest.files, name: bytes_hash(content)}), files)


def _write(folder: Path, manifest: Manifest, files: dict[str, bytes]) -> Path:
    sealed = replace(manifest, files=dict(sorted(manifest.files.items())))
    files[MANIFEST] = pretty_json(sealed)
    files[SEAL] = seal(files[MANIFEST])
    target = folder.absolute()
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with guarded(target):
        try:
            for name, content in files.items():
                write_atomic(part / name, content)
            if target.exists():
                shutil.rmtree(target)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    write_archive(target, target.with_name(f"{target.name}.tar.gz"), manifest.name)
    return target


def answering_versions() -> dict[str, str]:
    """Return the installed versions of the packages a bundle answers with."""
    found = {}
    for name in ANSWERING:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
