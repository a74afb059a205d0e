"""Deliverable 4: how the packed model is run, what it answers, and what its load needs, all as seen in a rehearsal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from modelyard.bundle.bundle import Bundle
from modelyard.bundle.latency import Timing
from modelyard.core.markup import Block, Code, Details, Document, Facts, Heading, Listing, Note, Table, Text, literal
from modelyard.serving.capacity import BODIES, BUSY, PEAK, Capacity, model_bytes
from modelyard.serving.fallback import fallback_rule
from modelyard.serving.manifests.deployed import LOG, STATE, object_name
from modelyard.serving.manifests.described import described
from modelyard.serving.manifests.image import dockerfile, image_name
from modelyard.serving.metrics import LOG_FAILURES
from modelyard.serving.openapi import curl
from modelyard.serving.rehearsal import Rehearsal

_SHOWN_FIELDS = 12


def deployment_document(
    bundle: Bundle,
    *,
    timing: Timing,
    rehearsal: Rehearsal,
    needs: Capacity,
    files: Sequence[Path | str],
) -> Document:
    """Build the deployment document.

    Parameters
    ----------
    bundle : Bundle
        What is deployed.
    timing : Timing
        Of the packed bundle, in process.
    rehearsal : Rehearsal
        What a real server answered, and how fast.
    needs : Capacity
        What the brief's load needs.
    files : sequence of path
        The deployment files, as paths a reader can open from the document.
    """
    blocks: list[Block] = [
        *_asking(bundle, rehearsal),
        *_speed(timing, rehearsal),
        *_load(bundle, needs),
        *_running(bundle, needs, files),
        *_failing(bundle),
        Details("The Dockerfile", [Code(dockerfile(bundle), "dockerfile")]),
    ]
    return Document(f"Deployment of {literal(bundle.manifest.name)}", _answer(bundle, timing, rehearsal, needs), blocks)


def _answer(bundle: Bundle, timing: Timing, rehearsal: Rehearsal, needs: Capacity) -> list[Block]:
    kind, verdict = _verdict(bundle, rehearsal)
    return [
        Note(kind, verdict),
        Facts(
            [
                ("Bundle", f"`{bundle.hash[:12]}`, {_size(model_bytes(bundle))} to answer with"),
                ("One row in process", f"{_time(timing.p50)}, p99 {_time(timing.p99)} ({timing.n:,} rows)"),
                ("One row over HTTP", f"{_time(rehearsal.p50)}, p99 {_time(rehearsal.p99)} ({rehearsal.n:,} requests)"),
                ("Needs", f"{needs.pods} pods of {needs.millicores}m CPU and {needs.mebibytes} MiB"),
            ]
        ),
        Code(f"modelyard serve {bundle.manifest.lineage.run.rsplit('-', 1)[-1]}", "sh"),
    ]


def _verdict(bundle: Bundle, rehearsal: Rehearsal) -> tuple[Literal["good", "warn", "bad", "info"], str]:
    limit = bundle.manifest.brief.latency
    seen = f"p99 over HTTP was {_time(rehearsal.p99)}"
    where = "on the machine it was packed on, without a network between"
    if limit is None:
        return "info", f"The brief names no latency; {seen}, {where}."
    if rehearsal.p99 >= 1e3 * limit.milliseconds:
        return "bad", f"**Too slow** for the brief's {limit}: {seen}, {where}."
    if limit.percentile > 99:
        return "warn", f"The brief asks for {limit}; {seen}, {where}. A percentile beyond 99 was not measured."
    return "good", f"Within the brief's {limit}: {seen}, {where}."


def _asking(bundle: Bundle, rehearsal: Rehearsal) -> list[Block]:
    return [
        Heading("A request and its answer"),
        Text("A made-up row of this table's values, sent to a server of this bundle, and what came back."),
        Code(curl(rehearsal.request), "sh"),
        Code(_json(rehearsal.answer), "json"),
        Text(
            'Many rows go as `{"instances": [row, ...]}` and come back under `predictions`. `id` is the name under '
            "which the prediction log keeps the answer. OpenAPI is at `/openapi.json`, and for people at `/docs`."
        ),
        *_more(bundle),
        Heading("A request that is refused"),
        Text(f"The same row with faults in it: {_faults(rehearsal)}. Every bad field is named, none is guessed."),
        Code(_json(rehearsal.problem), "json"),
    ]


def _more(bundle: Bundle) -> list[Block]:
    """Say what a query may ask for beside the prediction."""
    said = []
    if bundle.coverages:
        what = "the set of classes" if bundle.schema.classes else "the interval"
        levels = ", ".join(f"{c:g}" for c in bundle.coverages)
        said.append(f"`?coverage=` ({levels}) adds {what} that holds the truth so often.")
    if bundle.scores_novelty:
        said.append("`?ood=true` adds how unusual the row is: the share of development rows less unusual than it.")
    return [Text(" ".join(said))] if said else []


def _faults(rehearsal: Rehearsal) -> str:
    changed = [f"`{n}` is {_json(v)}" for n, v in rehearsal.refused.items() if rehearsal.request.get(n) != v]
    return " and ".join(literal(c) if "`" not in c else c for c in changed)


def _speed(timing: Timing, rehearsal: Rehearsal) -> list[Block]:
    rows = [
        ("One row, Python, dict to answer", _time(timing.p50), _time(timing.p99), f"{timing.n:,}"),
        ("One row, HTTP, one connection", _time(rehearsal.p50), _time(rehearsal.p99), f"{rehearsal.n:,}"),
    ]
    return [
        Heading("Speed"),
        Table(("What", "half within", "99 % within", "times"), rows, "lrrr"),
        Text(
            f"A batch of {timing.batch:,} rows was answered at {timing.rows_per_second:,.0f} rows a second in "
            f"process. One request over HTTP cost the server {_time(rehearsal.microseconds)} of CPU. All of it was "
            "measured when the bundle was packed, on the machine that packed it and whatever else ran there: the "
            "CPU time carries over to another machine of its kind, the percentiles less so."
        ),
    ]


def _load(bundle: Bundle, needs: Capacity) -> list[Block]:
    if needs.requests_per_day is None:
        asked = (
            "The brief names no load (`requests_per_day`), so the smallest deployment that survives the loss of a "
            "pod is written."
        )
    else:
        asked = (
            f"The brief asks for {needs.requests_per_day:,.0f} requests a day. At {PEAK:g} times the mean, which is "
            f"an assumption, the busiest moment brings {needs.peak:,.1f} a second."
        )
    return [
        Heading("Load"),
        Text(
            f"{asked} One core, kept {BUSY:.0%} busy, answers {needs.per_core:,.0f} a second at "
            f"{_time(needs.microseconds)} of CPU a request."
        ),
        Facts(
            [
                (
                    "Pods",
                    f"{needs.pods}, up to {needs.most_pods} (the autoscaler aims at {BUSY:.0%} of the CPU asked for)",
                ),
                ("CPU a pod", f"{needs.millicores}m; no limit, so that a burst is not throttled"),
                (
                    "Memory a pod",
                    f"{needs.mebibytes} MiB, for the server, for the {BODIES} MiB of bodies it holds at once, and for "
                    f"the model's file ({_size(model_bytes(bundle))})",
                ),
            ]
        ),
    ]


def _running(bundle: Bundle, needs: Capacity, files: Sequence[Path | str]) -> list[Block]:
    image, name = image_name(bundle), object_name(bundle)
    folder = next((str(Path(f).parent) for f in files if Path(f).name == "Dockerfile"), "deployment")
    commands = [
        f"pip wheel --no-deps --wheel-dir {folder} .    # in a checkout of modelyard",
        f"docker build -t {image} {folder}",
        f"docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 {image}",
        f"kubectl apply -k {folder}/kubernetes",
        f"kubectl rollout status deployment/{name}",
        f"kubectl port-forward service/{name} 8000:80",
    ]
    return [
        Heading("Running it"),
        Code("\n".join(commands), "sh"),
        Text(
            "The image holds Python, the base install of modelyard (no training library), the versions the answers "
            "were checked with, and this bundle, whose every file is checked against its hash when it starts. It "
            f"does not run as root, and writes under `{STATE}` alone. The build installs the wheel of `modelyard` "
            "beside the Dockerfile (the first command); without one it asks your package index."
        ),
        Text(
            "A pod is ready once the bundle is loaded and has answered its example rows. Told to stop, it turns "
            "unready first, answers what is under way, then ends."
        ),
        Text(
            "These servers answer whoever reaches them. `modelyard export` with `--auth keys` or `--auth oidc` writes "
            "the files of servers that ask for a key or a token."
        ),
        Text(
            "Each file says at its top how it is applied and what is to be filled in. Beside it stands how such files "
            "were checked in modelyard's own tests; none of them was applied to a cluster."
        ),
        Table(("File", "What it is", "Checked"), [(f"[{f}]({f})", *described(Path(f))) for f in files]),
    ]


def _failing(bundle: Bundle) -> list[Block]:
    brief, rule = bundle.manifest.brief, fallback_rule(bundle)
    behind = {"previous": "The version that was served before, where there was one, `served_by: previous`."}
    if bundle.manifest.runtime == "onnx":
        behind["cached"] = "The model's own earlier answer to the same row, `served_by: cached`."
    if rule is not None:
        behind["rule"] = f"The brief's rule ({literal(rule.text)}), `served_by: rule`, without probabilities."
    sources = [behind[name] for name in brief.fallback if name in behind]
    useless = rule is None and brief.rule is not None and "rule" in brief.fallback
    return [
        Heading("When something fails"),
        Text(
            "If the model raises an error, takes too long or answers no finite number, the next is asked, row by row:"
        ),
        Listing(("The model, `served_by: model`.", *sources, "503, as problem+json.")),
        *([Text("The brief's rule cannot answer this task from the columns that rows bring.")] if useless else []),
        Text(
            f"Each answered request is written to the prediction log (in the image: `{LOG}`) before its answer is "
            "sent, with one write: a killed server loses none (a machine that loses power may lose its last "
            f"seconds). When the disk is full, answers go on and `{LOG_FAILURES}` counts what the log lacks."
        ),
    ]


def _json(value: Any) -> str:
    if isinstance(value, Mapping) and len(value.get("errors", ())) > _SHOWN_FIELDS:
        value = {**value, "errors": [*value["errors"][:_SHOWN_FIELDS], "..."]}
    return json.dumps(value, indent=2, ensure_ascii=False)


def _time(microseconds: float) -> str:
    if microseconds < 1_000:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1e3:.3g} ms"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
