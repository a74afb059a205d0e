"""``modelyard rollout``: put a candidate beside what serves, and promote it or roll it back on evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelyard.cli import options

_PLAN = [
    click.option("--kind", type=click.Choice(["canary", "blue-green", "shadow", "ab"]), default="canary"),
    click.option("--steps", metavar="SHARES", help="The candidate's shares in turn, as 5,25,50 (percent)."),
    click.option("--look", type=options.Time(), default="1m", show_default=True, help="Time between looks."),
    click.option("--bake", type=options.Time(), help="Time each step lasts at least (15m; an A/B test: 14d)."),
    click.option("--horizon", type=options.Time(), help="When it waits for a person (6h; an A/B test: its end)."),
    click.option("--error-limit", type=float, default=0.01, show_default=True, help="Share that may fail."),
    click.option("--slow-factor", type=float, default=2.0, show_default=True, help="Times the baseline's p99."),
    click.option("--score-odds", type=float, default=2.0, show_default=True, help="Limit of score drift; 0 for none."),
    click.option("--metric", default="", help="Outcome an A/B test is registered for."),
    click.option("--goal", type=click.Choice(["higher", "lower"]), default="higher", help="Which way is better."),
    click.option("--effect", type=float, default=0.0, help="Least difference of the outcome worth having."),
    click.option("--reason", default="", help="Why an A/B test may take less than two weeks."),
]


def _plan_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_PLAN):
        function = option(function)
    return function


@click.group("rollout")
def command() -> None:
    """Put a candidate beside the version that serves, and promote it or roll it back on evidence.

    Exits with 2 where a rollout was rolled back, and with 3 where it waits for a person or cannot be decided.

    \b
    Examples:
      modelyard rollout plan --rate 20 --errors 0.003 --bad 0.02
      modelyard rollout start readmission@2 readmission@3 --steps 5,25,50
      modelyard rollout status readmission
    """


@command.command("plan")
@click.option("--rate", type=click.FloatRange(0, min_open=True), required=True, help="Requests a second.")
@click.option("--errors", type=click.FloatRange(0, 1), default=0.003, show_default=True, help="Of the baseline.")
@click.option("--bad", type=click.FloatRange(0, 1), default=0.02, show_default=True, help="That must be caught.")
@click.option("--burst", type=click.FloatRange(1), default=1.0, show_default=True, help="Errors that come together.")
@click.option(
    "--differs",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="Share of rows that a shadow's good candidate answers otherwise.",
)
@click.option("--sd", type=click.FloatRange(0, min_open=True), help="Of an A/B test's outcome, between keys.")
@click.option("--keys", type=click.FloatRange(0, min_open=True), help="Keys a day of an A/B test; default: requests.")
@_plan_options
@options.as_json
def plan_command(
    rate: float,
    errors: float,
    bad: float,
    burst: float,
    differs: float,
    sd: float | None,
    keys: float | None,
    as_json: bool,
    **words: Any,
) -> int:
    """Say how long a rollout will take at the given traffic; exits with 3 where it would not decide."""
    from modelyard.core.canonical import to_plain
    from modelyard.serving.rollout.planner import Expected, forecast, proposals, said

    plan = _plan(**words)
    expected = Expected(rate, errors, bad, burst, differs, sd, keys)
    found = forecast(plan, expected)
    others = [] if found.decides else list(proposals(plan, expected))
    if as_json:
        options.print_json({"plan": to_plain(plan), "forecast": to_plain(found), "proposals": to_plain(others)})
    else:
        for line in said(plan, found, expected):
            click.echo(line)
        for number, other in enumerate(others):
            click.echo("Instead:" if number == 0 else "Or:")
            for line in said(plan, other, expected):
                click.echo(f"  {line}")
    return 0 if found.decides else 3


@command.command("start")
@click.argument("stable")
@click.argument("candidate")
@_plan_options
@click.option("--approve", metavar="NAME", help="The person who decides where a gate of it is inconclusive.")
@click.option("--why", metavar="TEXT", help="The reason, kept with the decision.")
@options.workspace
@options.as_json
def start_command(
    stable: str,
    candidate: str,
    approve: str | None,
    why: str | None,
    workspace: Path,
    as_json: bool,
    **words: Any,
) -> int:
    """Start a rollout of CANDIDATE beside STABLE: each a bundle, a run or a release.

    A server of STABLE with the same workspace loads the candidate and begins. Exits with 2 where a gate of the
    candidate has failed, and with 3 where one is inconclusive and nobody approves.
    """
    from modelyard.bundle.load import load_bundle
    from modelyard.flow.refs import find_bundle
    from modelyard.registry.register import whoever
    from modelyard.serving.rollout.control import FOLDER, start

    if bool(approve) != bool(why):
        raise click.UsageError("An approval needs both: --approve NAME and --why TEXT.")
    old = find_bundle(stable, workspace)
    new = find_bundle(candidate, workspace)
    arm = (str(old), load_bundle(old))
    made = start(workspace / FOLDER, _plan(**words), arm, str(new), whoever(), approved_by=approve, why=why)
    return _print(workspace, made.name, as_json)


@command.command("status")
@click.argument("name")
@options.workspace
@options.as_json
def status_command(name: str, workspace: Path, as_json: bool) -> int:
    """Show where the newest rollout of NAME stands, its last look and every decision."""
    return _print(workspace, name, as_json)


def _mover(action: str, text: str) -> None:
    @command.command(action, help=text)
    @click.argument("name")
    @click.option("--by", help="Who decides; default: the user of this machine.")
    @options.workspace
    @options.as_json
    def move_command(name: str, by: str | None, workspace: Path, as_json: bool) -> int:
        from modelyard.registry.register import whoever
        from modelyard.serving.rollout.control import FOLDER, move

        move(workspace / FOLDER, name, action, by or whoever())
        _print(workspace, name, as_json)
        return 0


_mover("pause", "Send no more requests to the candidate until it is resumed.")
_mover("resume", "Go on with a rollout that was paused.")
_mover("promote", "Let the candidate answer every request, whatever was shown.")
_mover("rollback", "Let the version before answer every request, at once.")


@command.command("report")
@click.argument("name")
@click.argument("outcomes", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path(), help="Folder for the report.")
@options.workspace
@options.as_json
def report_command(name: str, outcomes: Path, out: Path, workspace: Path, as_json: bool) -> int:
    """Answer the newest A/B test of NAME; exits with 2 where b is not better, with 3 where it is not decided.

    OUTCOMES is a CSV or Parquet file with the columns key and value, where known also before (a covariate from before
    the test) and variant (the arm a key was logged in, a or b).
    """
    from modelyard.core.canonical import to_plain
    from modelyard.serving.rollout.ab_document import ab_document
    from modelyard.serving.rollout.control import FOLDER, newest, outcome_of_file
    from modelyard.serving.rollout.store import Rollouts

    rollout = newest(Rollouts(workspace / FOLDER), name)
    found = outcome_of_file(rollout, outcomes)
    pages = ab_document(rollout, found).write(out, f"ab-{name}-{rollout.id}")
    if as_json:
        options.print_json({**to_plain(found), "pages": [str(p) for p in pages]})
    else:
        click.echo(f"{found.verdict}: {found.why}")
        for page in pages:
            click.echo(f"Wrote {page}")
    return {"yes": 0, "no": 2}.get(found.verdict, 3)


def _plan(steps: str | None, **words: Any) -> Any:
    from modelyard.serving.rollout.rollout import planned

    said = {name: value for name, value in words.items() if value is not None}
    if steps is not None:
        try:
            said["steps"] = [float(part) / 100 for part in steps.split(",")]
        except ValueError:
            raise click.UsageError(f"'{steps}' are no shares; write percent with commas, as 5,25,50.") from None
    return planned(said)


def _print(workspace: Path, name: str, as_json: bool) -> int:
    from modelyard.serving.rollout.control import FOLDER, newest, status, status_lines
    from modelyard.serving.rollout.store import Rollouts

    store = Rollouts(workspace / FOLDER)
    found = newest(store, name)
    shown = status(store, found)
    if as_json:
        options.print_json(shown)
    else:
        for line in status_lines(shown):
            click.echo(line)
    return {"rolled_back": 2, "held": 3}.get(found.state, 0)
