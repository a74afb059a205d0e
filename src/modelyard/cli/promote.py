"""``modelyard promote``: move a release to the next stage, through its gates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from modelyard.cli import options


@click.command("promote")
@click.argument("release")
@click.option("--to", type=click.Choice(["staging", "production", "archived"]), help="Default: the next stage.")
@click.option("--by", help="Who moves it; default: the user of this machine.")
@click.option("--approve", metavar="NAME", help="The person who decides where a gate is inconclusive.")
@click.option("--why", metavar="TEXT", help="The reason, kept in the history.")
@options.workspace
@options.as_json
def command(
    release: str, to: Any, by: str | None, approve: str | None, why: str | None, workspace: Path, as_json: bool
) -> None:
    """Move a release to the next stage, through its gates.

    RELEASE is name, name@version or name@stage; without either the newest version that is not in production. Exits
    with 2 where a gate fails, and with 3 where one is inconclusive and nobody approves.

    \b
    Examples:
      modelyard promote readmission
      modelyard promote readmission@3 --to production
      modelyard promote readmission --approve anna --why "reviewed with cardiology, 12 March"
    """
    from modelyard.flow.refs import find_movable
    from modelyard.flow.releases import promote_release
    from modelyard.flow.workspace import Workspace

    if bool(approve) != bool(why):
        raise click.UsageError("An approval needs both: --approve NAME and --why TEXT.")
    yard = Workspace.open(workspace)
    moved = promote_release(yard, find_movable(release, yard), to, by=by, approved_by=approve, why=why)
    options.print_move(moved, as_json)
