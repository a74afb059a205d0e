"""``modelyard history``: show everything that happened to a release."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("history")
@click.argument("name", required=False)
@click.option("--version", type=int, help="One version alone.")
@options.workspace
@options.as_json
def command(name: str | None, version: int | None, workspace: Path, as_json: bool) -> None:
    """Show everything that ever happened to a release, or to all of them, oldest first.

    \b
    Examples:
      modelyard history
      modelyard history readmission --version 3
    """
    from modelyard.core.canonical import to_plain
    from modelyard.flow.releases import history_lines
    from modelyard.flow.workspace import Workspace
    from modelyard.registry.store import Registry

    events = Registry(Workspace.open(workspace).registry).history(name, version)
    if as_json:
        options.print_json([to_plain(e) for e in events])
        return
    for line in history_lines(events) or ["Nothing yet. Enter a run: modelyard register RUN"]:
        click.echo(line)
