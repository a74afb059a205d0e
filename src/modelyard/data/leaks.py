"""Leaks: columns that know the label, because they are made from it or written down after it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.uncertainty import auc_half_width
from modelyard.core.seeds import derive_seed
from modelyard.data.alone import (
    codes_of,
    halves_of,
    missing_rates,
    order_alone,
    pure_share,
    rank_agreement,
    score_alone,
)
from modelyard.data.column import Column
from modelyard.data.dataset import Dataset, Floats, Ints
from modelyard.data.finding import Finding

NEAR_PERFECT_AUC, NEAR_PERFECT_R2 = 0.985, 0.97
"""A single column that surely scores so high stops the run: an honest measure may reach 0.99 by luck in a hundred rows,
as one of flowers does, and 0.95 in many."""
_DIVISIONS = 5
"""Ways to halve a table that a suspicion is asked on."""

_CAREFUL = 0.9
_NAMED_AFTER = 0.8
_PURE = 0.05
_MISSING_STOPS, _MISSING_CAREFUL = 0.9, 0.65
_CELLS = 20_000_000
_MOST_ROWS = 20_000
_LEAST_ROWS = 30

_AFTER = re.compile(
    r"^(death|died|dead|deceased|surv|survived|survival|outcome|discharged?|followup|post|after|final|actual|closed|"
    r"cancell?ed|cancellation|refund|refunded|chargeback|churned|resolved|resolution|settled|settlement|payout|"
    r"recovered|recovery|returned|predicted|prediction|probability|target|label|los|status)$|^surv\d|^discharge"
)
_TIME_UNTIL = re.compile(r"^(d|f|fu|r|s|surv|event)[._ ]?time$")
"""What tables of survival call the time until death, relapse or the end of follow-up."""
_WORDS = re.compile(r"[A-Za-z][a-z]*\d*[a-z]?|[A-Z]+")


def leaks(data: Dataset, brief: Brief) -> list[Finding]:
    """Look for columns that leak the label, on development rows alone.

    Parameters
    ----------
    data : Dataset
        The development part.
    brief : Brief
        Columns it keeps are noted, and stop nothing.

    Returns
    -------
    list of Finding
        Severity "stop" where a column alone tells the label nearly perfectly, where its name says that it is
        recorded afterwards and it tells much, or where its being missing tells nearly all.
    """
    features = [
        c for c in data.schema.columns if c.role == "feature" and c.kind in ("number", "category", "boolean", "date")
    ]
    if data.schema.label is None or data.schema.task == "forecast" or len(data) < _LEAST_ROWS or not features:
        return []
    seed = derive_seed(brief.seed, "leaks")
    rows = min(_MOST_ROWS, max(1000, _CELLS // len(features)))
    if len(data) > rows:
        data = data.take(np.sort(np.random.default_rng(seed).permutation(len(data))[:rows]))
    truth = data.truth()
    halves = [halves_of(data, derive_seed(seed, "halves", i)) for i in range(_DIVISIONS)]
    found = []
    for column in features:
        finding = _of_column(column, data, truth, halves)
        if finding is not None:
            found.append(_kept(finding) if column.name in brief.data.keep and finding.severity == "stop" else finding)
    return found


def sounds_later(name: str) -> bool:
    """Say whether a column's name speaks of what is known only after the outcome."""
    return bool(_TIME_UNTIL.match(name.lower())) or any(_AFTER.match(word.lower()) for word in _WORDS.findall(name))


def _kept(finding: Finding) -> Finding:
    return replace(
        finding, severity="note", means="The brief says that it is known when the prediction is made.", do=""
    )


def _of_column(column: Column, data: Dataset, truth: Ints | Floats, halves: Sequence[Ints]) -> Finding | None:
    series = data.frame[column.name]
    codes = codes_of(series)
    score = score_alone(codes, data, truth, halves[0])
    if score >= _CAREFUL:
        score = float(np.mean([score_alone(codes, data, truth, one) for one in halves]))
    if len(data.schema.classes) == 2 and column.kind in ("number", "date"):
        score = max(score, order_alone(series, np.asarray(truth, dtype=np.int64)))
    measure = "ROC AUC" if data.schema.classes else "R2"
    if not data.schema.classes and column.kind in ("number", "date"):
        ranks = rank_agreement(series, np.asarray(truth, dtype=np.float64), _LEAST_ROWS)
        score, measure = (ranks, "R2 of ranks") if ranks > score else (score, measure)
    name, figure = column.name, f"{measure} {score:.2f}"
    on = f"(n = {len(data):,})"
    answer = f"Add {name} to data.drop (known only after the outcome) or data.keep (known at prediction time)."
    if data.schema.classes:
        counts = np.unique(truth, return_counts=True)[1]
        one = int(counts.min() if len(counts) == 2 else counts.mean())  # of several classes an average one
        perfect = score - auc_half_width(score, one, len(data) - one) >= NEAR_PERFECT_AUC
    else:
        perfect = score >= NEAR_PERFECT_R2
    if perfect:
        means = "Hardly any honest column does: it may be made from the label, or recorded after the outcome."
        return Finding("leak", "stop", name, f"'{name}' alone reaches {figure} {on}.", means, answer)
    if sounds_later(name):
        pure = pure_share(codes, np.asarray(truth)) if len(data.schema.classes) == 2 else 0.0
        if score >= _NAMED_AFTER or pure >= _PURE:
            settles = f", and settles the label in {100 * pure:.0f} % of the rows" if pure >= _PURE else ""
            what = f"'{name}' alone reaches {figure}{settles} {on}; by its name it is recorded after the outcome."
            return Finding("leak", "stop", name, what, "At prediction time it would not be known yet.", answer)
    gone = _of_missing(column, data, truth, halves[0], answer)
    if gone is not None:
        return gone
    if score >= _CAREFUL:
        means = "That is much for one column: is it known when the prediction is made?"
        return Finding("leak", "warn", name, f"'{name}' alone reaches {figure} {on}.", means, answer)
    return None


def _of_missing(column: Column, data: Dataset, truth: Ints | Floats, halves: Ints, answer: str) -> Finding | None:
    missing = data.frame[column.name].is_null().to_numpy()
    if not missing.any() or not data.schema.classes:
        return None
    score = score_alone(missing.astype(np.int64), data, truth, halves)
    if score < _MISSING_CAREFUL:
        return None
    rates = missing_rates(missing, np.asarray(truth, dtype=np.int64), len(data.schema.classes))
    low, high = int(rates.argmin()), int(rates.argmax())
    shares = ", ".join(f"{100 * (1 - rates[i]):.0f} % of '{data.schema.classes[i]}'" for i in (low, high))
    what = f"'{column.name}' is filled for {shares}: recorded after the outcome?"
    means = f"Whether it is missing alone reaches ROC AUC {score:.2f}."
    return Finding("leak", "stop" if score >= _MISSING_STOPS else "warn", column.name, what, means, answer)
