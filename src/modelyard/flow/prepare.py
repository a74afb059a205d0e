"""Everything that comes before a model: read, split, examine, and stop where the brief must answer first."""

from __future__ import annotations

from modelyard.brief.brief import Brief
from modelyard.core.errors import GateFailed
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
    parts = split(table, brief)
    return table, parts, look_for_findings(parts, brief)


def stop_at(findings: tuple[Finding, ...]) -> None:
    """Stop where a finding must be answered by the brief first.

    Raises
    ------
    GateFailed
        If any finding's severity is "stop": exit code 2.
    """
    stops = [f for f in findings if f.severity == "stop"]
    if not stops:
        return
    names = ", ".join(str(f.column) for f in stops)
    raise GateFailed(
        f"{len(stops)} column{'s' if len(stops) > 1 else ''} may leak the label: nothing was trained.",
        where="\n  ".join(f"{f.column}: {f.what}" for f in stops),
        do=f"Add each of [{names}] to the brief's data.drop (known only after the outcome)\n"
        "  or to data.keep (known when the prediction is made).",
    )
