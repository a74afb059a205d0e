"""Recipe: what refits exactly this run's model, as data, as a script, and as a lock of package versions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec

from modelyard.brief.brief import Brief
from modelyard.brief.presets import fold_count
from modelyard.brief.write import brief_text
from modelyard.core.canonical import canonical_json, pretty_json
from modelyard.core.errors import TrainingError
from modelyard.core.files import write_atomic
from modelyard.families.fitted import Candidate, Link
from modelyard.selection.plan import Plan
from modelyard.training.environment import lock
from modelyard.training.run import Run

FORMAT = 2
_ASKED = ("task", "model", "metric", "latency", "size", "seed", "validation", "forecast")
_SCRIPT = '''"""Refit the model of run {name}: the same members, rounds, weights and calibration.

Run it in an environment with the versions of requirements.lock:

    python recipe.py [WORKSPACE] [--data FILE]

The table is sought where it lay as seen from this folder; name it where the folder alone was copied. The script does
what this command does, and compares the bundle with the one beside it:

    modelyard develop brief.yaml --replay recipe.json --workspace .
"""

import argparse
import sys
from pathlib import Path

import modelyard
from modelyard.core.kernels import made_steady, steady_kernels

here = Path(__file__).resolve().parent
if made_steady(here / "recipe.json"):
    steady_kernels()  # before numpy is loaded

from modelyard.training.recipe import read_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description="Refit the model of run {name}.")
    parser.add_argument("workspace", nargs="?", default="replayed", type=Path, help="where the run is written")
    parser.add_argument("--data", type=Path, help="the table, where it is not where it was")
    words = parser.parse_args()
    brief = modelyard.read_brief(here / "brief.yaml")
    data = words.data or brief.data.path
    if data is None or not Path(data).exists():
        sys.exit(f"error: The table is not here: {{data}}\\n  Name it: python recipe.py --data FILE")
    done = modelyard.develop(brief, data, workspace=words.workspace, replay=read_recipe(here / "recipe.json"))
    print("bundle", done.bundle.hash)
    if (here / "bundle").is_dir():
        same = modelyard.load_bundle(here / "bundle").hash == done.bundle.hash
        print("the same as here" if same else "not the same as here: compare requirements.lock with what is installed")


if __name__ == "__main__":
    try:
        main()
    except modelyard.ModelyardError as error:
        sys.exit(f"error: {{error}}")
'''


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a recipe: what to fit, how many rounds each of its fits takes, its share, its models on every row.

    `whole` is empty where the fits over the folds answer themselves.
    """

    candidate: Candidate
    rounds: tuple[int, ...]
    weight: float
    whole: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What reading checks of a recipe; it is handed on as it was written."""

    brief: Brief
    fingerprint: str
    candidates: tuple[Candidate, ...]
    members: Annotated[tuple[Member, ...], msgspec.Meta(min_length=1)]
    link: Link
    scale: float
    offset: tuple[float, ...]


def write_recipe(run: Run, folder: Path) -> Path:
    """Write ``recipe.json``, ``recipe.py``, ``brief.yaml`` and ``requirements.lock``; return the first.

    The data's path is written as seen from the folder, so that workspace and data can be moved together.

    Raises
    ------
    WorkspaceError
        If the folder cannot be written.
    """
    brief = _seen_from(folder, run.plan.brief)
    recipe = {
        "format": FORMAT,
        "brief": brief,
        "fingerprint": run.plan.fingerprint,
        "seed": run.plan.brief.seed,
        "family": run.plan.family,
        "metric": run.plan.metric,
        "candidates": run.plan.candidates,
        "members": [
            Member(fitted.candidate, fitted.rounds, weight, fitted.whole) for fitted, weight in run.blend.members
        ],
        "link": run.blend.link,
        "scale": run.blend.scale,
        "offset": run.blend.offset,
        "environment": run.environment,
    }
    write_atomic(folder / "recipe.py", _SCRIPT.format(name=run.name))
    write_atomic(folder / "brief.yaml", brief_text(brief, {}))
    write_atomic(folder / "requirements.lock", "\n".join(lock()) + "\n")
    return write_atomic(folder / "recipe.json", pretty_json(recipe))


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe; the data's path is taken from the recipe's folder.

    Raises
    ------
    TrainingError
        If it is missing, damaged, or of another format.
    """
    try:
        recipe = msgspec.json.decode(path.read_bytes())
        if recipe["format"] != FORMAT:
            raise TrainingError(
                f"The recipe has format {recipe['format']}.",
                where=str(path),
                allowed=f"This version reads format {FORMAT}.",
                do="Use the version of modelyard its requirements.lock names.",
            )
        data = recipe["brief"]["data"]
        if data["path"] is not None:
            data["path"] = str((path.absolute().parent / data["path"]).resolve())
        msgspec.convert(recipe, _Recipe)
    except (OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise TrainingError(
            "The recipe cannot be read.",
            where=f"{path}: {error}",
            do="Name the recipe.json of a finished run.",
        ) from error
    return dict(recipe)


def recipe_members(recipe: Mapping[str, Any]) -> tuple[Member, ...]:
    """Return the members of a recipe, typed."""
    return msgspec.convert(recipe["members"], tuple[Member, ...])


def recipe_plan(recipe: Mapping[str, Any], plan: Plan) -> Plan:
    """Return the plan with the candidates the recipe's run considered; a family sizes them by the machine's pace."""
    return replace(plan, candidates=msgspec.convert(recipe["candidates"], tuple[Candidate, ...]))


def check_recipe(recipe: Mapping[str, Any], plan: Plan) -> None:
    """See that a recipe is of this table and this question.

    Raises
    ------
    TrainingError
        If it is not: refitting it here would give another model than it promises.
    """
    if recipe["fingerprint"] != plan.fingerprint:
        raise TrainingError(
            "The recipe is of another table.",
            where=f"fingerprint {recipe['fingerprint'][:12]}, and the table's is {plan.fingerprint[:12]}",
            do="Name the table it was made from, or leave --replay out to train anew.",
        )
    brief = msgspec.convert(recipe["brief"], Brief)  # with keys that came later
    known, ours = (msgspec.json.decode(canonical_json(one)) for one in (brief, plan.brief))
    differ = [key for key in _ASKED if known[key] != ours[key]]
    differ += [f"data.{key}" for key in ours["data"] if key != "path" and known["data"][key] != ours["data"][key]]
    if not differ and fold_count(brief) != fold_count(plan.brief):
        differ = ["presets"]
    if differ:
        raise TrainingError(
            f"The recipe was made with another brief: {', '.join(differ)} differ.",
            do="Replay it with the brief.yaml beside it.",
        )


def _seen_from(folder: Path, brief: Brief) -> Brief:
    if brief.data.path is None:
        return replace(brief, source="recipe")
    path = Path(os.path.relpath(brief.data.path, folder.absolute())).as_posix()
    return replace(brief, source="recipe", data=replace(brief.data, path=path))
