"""``modelyard show``: show one run."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("show")
@click.argument("run")
@options.workspace
@options.as_json
@click.option("--open", "browse", is_flag=True, help="Open the evaluation report in a browser.")
def command(run: str, workspace: Path, as_json: bool, browse: bool) -> None:
    """Show one run: its answer, its leaderboard and where its documents lie.

    RUN is a run's id or name, "last", or a release (name, name@version, name@stage).

    \b
    Examples:
      modelyard show k7
      modelyard show last --open
    """
    from modelyard.flow.look import run_lines, run_plain
    from modelyard.flow.refs import find_run
    from modelyard.flow.workspace import Workspace

    yard = Workspace.open(workspace)
    record = find_run(run, yard)
    if as_json:
        options.print_json(run_plain(yard, record))
        return
    for line in run_lines(yard, record):
        click.echo(line)
    if browse:
        click.launch(str(yard.folder(record) / "3-evaluation.html"))
