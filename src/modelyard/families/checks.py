"""Conformance: what every family must do, as checks anyone can run on their own.

::

    from modelyard.families.checks import check_family
    check_family(MyFamily(), brief, parts, run_export)
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from modelyard.brief.brief import Brief
from modelyard.core.canonical import canonical_json, from_json
from modelyard.core.errors import FamilyError
from modelyard.data.dataset import Dataset, Floats, Fold, Parts
from modelyard.data.profile import Profile, profile
from modelyard.families.family import Family
from modelyard.families.fitted import Blend, Candidate, Export, Fitted
from modelyard.families.whole import fit_whole

RunExport = Callable[[Export, Dataset], Floats]
"""Runs an export on rows as a machine without the family would: answers shaped as `Blend.answer` returns them."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What the checks work on.

    Attributes
    ----------
    family : Family
        The one checked.
    brief : Brief
        Of a task the family fits.
    parts : Parts
        Small, with folds and a test part.
    candidate : Candidate
        One of the family's.
    fitted : Fitted
        That candidate, fitted with seed 1: over the folds, and on every row where the family asks for it.
    run_export : callable or None
        Without it the export is not run.
    tolerance : float
        Largest difference between the exported and the fitted answer, in the answer's units.
    """

    family: Family
    brief: Brief
    parts: Parts
    candidate: Candidate
    fitted: Fitted
    run_export: RunExport | None
    tolerance: float


def check_family(
    family: Family,
    brief: Brief,
    parts: Parts,
    run_export: RunExport | None = None,
    *,
    tolerance: float = 1e-5,
    names: frozenset[str] | None = None,
) -> None:
    """Run every check on every candidate of a family.

    Parameters
    ----------
    family : Family
        The one checked.
    brief : Brief
        Of a task it fits.
    parts : Parts
        A few hundred rows with folds and a test part.
    run_export : callable, optional
        Runs an export on rows; without it only the files are looked at.
    tolerance : float
        Largest difference between the exported and the fitted answer.
    names : frozenset of str, optional
        Check these candidates alone.

    Raises
    ------
    FamilyError
        Naming the check, the candidate, and what was found.
    """
    offered = check_candidates(family, brief, parts, profile(parts.development))
    for candidate in offered:
        if names is None or candidate.name in names:
            # Fitted on a copy: a family that spoils its inputs must do so in the check that looks for it.
            fitted = family.fit(candidate, _copy(parts.blind()), 1)
            fitted = fit_whole(family, fitted, _copy(parts.blind()), 1)
            case = Case(family, brief, parts, candidate, fitted, run_export, tolerance)
            for check in CHECKS:
                check(case)


def check_candidates(family: Family, brief: Brief, parts: Parts, seen: Profile) -> tuple[Candidate, ...]:
    """Check candidates: at least one, unique names, JSON parameters, a reason, a cost that is no debt; return them."""
    where = f"family '{family.name}'"
    _must(bool(family.name) and bool(family.tasks), "a family has a name and tasks", where)
    _must(parts.development.schema.task in family.tasks, "the brief is of a task the family fits", where)
    offered = family.candidates(brief, seen, parts.development)
    _must(len(offered) > 0, "a family offers candidates", where)
    _must(len({one.name for one in offered}) == len(offered), "candidates have different names", where)
    for one in offered:
        at = f"candidate '{one.name}'"
        _must(one.family == family.name, "a candidate names its family", at)
        _must(from_json(canonical_json(one.parameters), dict[str, Any]) == one.parameters, "parameters are JSON", at)
        _must(bool(one.reason) and bool(one.title), "a candidate has a title and a reason", at)
        _must(0 <= one.cost.seconds < np.inf and 0 <= one.cost.megabytes < np.inf, "a cost is not negative", at)
    return offered


def check_inputs_unchanged(case: Case) -> None:
    """Check that fitting changes neither rows nor folds nor the candidate."""
    parts = case.parts.blind()
    frame, folds = parts.development.frame.clone(), [(f.train.copy(), f.score.copy()) for f in parts.split.folds]
    before = canonical_json(case.candidate)
    case.family.fit(case.candidate, parts, 1)
    same = all(
        np.array_equal(f.train, t) and np.array_equal(f.score, s)
        for f, (t, s) in zip(parts.split.folds, folds, strict=True)
    )
    _case(case, parts.development.frame.equals(frame), "fitting leaves the rows as they are")
    _case(case, same, "fitting leaves the folds as they are")
    _case(case, canonical_json(case.candidate) == before, "fitting leaves the candidate as it is")


def check_scores(case: Case) -> None:
    """Check that out-of-fold scores are [n, k], and NaN exactly where no fold scores the row."""
    scores = case.fitted.scores
    n, k = len(case.parts.development), _outputs(case.parts.development)
    _case(case, scores.shape == (n, k), f"out-of-fold scores have shape ({n}, {k})", f"found {scores.shape}")
    scored = np.zeros(n, dtype=np.bool_)
    for fold in case.parts.split.folds:
        scored[fold.score] = True
    _case(case, bool(np.isfinite(scores[scored]).all()), "every row a fold scores has a finite score")
    _case(case, bool(np.isnan(scores[~scored]).all()), "a row no fold scores has none")


def check_no_peeking(case: Case) -> None:
    """Check that a fold's scores stay when the labels of its scored rows change: the model never saw them."""
    fold = case.parts.split.folds[-1]
    split = replace(case.parts.split, folds=(fold,))
    honest = replace(case.parts.blind(), split=split)
    changed = replace(honest, development=_relabelled(honest.development, fold.score))
    one, other = (case.family.fit(case.candidate, parts, 1).scores[fold.score] for parts in (honest, changed))
    _case(case, np.array_equal(one, other), "a fold's scores do not depend on the labels it is scored on")


