"""A report on disk: JSON, in which an undefined figure is null."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.canonical import from_json, pretty_json
from modelyard.core.errors import WorkspaceError
from modelyard.core.files import write_atomic
from modelyard.evaluation.report import Report


def save_report(report: Report, path: Path) -> Path:
    """Write a report.

    Raises
    ------
    WorkspaceError
        If the folder cannot be written.
    """
    return write_atomic(path, pretty_json(report))


def load_report(path: Path) -> Report:
    """Read a report.

    Raises
    ------
    WorkspaceError
        If there is none, or it is damaged.
    """
    try:
        plain: dict[str, Any] = from_json(path.read_bytes(), dict)
        return msgspec.convert(_with_nan(plain, Report), Report)
    except FileNotFoundError:
        raise WorkspaceError(
            "There is no report here.", where=str(path), do="Run develop with its brief again."
        ) from None
    except msgspec.MsgspecError as error:
        raise WorkspaceError("The report is damaged.", where=f"{path}: {error}", do="Run develop again.") from error


def _with_nan(plain: Any, kind: Any) -> Any:
    """Put NaN back where a float has become null, and leave null where it was meant."""
    if kind is float:
        return float("nan") if plain is None else plain
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(plain, dict):
        hints = typing.get_type_hints(kind)
        return {key: _with_nan(value, hints.get(key)) for key, value in plain.items()}
    if typing.get_origin(kind) is tuple and isinstance(plain, list):
        return [_with_nan(value, typing.get_args(kind)[0]) for value in plain]
    if typing.get_origin(kind) in (types.UnionType, typing.Union) and plain is not None:
        kinds = [k for k in typing.get_args(kind) if k is not type(None)]
        return _with_nan(plain, kinds[0]) if len(kinds) == 1 else plain
    return plain
