"""Steps: finished candidates and trials on disk, so that a killed run goes on from the last of them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from modelyard.core.canonical import content_hash, from_json, pretty_json
from modelyard.core.errors import WorkspaceError
from modelyard.core.files import write_atomic
from modelyard.data.dataset import Parts
from modelyard.families.fitted import Candidate, Fitted
from modelyard.selection.plan import Plan
from modelyard.training.store import STEPS, load_fitted, save_fitted, whole_folder

_STEP = "step.json"
_CANDIDATES = "steps.json"


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What came of one candidate.

    Attributes
    ----------
    candidate : Candidate
        What was tried.
    fitted : Fitted or None
        None where the search stopped it early.
    watched : tuple of (fold, loss)
        The running out-of-fold loss after each fold: what pruning decides by.
    seconds : float
        Wall clock it took.
    """

    candidate: Candidate
    fitted: Fitted | None
    watched: tuple[tuple[int, float], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Record:
    watched: tuple[tuple[int, float | None], ...]
    seconds: float
    pruned: bool
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Tried:
    key: str
    candidates: tuple[Candidate, ...]


class Steps:
    """The steps of one run.

    Parameters
    ----------
    folder : path or None
        The run's folder; None keeps nothing.
    plan, parts : Plan, Parts
        What, beside the candidate itself and this package's version, decides how a fit comes out: table, schema, folds,
        seed.
    """

    def __init__(self, folder: Path | None, plan: Plan, parts: Parts) -> None:
        self._folder, self._plan = folder, plan
        digest = hashlib.sha256(parts.split.strategy.encode())
        for fold in parts.split.folds:
            digest.update(b"fold" + fold.train.tobytes() + b"score" + fold.score.tobytes())
        self._context = content_hash(
            {
                "version": version("modelyard"),
                "fingerprint": plan.fingerprint,
                "schema": parts.development.schema,
                "rows": len(parts.development),
                "folds": digest.hexdigest(),
                "seed": plan.brief.seed,
                "model": plan.brief.model,
            }
        )
        if folder is not None:
            for torn in folder.glob(".*.part"):
                if torn.is_dir():
                    shutil.rmtree(torn, ignore_errors=True)
                else:
                    torn.unlink(missing_ok=True)

    def over(self, parts: Parts) -> Steps:
        """Return the steps of the same run over other folds."""
        return Steps(self._folder, self._plan, parts)

    def resume(self, plan: Plan) -> Plan:
        """Return the plan with the candidates the first attempt began with, so that its steps are found again.

        A family may size its candidates by how fast the machine was when it looked; a second look would differ.
        """
        if self._folder is None:
            return plan
        path = self._folder / _CANDIDATES
        try:
            tried = from_json(path.read_bytes(), _Tried)
        except (OSError, msgspec.MsgspecError):
            tried = None
        if tried is not None and tried.key == self._context:
            return replace(plan, candidates=tried.candidates)
        write_atomic(path, pretty_json(_Tried(self._context, plan.candidates)))
        return plan

    def find(
        self, candidate: Candidate, rounds: tuple[int, ...] | None = None, *, whole: tuple[int, ...] = ()
    ) -> Step | None:
        """Return a finished step of this candidate, or None; a damaged one is as good as none.

        `whole` asks for the fit on every row that follows the one over the folds, with these iteration counts.
        """
        path = self._path(candidate, rounds, whole)
        if path is None or not path.is_dir():
            return None
        try:
            record = from_json((path / _STEP).read_bytes(), _Record)
            fitted = None if record.pruned else load_fitted(path)
        except (OSError, msgspec.MsgspecError, WorkspaceError):
            return None
        watched = tuple((fold, float("nan") if loss is None else loss) for fold, loss in record.watched)
        return Step(candidate, fitted, watched, record.seconds)

    def keep(self, step: Step, rounds: tuple[int, ...] | None = None, *, whole: tuple[int, ...] = ()) -> None:
        """Write a finished step down.

        Raises
        ------
        WorkspaceError
            If it cannot be written.
        """
        path = self._path(step.candidate, rounds, whole)
        if path is None:
            return
        record = _Record(step.watched, step.seconds, step.fitted is None, dict(step.candidate.parameters))
        with whole_folder(path) as part:
            if step.fitted is not None:
                save_fitted(step.fitted, part)
            write_atomic(part / _STEP, pretty_json(record))

    def _path(self, candidate: Candidate, rounds: tuple[int, ...] | None, whole: tuple[int, ...]) -> Path | None:
        if self._folder is None:
            return None
        facts: Mapping[str, Any] = {
            "context": self._context,
            "name": candidate.name,
            "family": candidate.family,
            "parameters": candidate.parameters,
            "rounds": rounds,
            **({"whole": whole} if whole else {}),
        }
        return self._folder / STEPS / f"{candidate.name}-{content_hash(facts)[:12]}"
