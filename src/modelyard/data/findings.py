"""Findings: what a careful person would see in the parts before training, each with what to do about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modelyard.brief.brief import Brief
from modelyard.core.errors import listed
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.drift import ColumnDrift, Verdict, drift
from modelyard.data.entity import entities
from modelyard.data.finding import Finding
from modelyard.data.leaks import leaks
from modelyard.data.profile import profile

_ORDER = {"stop": 0, "warn": 1, "note": 2}
_MANY_DUPLICATES, _ALIKE = 0.01, 0.995
_MOST_ALIKE = 5


def findings(parts: Parts, brief: Brief) -> tuple[Finding, ...]:
    """Look at the parts before anything is trained.

    Parameters
    ----------
    parts : Parts
        As `split` returns them.
    brief : Brief
        Its ``data.keep`` turns what would stop the run into a note.

    Returns
    -------
    tuple of Finding
        Worst first: what stops the run (leaks), what to be careful about, notes. What reading noticed is among them.
    """
    found = [*leaks(parts.development, brief), *entities(parts.development, brief), *parts.development.notes]
    if parts.test is not None:
        found += _duplicates(parts.development, parts.test)
        if parts.development.schema.task != "forecast":
            found += _drift(parts.development, parts.test)
    return tuple(sorted(_condensed(found), key=lambda f: _ORDER[f.severity]))


def _condensed(found: list[Finding]) -> list[Finding]:
    """Keep the first few of each kind and count the rest, so that 5,000 columns do not make 5,000 lines."""
    kept: list[Finding] = []
    rest: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        alike = [f for f in kept if (f.kind, f.severity) == (finding.kind, finding.severity)]
        if finding.severity == "stop" or len(alike) < _MOST_ALIKE:
            kept.append(finding)
        else:
            rest.setdefault((finding.kind, finding.severity), []).append(finding)
    for more in rest.values():
        kind, names = more[0].kind.replace("_", " "), list(dict.fromkeys(str(f.column) for f in more))
        if len(names) < len(more):  # several of one column, such as its classes
            what = f"There are {len(more):,} more findings of this kind ({kind}) in {listed(names, 10)}."
        else:
            what = f"The same ({kind}) holds of {len(more):,} more columns: {listed(names, 10)}."
        kept.append(replace(more[0], column=None, what=what))
    return kept


def _duplicates(development: Dataset, test: Dataset) -> list[Finding]:
    """Look for test rows whose features were all seen in development."""
    names = [c.name for c in development.schema.columns if c.role == "feature"]
    label = development.schema.label
    if not names or label is None or development.schema.task == "forecast":
        return []
    twins = _seen(development, test, names)
    if not twins.any():
        return []
    count, share = int(twins.sum()), float(twins.mean())
    # Rows that agree by chance, of few columns of few levels, differ in the label now and then; copies never do.
    alike = int((_seen(development, test, [*names, label.name]) & twins).sum()) / count
    copies = share >= _MANY_DUPLICATES and alike >= _ALIKE
    return [
        Finding(
            "duplicates",
            "warn" if copies else "note",
            None,
            f"{count:,} of {len(test):,} test rows ({100 * share:.1f} %) have a twin in development, the same in every "
            f"feature; {100 * alike:.0f} % of them in the label too.",
            "They look like copies: the estimate is flattered."
            if copies
            else "Few columns of few levels repeat by chance.",
            "Remove copies from the table, or name the entity they belong to under data.group.",
        )
    ]


def _seen(development: Dataset, test: Dataset, names: list[str]) -> NDArray[np.bool_]:
    known = development.frame.select(names).hash_rows().unique()
    return test.frame.select(names).hash_rows().is_in(known.implode()).to_numpy()


def _drift(development: Dataset, test: Dataset) -> list[Finding]:
    """Compare the parts column by column, by the rule that watches the model later."""
    reference = profile(development)
    columns = drift(reference, profile(test, like=reference))
    found = [(c, c.verdict, c.values.corrected, _otherwise(c)) for c in columns]
    found += [(c, c.missing_verdict, c.missing.corrected, _missing(c)) for c in columns]
    return [
        _drifted(c.name, verdict, what)
        for c, verdict, _, what in sorted(found, key=lambda f: -f[2])
        if verdict != "stable"
    ]


def _otherwise(column: ColumnDrift) -> str:
    effect = column.values.corrected
    return f"'{column.name}' is distributed otherwise in the test part (PSI {effect:.2f} beyond chance)."


def _missing(column: ColumnDrift) -> str:
    then, now = 100 * column.missing_then, 100 * column.missing_now
    return f"'{column.name}' is missing in {now:.1f} % of the test part, and in {then:.1f} % of development."


def _drifted(name: str, verdict: Verdict, what: str) -> Finding:
    return Finding(
        "drift",
        "warn" if verdict == "action" else "note",
        name,
        what,
        "The test part is of another kind than what is learnt from; so may be what the model will meet.",
        f"Check how {name} came to change; if it was over time, name the time column.",
    )
