"""``modelyard doctor``: check this machine and this workspace."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("doctor")
@options.workspace
@options.as_json
def command(workspace: Path, as_json: bool) -> None:
    """Check this machine and this workspace: packages, cores, memory, disk, unfinished runs.

    \b
    Examples:
      modelyard doctor
      modelyard doctor --json
    """
    from modelyard.flow.doctor import examine

    checks = examine(workspace)
    if as_json:
        options.print_json([{"check": c.name, "state": c.state, "detail": c.detail, "do": c.do} for c in checks])
    else:
        colour = {"ok": "green", "missing": "yellow", "bad": "red"}
        for c in checks:
            click.echo(f"{click.style(f'{c.state:<8}', fg=colour[c.state])}{c.name:<16}{c.detail}")
            if c.do:
                click.echo(f"{'':<24}{c.do}")
    if any(c.state == "bad" for c in checks):
        raise SystemExit(1)
