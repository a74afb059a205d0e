"""``modelyard deprecate``: tell callers that a release ends, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from modelyard.cli import options


@click.command("deprecate")
@click.argument("release")
@click.option("--since", type=options.DATE, help="Day (UTC) it is deprecated from; default: now.")
@click.option("--sunset", type=options.DATE, help="Day (UTC) it ends; default: 90 days after it is deprecated.")
@click.option("--undo", is_flag=True, help="Take it back.")
@click.option("--by", help="Who says so; default: the user of this machine.")
@click.option("--why", default="", metavar="TEXT", help="The reason, kept in the history.")
@options.workspace
@options.as_json
def command(
    release: str,
    since: datetime | None,
    sunset: datetime | None,
    undo: bool,
    by: str | None,
    why: str,
    workspace: Path,
    as_json: bool,
) -> None:
    """Tell callers of a release that it is deprecated, and when it ends: headers of every answer then say so.

    RELEASE is name (its production version, else its newest), name@version or name@stage. Servers that were started by
    its name, or by this version of it, say it within a second, as long as that release answers.

    \b
    Examples:
      modelyard deprecate readmission
      modelyard deprecate readmission@3 --sunset 2027-06-30 --why "version 4 takes its place"
      modelyard deprecate readmission@3 --undo
    """
    from modelyard.core.canonical import to_plain
    from modelyard.flow.refs import find_release
    from modelyard.flow.releases import deprecate_release
    from modelyard.flow.workspace import Workspace

    if undo and (since or sunset):
        raise click.UsageError("--undo goes with no date.")
    yard = Workspace.open(workspace)
    first, last = (None if day is None else day.replace(tzinfo=UTC) for day in (since, sunset))
    said = deprecate_release(yard, find_release(release, yard), since=first, sunset=last, undo=undo, by=by, why=why)
    if as_json:
        options.print_json(to_plain(said))
    elif said.sunset is None:
        click.echo(f"{said.name} version {said.version} is no longer deprecated")
    else:
        click.echo(f"{said.name} version {said.version} is deprecated from {said.deprecated} and ends {said.sunset}")
