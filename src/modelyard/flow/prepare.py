"""Everything that comes before a model: read, split, examine, and stop where the brief must answer first."""

from __future__ import annotations

import numpy as np

from modelyard.brief.brief import Brief
from modelyard.brief.rule import Rule
from modelyard.core.errors import BriefError, FindingsOpen, did_you_mean
from modelyard.data.dataset import Dataset, Parts
from modelyard.data.finding import Finding
from modelyard.data.findings import findings as look_for_findings
from modelyard.data.read import read_data
from modelyard.data.splitting import split


def prepare(brief: Brief, data: object = None) -> tuple[Dataset, Parts, tuple[Finding, ...]]:
    """Read, split and examine: everything that comes before a model.

    Parameters
    ----------
    brief : Brief
        What is asked.
    data : path, table or Dataset, optional
        Default: the path the brief names.

    Returns
    -------
    (Dataset, Parts, tuple of Finding)
        The whole table, its parts, and what was seen in it, worst first.
    """
    table = data if isinstance(data, Dataset) else read_data(data, brief)
    _check_rule(brief, table)
    parts = split(table, brief)
    return table, parts, look_for_findings(parts, brief)


def stop_at(findings: tuple[Finding, ...]) -> None:
    """Stop where a finding must be answered by the brief first.

    Raises
    ------
    FindingsOpen
        If any finding's severity is "stop": exit code 2.
    """
    stops = [f for f in findings if f.severity == "stop"]
    if not stops:
        return
    names = ", ".join(str(f.column) for f in stops)
    raise FindingsOpen(
        f"{len(stops)} column{'s' if len(stops) > 1 else ''} may leak the label: nothing was trained.",
        stops,
        where="\n  ".join(f"{f.column}: {f.what}" for f in stops),
        do=f"Add each of [{names}] to the brief's data.drop (known only after the outcome)\n"
        "  or to data.keep (known when the prediction is made).",
    )


def _check_rule(brief: Brief, table: Dataset) -> None:
    """Refuse a rule that cannot stand beside a model, before anything is trained."""
    if brief.rule is None:
        return
    rule = Rule.parse(brief.rule)
    where = f"{brief.source}: rule: {brief.rule}"
    absent = [name for name in rule.columns if name not in table.frame.columns]
    if absent:
        raise BriefError(
            f"The rule reads a column '{absent[0]}' that the table does not have, or that the brief drops.",
            where=where,
            allowed=did_you_mean(absent[0], table.frame.columns),
            do="A name with other signs than letters, digits and _ stands in backticks: `blood-pressure` > 140",
        )
    kept = {c.name: c.role for c in table.schema.columns if c.role in ("label", "weight")}
    for name in rule.columns:
        if name in kept:
            raise BriefError(
                f"The rule reads the {kept[name]} '{name}', which is not known when a prediction is made.",
                where=where,
                do="Write what is done today from the other columns, or leave the rule out.",
            )
    columns = {name: table.frame[name].to_numpy() for name in rule.columns}
    wrong = rule.misread(columns)
    if wrong:
        raise BriefError(
            f"The rule asks for a number or a date where {wrong[0]} holds none.",
            where=where,
            allowed="Numbers beside numbers, dates beside dates, text beside text in quotes.",
            do="Compare it with a value such as the column holds.",
        )
    if table.schema.classes and not rule.condition:
        values = np.asarray(rule.evaluate(columns), dtype=np.float64)
        if not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            raise BriefError(
                f"The rule gives a number, and a {table.schema.task} task asks for a class.",
                where=where,
                allowed="A condition, or a column of 0 and 1.",
                do=f"Compare it with a limit: {brief.rule} > 1",
            )
