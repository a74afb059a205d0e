"""``modelyard develop``: take a brief to a packaged model and six documents."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from modelyard.cli import options
from modelyard.core.errors import FindingsOpen
from modelyard.core.kernels import made_steady, steady_kernels


@click.command("develop")
@click.argument("brief")
@click.option("--data", type=click.Path(path_type=Path), help="The table, when the brief names none.")
@click.option("--label", help="The column to predict, when the brief names none.")
@options.workspace
@options.presets
@click.option("--seconds", type=float, help="Budget of the whole run, in seconds; overrides the brief.")
@click.option("--seed", type=int, help="Overrides the brief's seed.")
@click.option("--replay", metavar="RUN|RECIPE", help="Refit exactly the members of a run, as its recipe says.")
@options.as_json
@options.quiet
def command(
    brief: str,
    data: Path | None,
    label: str | None,
    workspace: Path,
    presets: str | None,
    seconds: float | None,
    seed: int | None,
    replay: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take a brief to a packaged model and six documents.

    BRIEF is a YAML file, or one sentence in quotes. A run that was killed goes on from its last finished step when
    the same command is given again. Exits with 0 when the target is met, 2 when it is missed or a leak was found,
    3 when the evidence does not decide.

    \b
    Examples:
      modelyard develop patients.yaml
      modelyard develop patients.yaml --seconds 300 --workspace /srv/yard
      modelyard develop patients.yaml --presets fast
      modelyard develop patients.yaml --replay k7
      modelyard develop "Develop XGBoost classifier for readmission achieving AUC > 0.80
          with < 100 ms p99 latency using XGBoost on Kubernetes" --data patients.csv --label readmitted
    """
    began = time.monotonic()  # loading what follows is part of what the caller waits for
    from modelyard.flow.workspace import Workspace

    file = None if replay is None else Workspace.open(workspace).recipe(replay)
    if file is None or made_steady(file):
        steady_kernels()
    from modelyard.cli.progress import Drawn
    from modelyard.flow.asked import asked
    from modelyard.flow.develop import develop
    from modelyard.flow.look import answer_lines
    from modelyard.training.recipe import read_recipe

    question = asked(brief, data=data, label=label, presets=presets, seconds=seconds, seed=seed)
    recipe = None if file is None else read_recipe(file)
    typed = " ".join(["modelyard", *(_quoted(word) for word in sys.argv[1:])])
    with Drawn(quiet or as_json) as progress, _stopped(as_json):
        done = develop(question, workspace=workspace, progress=progress, replay=recipe, commands=(typed,), began=began)
    if as_json:
        options.print_json(done.summary())
    else:
        for line in answer_lines(done):
            click.echo(line)
    raise SystemExit(done.exit_code)


@contextmanager
def _stopped(as_json: bool) -> Iterator[None]:
    """Print findings that stop the run as the last line too, where a machine reads it."""
    try:
        yield
    except FindingsOpen as stop:
        if as_json:
            from modelyard.core.canonical import to_plain

            options.print_json({"run": None, "bundle": None, "verdict": "stopped", "findings": to_plain(stop.findings)})
        raise


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
