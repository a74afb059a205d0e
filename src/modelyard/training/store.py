"""Fitted candidates and runs on disk: JSON, arrays and texts, whole or not at all, nothing pickled."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from modelyard.core.canonical import from_json, pretty_json, to_plain
from modelyard.core.errors import WorkspaceError
from modelyard.core.files import guarded, write_atomic
from modelyard.data.dataset import Dataset
from modelyard.families.fitted import Blend, Candidate, Curve, Fitted, Link
from modelyard.selection.plan import Plan
from modelyard.training.run import NOTHING_SEEN, Diagnostics, Entry, Run

STEPS = "steps"
"""Folder, in a run's folder, of finished candidates and trials."""
_RUN = "training.json"
_LEADERBOARD = "leaderboard.json"
_ANSWERS = "answers.npy"
_FITTED = "fitted.json"
_ARRAY = "array."  # so that no array is called as one of savez's own arguments


@dataclass(frozen=True, slots=True)
class _FittedRecord:
    candidate: Candidate
    facts: dict[str, Any]
    rounds: tuple[int, ...]
    seconds: float
    curves: tuple[_CurveRecord, ...]
    texts: dict[str, str]
    whole: tuple[int, ...] = ()
    whole_seconds: float = 0.0
    microseconds: float = 0.0
    own_bytes: float = 0.0
    shared_bytes: float = 0.0
    shared_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _CurveRecord:
    fold: int
    steps: tuple[int, ...]
    train: tuple[float | None, ...]
    validation: tuple[float | None, ...]
    unit: str = "step"


@dataclass(frozen=True, slots=True)
class _EntryRecord:
    name: str
    title: str
    parameters: dict[str, Any]
    score: float | None
    weight: float
    seconds: float
    note: str
    microseconds: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Member:
    folder: str
    weight: float


