"""The fifth document: where this model stands, what its gates say, and how it is moved, brought back and retrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelyard.core.markup import Block, Code, Details, Diagram, Document, Facts, Heading, Listing, Note, Table, Text
from modelyard.registry.gates import verdict
from modelyard.registry.release import Event, Gate, Release
from modelyard.registry.store import MOVES
from modelyard.training.run import Run

_KINDS: dict[str, Literal["good", "warn", "bad"]] = {"pass": "good", "inconclusive": "warn", "fail": "bad"}
_SAYS = {
    "pass": "Every gate passes: it may be promoted.",
    "inconclusive": "A gate is inconclusive: a person may approve it, with a reason that is kept.",
    "fail": "A gate fails: it will be refused.",
}


def mlops_document(
    run: Run,
    bundle_hash: str,
    releases: Sequence[Release],
    history: Sequence[Event],
    gates: Sequence[Gate],
    workflow: str,
    *,
    name: str,
    written: str,
    triggers: Sequence[tuple[str, str, str]] = (),
    commands: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
) -> Document:
    """Build the document of a run's place in the registry.

    Parameters
    ----------
    run : Run
        What was trained.
    bundle_hash : str
        Of what was packed.
    releases : sequence of Release
        Of this name, newest first; empty before anything is registered.
    history : sequence of Event
        Of this name, oldest first.
    gates : sequence of Gate
        As they answer for this run now (see `modelyard.registry.register.evidence`).
    workflow : str
        The workflow's text.
    name : str
        The release's name: the use case, as a file name.
    written : str
        When the registry was read; a document does not move on with it, so it says so.
    triggers : sequence of (what, threshold, what follows)
        What asks for retraining.
    commands : sequence of str
        The commands that made the run.
    links : sequence of (text, file stem)
        The other documents.
    """
    release = next((one for one in releases if one.hash == bundle_hash), None)
    answer: list[Block] = [
        Text(
            f"On {written}, when this was written: {_standing(run, release, releases)} "
            f"What holds now: `modelyard history {name}`."
        ),
        Note(_KINDS[verdict(gates)], _SAYS[verdict(gates)]),
        _gates(gates),
    ]
    blocks: list[Block] = [
        Heading("How it moves"),
        Diagram(
            [
                ("development", "development"),
                ("staging", "staging"),
                ("production", "production"),
                ("archived", "archived"),
            ],
            [
                ("development", "staging", "gates"),
                ("staging", "production", "gates"),
                ("production", "archived", "replaced"),
                ("archived", "production", "rollback"),
            ],
            "One release of a name is in production at a time; promoting another archives it in the same transaction.",
        ),
        Table(
            ["To", "Command"],
            [
                ["enter this run", f"`modelyard register {run.id}`"],
                ["move it on, through its gates", f"`modelyard promote {name}`"],
                ["decide an inconclusive gate", f'`modelyard promote {name} --approve NAME --why "..."`'],
                ["bring the previous one back", f'`modelyard rollback {name} --why "..."`'],
                ["tell callers that it ends", f"`modelyard deprecate {name} --sunset DATE`"],
                ["see everything that happened", f"`modelyard history {name}`"],
                ["take it out of use", f"`modelyard promote {name} --to archived`"],
            ],
        ),
        Text(
            "A failed gate refuses the move with exit code 2, an inconclusive one with exit code 3. Refusals and "
            "approvals are written to the history, which is only ever added to. From each stage: "
            + "; ".join(f"{stage}: {', '.join(to)}" for stage, to in MOVES.items())
            + "."
        ),
        Heading("Releases"),
        _releases(releases, bundle_hash, written),
        Heading("Lineage"),
        Facts(
            [
                ("run", run.name),
                ("bundle", bundle_hash),
                ("data", run.plan.fingerprint),
                ("code", run.commit or "not in a git repository"),
                ("seed", str(run.plan.brief.seed)),
                ("members", ", ".join(f"{f.candidate.name} {weight:.2f}" for f, weight in run.blend.members)),
                *((f"tracking {key}", value) for key, value in sorted(run.tracking.items())),
            ]
        ),
        Heading("Retraining"),
        Text(
            "Alarms retrain nothing: they propose the next brief, and a person approves it. The workflow retrains on "
            "its schedule and when the brief changes; what it makes goes to production when its reviewers approve."
        ),
    ]
    if triggers:
        blocks.append(Table(["Trigger", "Threshold", "What follows"], [list(row) for row in triggers]))
    blocks += [Heading("Continuous integration"), *_ci(workflow)]
    if history:
        blocks.append(Details("History", [_history(history)]))
    return Document(f"MLOps: {name}", answer, blocks, commands, links)


def _standing(run: Run, release: Release | None, releases: Sequence[Release]) -> str:
    live = next((one for one in releases if one.stage == "production"), None)
    here = (
        f"Run `{run.id}` is **version {release.version}**, in **{release.stage}**."
        if release is not None
        else f"Run `{run.id}` is not registered."
    )
    if live is None:
        return f"{here} Nothing of this name is in production."
    if release is not None and live.version == release.version:
        return f"{here} It is what production answers with."
    return f"{here} Production answers with version {live.version} (run `{live.run}`)."


def _gates(gates: Sequence[Gate]) -> Table:
    return Table(["Gate", "Answer", "Figures"], [[gate.name, f"**{gate.answer}**", gate.why] for gate in gates])


def _releases(releases: Sequence[Release], bundle_hash: str, written: str) -> Block:
    if not releases:
        return Text(f"None on {written}.")
    return Table(
        ["Version", "Stage", "Run", "Bundle", "Entered"],
        [
            [
                f"**{one.version}** (this run)" if one.hash == bundle_hash else str(one.version),
                one.stage if one.sunset is None else f"{one.stage}, deprecated, ends {one.sunset[:10]}",
                one.run,
                f"`{one.hash[:12]}`",
                one.created,
            ]
            for one in releases
        ],
        align="rllll",
        caption=f"As they stood on {written}.",
    )


def _history(history: Sequence[Event]) -> Table:
    rows = [[e.at, e.by, str(e.version), e.action, f"{e.before or '-'} to {e.after or '-'}", _note(e)] for e in history]
    return Table(["At", "By", "Version", "What", "Stages", "Note"], rows, align="llrlll")


def _note(event: Event) -> str:
    if event.action != "refuse":
        return event.note or "-"
    return f"{event.note} ({', '.join(gate.name for gate in event.gates if gate.answer != 'pass')})"


def _ci(workflow: str) -> list[Block]:
    return [
        Listing(
            [
                "A change of the brief, the weekly schedule or a person starts it.",
                "It trains, evaluates, registers, and asks the gates for staging.",
                "It builds the image from the staged release.",
                "The environment `production` waits for its reviewers; then the gates are asked again.",
            ]
        ),
        Details("The workflow", [Code(workflow, "yaml")]),
    ]