def check_repeatable(case: Case) -> None:
    """Check that the same seed gives the same scores and counts, and that replayed counts give the same models."""
    again = case.family.fit(case.candidate, case.parts.blind(), 1)
    _case(case, _same(again.scores, case.fitted.scores), "the same seed gives the same scores")
    _case(case, again.rounds == case.fitted.rounds, "the same seed gives the same rounds")
    replayed = case.family.fit(case.candidate, case.parts.blind(), 1, rounds=case.fitted.rounds)
    _case(case, _same(replayed.scores, case.fitted.scores), "replayed rounds give the same scores")
    _case(case, replayed.rounds == case.fitted.rounds, "replayed rounds are the rounds again")
    _case(case, replayed.whole == case.fitted.whole, "replayed rounds ask for the same fit on every row")
    replayed = fit_whole(case.family, replayed, case.parts.blind(), 1)
    rows = _unseen(case)
    _case(
        case,
        _same(case.family.predict(replayed, rows), case.family.predict(case.fitted, rows)),
        "replayed rounds give the same predictions",
    )


def check_watched(case: Case) -> None:
    """Check that the watch is called after each fold, and that what it raises ends the fit."""
    seen: list[int] = []
    case.family.fit(case.candidate, case.parts.blind(), 1, watch=lambda fold, loss: seen.append(fold))
    _case(case, seen == list(range(len(case.parts.split.folds))), "the watch is called after each fold", str(seen))

    class Enough(Exception):
        pass

    def stop(fold: int, loss: float) -> None:
        raise Enough

    try:
        case.family.fit(case.candidate, case.parts.blind(), 1, watch=stop)
    except Enough:
        return
    _case(case, False, "what the watch raises ends the fit")


def check_predict(case: Case) -> None:
    """Check that predictions are [n, k], finite, need no label, and that rows asked together do not matter."""
    rows = _unseen(case)
    label = rows.schema.label
    bare = rows if label is None else replace(rows, frame=rows.frame.drop(label.name))
    raw = case.family.predict(case.fitted, bare)
    _case(case, raw.shape == (len(rows), _outputs(rows)), "predictions have shape [n, k]", f"found {raw.shape}")
    _case(case, bool(np.isfinite(raw).all()), "predictions are finite")
    order = np.random.default_rng(0).permutation(len(rows))
    _case(
        case,
        np.allclose(case.family.predict(case.fitted, bare.take(order)), raw[order], rtol=0, atol=1e-9),
        "predictions do not depend on the order of rows",
    )
    for i in (0, len(rows) - 1):
        alone = case.family.predict(case.fitted, bare.take(np.array([i])))
        _case(case, np.allclose(alone, raw[[i]], rtol=0, atol=1e-9), "a row alone is answered as among others")


def check_strange_rows(case: Case) -> None:
    """Check that categories never seen and missing values are answered with finite scores."""
    rows = _unseen(case)
    features = [c for c in rows.schema.columns if c.role == "feature" and c.name in rows.frame.columns]
    never = {c.name: pl.lit("never seen before") for c in features if c.kind == "category"}
    missing = {c.name: pl.lit(None, dtype=rows.frame[c.name].dtype) for c in features}
    for what, values in (("categories never seen", never), ("missing values", missing)):
        strange = replace(rows, frame=rows.frame.with_columns(**values))
        try:
            raw = case.family.predict(case.fitted, strange)
        except Exception as error:
            _case(case, False, f"{what} are answered", f"{type(error).__name__}: {error}")
        _case(case, bool(np.isfinite(raw).all()), f"{what} are answered with finite scores")


