"""Options that several verbs share, and how results are printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Time(click.ParamType[float]):
    """A stretch of time, such as 90s, 1.5h or 14d; its value is in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([smhd])", str(value), re.ASCII)
        if found is None:
            self.fail(f"'{value}' is no time. Allowed: a number and s, m, h or d, such as 90s or 14d.", param, ctx)
        return float(found[1]) * _SECONDS[found[2]]


DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
workspace: Callable[[F], F] = click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    envvar="MODELYARD_WORKSPACE",
    default=Path("yard"),
    show_default=True,
    help="Folder of runs, registry and tracking.",
)
as_json: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="Print one last line of JSON.")
presets: Callable[[F], F] = click.option(
    "--presets",
    type=click.Choice(["fast", "balanced", "best"]),
    help="Budget, folds and networks, where the brief leaves them open; overrides its own word.",
)
quiet: Callable[[F], F] = click.option("-q", "--quiet", is_flag=True, help="Print the result alone.")


def log(command: F) -> F:
    """Add the options that say where a prediction log and its store are."""
    folder = click.option(
        "--log", type=click.Path(path_type=Path), help="Folder of the prediction log; default: in the workspace."
    )
    store = click.option(
        "--store",
        envvar="MODELYARD_STORE",
        help="Where the log is loaded: postgresql://..., or a file for SQLite; default: store.db in its folder.",
    )
    return folder(store(command))


def predictions(log: Path | None, store: str | None, workspace: Path) -> Any:
    """Return the prediction log that the options of `log` name."""
    from modelyard.serving.predictions.predictions import Predictions

    return Predictions(log or workspace / "predictions", store)


def print_json(value: Any) -> None:
    """Print one line of JSON; a figure that is undefined is null."""
    import msgspec

    click.echo(msgspec.json.encode(value, enc_hook=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
    """Print a table as wide as its cells; columns named in `right` are aligned right."""
    widths = [max(len(str(r[i])) for r in [columns, *rows]) for i in range(len(columns))]
    for number, row in enumerate([columns, *rows]):
        cells = [
            str(cell).rjust(w) if name in right.split() and number else str(cell).ljust(w)
            for cell, w, name in zip(row, widths, columns, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        click.echo(click.style(line, bold=True) if number == 0 else line)


def print_move(moved: Any, as_json: bool) -> None:
    """Print where a release now stands, and what its gates said."""
    release = moved.release
    if as_json:
        gates = [{"name": g.name, "answer": g.answer, "why": g.why} for g in moved.gates]
        print_json({"name": release.name, "version": release.version, "stage": release.stage, "gates": gates})
        return
    click.echo(f"{release.name} version {release.version} is in {release.stage} (bundle {release.hash[:12]})")
    colour = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
    for gate in moved.gates:
        click.echo(f"  {click.style(f'{gate.answer:<13}', fg=colour[gate.answer])}{gate.name}: {gate.why}")
    if moved.mirror:
        click.echo(f"  note         {moved.mirror}")
