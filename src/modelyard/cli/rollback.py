"""``modelyard rollback``: put the previous production release back."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("rollback")
@click.argument("name")
@click.option("--by", help="Who does it; default: the user of this machine.")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the history.")
@options.workspace
@options.as_json
def command(name: str, by: str | None, why: str, workspace: Path, as_json: bool) -> None:
    """Put the production release before the present one back, in one step; the present one is archived.

    \b
    Examples:
      modelyard rollback readmission --why "recall fell in ward 7"
    """
    from modelyard.flow.releases import roll_back
    from modelyard.flow.workspace import Workspace

    options.print_move(roll_back(Workspace.open(workspace), name, by=by, why=why), as_json)
