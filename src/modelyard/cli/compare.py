"""``modelyard compare``: compare two runs."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("compare")
@click.argument("one")
@click.argument("other")
@options.workspace
@options.as_json
def command(one: str, other: str, workspace: Path, as_json: bool) -> None:
    """Compare two runs: what was asked, what differs, and what each reached.

    Where both were measured on the same untouched rows, the gain of the first over the second carries a paired
    bootstrap interval.

    \b
    Examples:
      modelyard compare k7 m2
      modelyard compare last k7 --json
    """
    from modelyard.flow.compare import compare, compare_lines
    from modelyard.flow.workspace import Workspace

    yard = Workspace.open(workspace)
    result = compare(yard, yard.find(one), yard.find(other))
    if as_json:
        options.print_json(result)
        return
    for line in compare_lines(result):
        click.echo(line)
