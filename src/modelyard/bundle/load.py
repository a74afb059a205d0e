"""Loading a bundle: every file is checked before it is used, and no training library is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.bundle.archive import unpack
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.manifest import Manifest
from modelyard.bundle.runtimes import arrays, onnx
from modelyard.bundle.runtimes.runtime import Runtime
from modelyard.bundle.verify import check_files, checked_bytes, read_manifest
from modelyard.core.canonical import from_json
from modelyard.core.errors import BundleError
from modelyard.core.files import exists
from modelyard.data.schema import Schema
from modelyard.uncertainty.uncertainty import FILE, Uncertainty

__all__ = ["Bundle", "load_bundle"]


def load_bundle(path: str | Path, *, threads: int = 1) -> Bundle:
    """Load a bundle and check every byte of it.

    Parameters
    ----------
    path : path
        Its folder, or its ``.tar.gz``, which is unpacked into a temporary folder.
    threads : int
        Threads one call may use. One is fastest for single rows; batches gain from more.

    Returns
    -------
    Bundle
        Ready to answer.

    Raises
    ------
    BundleError
        Naming the file that is missing, changed, cut short, or of a format this version does not read.
    """
    source = Path(path).absolute()
    if not exists(source):
        raise BundleError(
            f"There is no bundle '{path}'.", where=str(source), allowed="A bundle's folder or its .tar.gz."
        )
    folder = source if source.is_dir() else unpack(source)
    manifest, identity = read_manifest(folder)
    check_files(folder, manifest.files)
    runtime = _runtime(folder, manifest, threads)
    return Bundle(folder, manifest, identity, runtime, _labels(manifest.schema), _uncertainty(folder, manifest))


def _runtime(folder: Path, manifest: Manifest, threads: int) -> Runtime:
    if manifest.runtime == "arrays":
        return arrays.ArraysRuntime(checked_bytes(folder, arrays.FILE, manifest.files), manifest.schema)
    graph = checked_bytes(folder, onnx.FILE, manifest.files)
    return onnx.OnnxRuntime(graph, manifest.encoding, max(1, len(manifest.schema.classes)), threads)


def _uncertainty(folder: Path, manifest: Manifest) -> Uncertainty | None:
    """Return what the bundle holds beside its model: nothing for a forecast, or in one packed before that."""
    if FILE not in manifest.files:
        return None
    try:
        return from_json(checked_bytes(folder, FILE, manifest.files), Uncertainty)
    except msgspec.MsgspecError as error:
        raise BundleError(
            f"The bundle's file '{FILE}' cannot be read.", where=str(error), do="Pack the model again."
        ) from error


def _labels(schema: Schema) -> NDArray[Any] | None:
    """Return the classes in the label's own type: an integer label answers ``1``, not ``"1"``."""
    if not schema.classes:
        return None
    physical = schema.label.physical if schema.label is not None else "string"
    if physical == "integer":
        return np.array([int(float(name)) for name in schema.classes], dtype=np.int64)
    if physical == "float":
        return np.array([float(name) for name in schema.classes], dtype=np.float64)
    if physical == "boolean":
        return np.array([name.lower() in {"true", "1"} for name in schema.classes], dtype=np.bool_)
    return np.array(schema.classes, dtype=np.str_)
