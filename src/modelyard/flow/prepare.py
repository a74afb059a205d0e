"""Everything that comes before a model: read, split, examine, and stop where the brief must answer first."""

from __future__ import annotations

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
    """Refuse a rule over columns the table does not have, before anything is trained beside it."""
    if brief.rule is None:
        return
    absent = [name for name in Rule.parse(brief.rule).columns if name not in table.frame.columns]
    if absent:
        raise BriefError(
            f"The rule reads a column '{absent[0]}' that the table does not have, or that the brief drops.",
            where=f"{brief.source}: rule: {brief.rule}",
            allowed=did_you_mean(absent[0], table.frame.columns),
            do="A name with other signs than letters, digits and _ stands in backticks: `blood-pressure` > 140",
        )
