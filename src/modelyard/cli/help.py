"""``modelyard help``: explain a topic."""

from __future__ import annotations

import click

from modelyard.cli import options


@click.command("help")
@click.argument("topic", required=False)
@click.pass_context
def command(context: click.Context, topic: str | None) -> None:
    """Explain a topic: the metrics a brief may name, the exit codes, the keys of a brief, or a verb.

    Without a topic it lists the verbs.

    \b
    Examples:
      modelyard help
      modelyard help metrics
      modelyard help brief
      modelyard help predict
    """
    topics = {"metrics": _metrics, "exit-codes": _exit_codes, "brief": _brief}
    if topic is None:
        click.echo(f"{context.find_root().get_help()}\n\nTopics of `modelyard help`: {', '.join(topics)}, or any verb.")
        return
    if topic in topics:
        topics[topic]()
        return
    verbs = context.find_root().command
    verb = verbs.get_command(context, topic) if isinstance(verbs, click.Group) else None
    if verb is None:
        raise click.UsageError(f"There is no help on '{topic}'. Topics: {', '.join(topics)}, or any verb.")
    click.echo(verb.get_help(click.Context(verb, info_name=topic, parent=context.find_root())))


def _metrics() -> None:
    from modelyard.metrics.find import all_metrics

    rows = [
        [
            m.name,
            m.title,
            "higher" if m.greater_is_better else "lower",
            ", ".join(sorted(m.tasks)),
            ", ".join(m.aliases),
        ]
        for m in all_metrics()
    ]
    options.print_table(["metric", "title", "better", "tasks", "also written"], rows)


def _exit_codes() -> None:
    options.print_table(
        ["code", "meaning"],
        [
            ["0", "done; for develop: the target is met"],
            ["1", "error: bad input, a missing file, a full disk, interrupted"],
            ["2", "no: target missed, leak found, gate failed, alarm that calls for action, rollout rolled back"],
            ["3", "not decided: the target lies inside the interval, a gate is inconclusive, a rollout waits"],
        ],
    )


def _brief() -> None:
    from modelyard.brief.brief import Brief
    from modelyard.brief.write import brief_text

    click.echo(brief_text(Brief(), {}))
