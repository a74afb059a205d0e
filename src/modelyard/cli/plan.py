"""``modelyard plan``: show what would be tried, why, and what it would cost."""

from __future__ import annotations

from pathlib import Path

import click

from modelyard.cli import options


@click.command("plan")
@click.argument("brief")
@click.option("--data", type=click.Path(path_type=Path), help="The table, when the brief names none.")
@click.option("--label", help="The column to predict, when the brief names none.")
@options.presets
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the architecture document.")
@options.as_json
def command(
    brief: str, data: Path | None, label: str | None, presets: str | None, out: Path | None, as_json: bool
) -> None:
    """Show what would be tried, why, and what it would cost. Trains nothing.

    \b
    Examples:
      modelyard plan patients.yaml
      modelyard plan patients.yaml --presets best
      modelyard plan patients.yaml -o plan/
    """
    from modelyard.core.canonical import to_plain
    from modelyard.flow.asked import asked
    from modelyard.flow.prepare import prepare
    from modelyard.selection.document import architecture_document
    from modelyard.selection.select import select
    from modelyard.selection.show import plan_lines

    question = asked(brief, data=data, label=label, presets=presets)
    table, parts, findings = prepare(question)
    plan = select(question, table, parts=parts)
    if as_json:
        options.print_json({"plan": to_plain(plan), "findings": to_plain(findings)})
        return
    for line in plan_lines(plan, parts.split.reason):
        click.echo(line)
    for finding in findings:
        mark = {"stop": click.style("!", fg="red"), "warn": "!", "note": "-"}[finding.severity]
        click.echo(f"{'Findings' if finding is findings[0] else '':<10} {mark} {finding.what}")
        if finding.severity != "note":
            click.echo(f"{'':<13}{finding.do}")
    if out is not None:
        markdown, page = architecture_document(plan, split=parts.split.reason).write(out, "1-architecture")
        click.echo(f"Wrote {markdown} and {page}")
