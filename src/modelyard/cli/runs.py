"""``modelyard runs``: list the runs of the workspace."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("runs")
@options.workspace
@options.as_json
def command(workspace: Path, as_json: bool) -> None:
    """List the runs of the workspace, newest first.

    \b
    Examples:
      modelyard runs
      modelyard runs --json
    """
    from modelyard.core.canonical import to_plain
    from modelyard.flow.workspace import Workspace

    records = Workspace.open(workspace).records()
    if as_json:
        options.print_json([to_plain(r) for r in records])
        return
    if not records:
        click.echo("No runs yet. Start one: modelyard develop BRIEF")
        return
    rows = []
    for r in records:
        estimate = r.summary.get("estimate") or {}
        figure = f"{estimate['value']:.4g} [{estimate['low']:.4g}, {estimate['high']:.4g}]" if estimate else ""
        rows.append(
            [r.id, r.use_case, r.status, r.metric, figure, str(r.summary.get("verdict", "")), r.created, r.name]
        )
    options.print_table(["id", "use case", "status", "metric", "estimate", "target met", "started", "name"], rows)
