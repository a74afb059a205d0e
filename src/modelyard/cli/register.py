"""``modelyard register``: enter a run's bundle in the registry."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("register")
@click.argument("run")
@click.option("--by", help="Who enters it; default: the user of this machine.")
@options.workspace
@options.as_json
def command(run: str, by: str | None, workspace: Path, as_json: bool) -> None:
    """Enter a run's bundle in the registry, in development, with the answers of its gates.

    \b
    Examples:
      modelyard register k7
      modelyard register last --by anna
    """
    from modelyard.flow.releases import register_run
    from modelyard.flow.workspace import Workspace

    options.print_move(register_run(Workspace.open(workspace), run, by), as_json)