def check_plain_data(case: Case) -> None:
    """Check that a fitted candidate survives JSON, npz without pickle and text, and answers as before."""
    rows = _unseen(case)
    fitted = case.fitted
    buffer = io.BytesIO()
    try:
        np.savez(buffer, allow_pickle=False, **fitted.arrays)
        buffer.seek(0)
        with np.load(buffer, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except ValueError as error:
        _case(case, False, "arrays hold no Python objects", str(error))
    _case(case, all(type(text) is str for text in fitted.texts.values()), "texts are text")
    copy = Fitted(
        candidate=from_json(canonical_json(fitted.candidate), Candidate),
        facts=from_json(canonical_json(fitted.facts), dict[str, Any]),
        arrays=arrays,
        texts={name: text.encode().decode() for name, text in fitted.texts.items()},
        scores=fitted.scores.copy(),
        rounds=fitted.rounds,
    )
    _case(
        case,
        _same(case.family.predict(copy, rows), case.family.predict(fitted, rows)),
        "a fitted candidate read back from plain data predicts as before",
    )


def check_export(case: Case) -> None:
    """Check that the export's files run elsewhere and answer as the weighted, calibrated sum of predictions."""
    rows = _unseen(case)
    k = _outputs(rows)
    link = "identity" if not rows.schema.classes else "logistic" if k == 1 else "softmax"
    twin = replace(case.candidate, name=f"{case.candidate.name}-2")
    blend = Blend(
        members=((case.fitted, 0.25), (replace(case.fitted, candidate=twin), 0.75)),
        link=link,  # type: ignore[arg-type]
        scale=1.0 if link == "identity" else 0.9,
        offset=tuple(0.0 if link == "identity" else 0.1 * (i + 1) for i in range(k)),
    )
    export = case.family.export(blend, case.parts.development)
    _case(case, export.runtime in ("onnx", "arrays"), "an export names its runtime", export.runtime)
    _case(case, all(type(content) is bytes for content in export.files.values()), "an export's files are bytes")
    _case(case, bool(canonical_json(export.facts)), "an export's facts are JSON")
    again = case.family.export(blend, case.parts.development)
    _case(case, dict(again.files) == dict(export.files), "the same blend gives the same bytes")
    if case.run_export is not None:
        raw = np.sum([weight * case.family.predict(one, rows) for one, weight in blend.members], axis=0)
        expected, found = blend.answer(raw), case.run_export(export, rows)
        _case(case, found.shape == expected.shape, "exported answers are shaped as the blend's", f"found {found.shape}")
        worst = float(np.abs(found - expected).max())
        _case(case, worst <= case.tolerance, "the export answers as the blend does", f"differs by {worst:.2g}")


CHECKS: tuple[Callable[[Case], None], ...] = (
    check_inputs_unchanged,
    check_scores,
    check_repeatable,
    check_no_peeking,
    check_watched,
    check_predict,
    check_strange_rows,
    check_plain_data,
    check_export,
)
"""Every check of one fitted candidate, to be run one by one where a test framework wants a line for each."""


def _unseen(case: Case) -> Dataset:
    if case.parts.test is None or len(case.parts.test) == 0:
        raise FamilyError("The checks need parts with a test part.")
    return case.parts.test


def _copy(parts: Parts) -> Parts:
    folds = tuple(Fold(fold.train.copy(), fold.score.copy()) for fold in parts.split.folds)
    development = replace(parts.development, frame=parts.development.frame.clone())
    return replace(parts, development=development, split=replace(parts.split, folds=folds))


def _outputs(data: Dataset) -> int:
    return len(data.schema.classes) if len(data.schema.classes) > 2 else 1


def _same(one: Floats, other: Floats) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def _relabelled(data: Dataset, rows: Any) -> Dataset:
    """Return the rows with other labels at some places: another class, or another number."""
    label = data.schema.label
    if label is None:
        raise FamilyError("The checks need labelled rows.")
    column = data.frame[label.name]
    if data.schema.classes:
        following = dict(zip(data.schema.classes, [*data.schema.classes[1:], data.schema.classes[0]], strict=True))
        other = column.replace_strict(following, return_dtype=column.dtype)
    else:
        other = column * -3.0 + 17.0
    chosen = pl.Series(np.isin(np.arange(len(data)), rows))
    return replace(data, frame=data.frame.with_columns(other.zip_with(chosen, column).alias(label.name)))


def _case(case: Case, holds: bool, check: str, found: str = "") -> None:
    _must(holds, check, f"family '{case.family.name}', candidate '{case.candidate.name}'", found)


def _must(holds: bool, check: str, where: str, found: str = "") -> None:
    if not holds:
        raise FamilyError(f"Conformance: {check}. That does not hold.", where=where, allowed=found or None)