@dataclass(frozen=True, slots=True)
class _RunRecord:
    name: str
    id: str
    plan: Plan
    members: tuple[_Member, ...]
    link: Link
    scale: float
    offset: tuple[float, ...]
    score: float | None
    seconds: float
    environment: dict[str, str]
    commit: str | None
    tracking: dict[str, str]
    diagnostics: Diagnostics = NOTHING_SEEN


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a folder whole or not at all: beside the folder it belongs in, then renamed into it.

    Raises
    ------
    WorkspaceError
        If it cannot be written.
    """
    beside = target.parent.parent / f".{target.name}.{os.getpid()}.part"
    with guarded(target):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            yield beside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            beside.rename(target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def save_fitted(fitted: Fitted, folder: Path) -> Path:
    """Write a fitted candidate into a folder: ``fitted.json``, ``arrays.npz``, ``scores.npy``, ``texts/``.

    Raises
    ------
    WorkspaceError
        If the folder cannot be written.
    """
    names = {name: f"texts/{i:03d}.txt" for i, name in enumerate(sorted(fitted.texts))}
    curves = tuple(
        _CurveRecord(c.fold, c.steps, tuple(map(_known, c.train)), tuple(map(_known, c.validation)), c.unit)
        for c in fitted.curves
    )
    record = _FittedRecord(
        fitted.candidate,
        dict(fitted.facts),
        fitted.rounds,
        fitted.seconds,
        curves,
        names,
        fitted.whole,
        fitted.whole_seconds,
        fitted.microseconds,
        fitted.own_bytes,
        fitted.shared_bytes,
        fitted.shared_seconds,
    )
    write_atomic(folder / "arrays.npz", _npz(fitted.arrays))
    write_atomic(folder / "scores.npy", _npy(fitted.scores))
    for name, path in names.items():
        write_atomic(folder / path, fitted.texts[name])
    write_atomic(folder / _FITTED, pretty_json(record))
    return folder


def load_fitted(folder: Path) -> Fitted:
    """Read a fitted candidate back.

    Raises
    ------
    WorkspaceError
        If a file is missing or damaged.
    """
    with _damaged(folder):
        record = from_json((folder / _FITTED).read_bytes(), _FittedRecord)
        # From memory: a torn file would be left open.
        with np.load(io.BytesIO((folder / "arrays.npz").read_bytes()), allow_pickle=False) as arrays:
            held = {name.removeprefix(_ARRAY): arrays[name] for name in arrays.files}
        return Fitted(
            candidate=record.candidate,
            facts=record.facts,
            arrays=held,
            texts={name: (folder / path).read_text(encoding="utf-8") for name, path in record.texts.items()},
            scores=np.load(folder / "scores.npy", allow_pickle=False),
            rounds=record.rounds,
            seconds=record.seconds,
            curves=tuple(
                Curve(c.fold, c.steps, tuple(map(_value, c.train)), tuple(map(_value, c.validation)), c.unit)
                for c in record.curves
            ),
            whole=record.whole,
            whole_seconds=record.whole_seconds,
            microseconds=record.microseconds,
            own_bytes=record.own_bytes,
            shared_bytes=record.shared_bytes,
            shared_seconds=record.shared_seconds,
        )


def save_run(run: Run, folder: Path) -> Path:
    """Write a run into its folder: ``training.json``, ``leaderboard.json``, ``answers.npy`` and its members.

    Raises
    ------
    WorkspaceError
        If the folder cannot be written.
    """
    members = []
    for number, (fitted, weight) in enumerate(run.blend.members):
        place = f"members/{number:02d}-{fitted.candidate.name}"
        with whole_folder(folder / place) as part:
            save_fitted(fitted, part)
        members.append(_Member(place, weight))
    write_atomic(folder / _ANSWERS, _npy(run.answers))
    entries = [
        {**to_plain(e), "score": _known(e.score), "microseconds": _known(e.microseconds)} for e in run.leaderboard
    ]
    write_atomic(folder / _LEADERBOARD, pretty_json(entries))
    record = _RunRecord(
        run.name, run.id, run.plan, tuple(members), run.blend.link, run.blend.scale, run.blend.offset,
        _known(run.score), run.seconds, dict(run.environment), run.commit, dict(run.tracking), run.diagnostics,
    )  # fmt: skip
    write_atomic(folder / _RUN, pretty_json(record))
    return folder


def load_run(folder: Path, development: Dataset) -> Run:
    """Read a run back.

    Parameters
    ----------
    folder : path
        The run's folder.
    development : Dataset
        The rows it learnt from, read and split as it did.

    Raises
    ------
    WorkspaceError
        If a file is missing or damaged, or the rows are not those it learnt from.
    """
    with _damaged(folder):
        record = from_json((folder / _RUN).read_bytes(), _RunRecord)
        answers = np.load(folder / _ANSWERS, allow_pickle=False)
    if record.plan.fingerprint != development.fingerprint or len(answers) != len(development):
        raise WorkspaceError(
            f"These are not the rows run '{record.id}' learnt from.",
            where=str(folder),
            do="Name the table it was trained on, with the brief it was trained with.",
        )
    blend = Blend(
        tuple((load_fitted(folder / member.folder), member.weight) for member in record.members),
        record.link,
        record.scale,
        record.offset,
    )
    return Run(
        record.name, record.id, record.plan, development, blend, answers, load_leaderboard(folder),
        _value(record.score), record.seconds, record.environment, record.commit, record.tracking,
        record.diagnostics,
    )  # fmt: skip


def load_leaderboard(folder: Path) -> tuple[Entry, ...]:
    """Read a run's leaderboard, best first.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged.
    """
    with _damaged(folder):
        entries = from_json((folder / _LEADERBOARD).read_bytes(), tuple[_EntryRecord, ...])
    return tuple(
        Entry(
            e.name, e.title, e.parameters, _value(e.score), e.weight, e.seconds, e.note, _value(e.microseconds), e.why
        )
        for e in entries
    )


def load_diagnostics(folder: Path) -> Diagnostics:
    """Read what a run's training saw beside the model.

    Raises
    ------
    WorkspaceError
        If it is missing or damaged.
    """
    with _damaged(folder):
        return from_json((folder / _RUN).read_bytes(), _RunRecord).diagnostics


@contextmanager
def _damaged(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        raise WorkspaceError(
            "A stored fit or run cannot be read.",
            where=f"{folder}: {error}",
            do="Move the folder away and run develop again.",
        ) from error


def _known(value: float) -> float | None:
    # JSON has no NaN; null stands for it and is turned back when read.
    return value if np.isfinite(value) else None


def _value(value: float | None) -> float:
    return float("nan") if value is None else value


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_ARRAY + name: array for name, array in arrays.items()})
    return buffer.getvalue()
