"""Runbooks: for each kind of alarm a page that says what it means, what to look at first, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.bundle.bundle import Bundle
from modelyard.core.markup import Code, Document, Facts, Heading, Listing, Note, Text, literal
from modelyard.data.drift import ACTION, FALSE_DISCOVERIES, FLOOR, WARNING
from modelyard.monitoring.budgets import DEFAULT_LIMIT
from modelyard.serving.manifests.deployed import object_name
from modelyard.serving.metrics import GUARD_FAILURES, LOG_FAILURES, LOG_LOADED, REQUESTS, SOURCE_FAILURES

NEVER = "Never for this alone."


@dataclass(frozen=True, slots=True)
class Runbook:
    """One kind of alarm.

    Attributes
    ----------
    kind : str
        As in `Alarm.kind`, or what an alert rule names.
    title, means : str
        What happened, and what that means.
    first : tuple of str
        What to look at, in order.
    commands : tuple of str
        To type while looking.
    do : tuple of str
        What to do, by what was found.
    back : str
        When to roll back.
    """

    kind: str
    title: str
    means: str
    first: tuple[str, ...]
    commands: tuple[str, ...]
    do: tuple[str, ...]
    back: str


def runbooks(bundle: Bundle) -> dict[str, Document]:
    """Return a page for each kind of alarm, with this model's names, limits and commands.

    Parameters
    ----------
    bundle : Bundle
        What is served.

    Returns
    -------
    dict of str to Document
        By kind; an alarm's `runbook` names its page.
    """
    return {book.kind: _page(book, bundle) for book in _books(bundle)}


def _page(book: Runbook, bundle: Bundle) -> Document:
    manifest = bundle.manifest
    return Document(
        title=f"{manifest.name}: {book.title}",
        answer=[
            Note("warn", book.means),
            Facts(
                [
                    ("Model", literal(manifest.name)),
                    ("Bundle", f"`{bundle.hash[:12]}`"),
                    ("Kubernetes", f"`deployment/{object_name(bundle)}`"),
                ]
            ),
        ],
        blocks=[
            Heading("Look first"),
            Listing(book.first),
            Code("\n".join(book.commands), "sh"),
            Heading("Then"),
            Listing(book.do),
            Heading("Roll back when"),
            Text(book.back),
            *([] if book.back.startswith(NEVER) else [Code(f"modelyard rollback {manifest.name}", "sh")]),
        ],
    )


def _books(bundle: Bundle) -> tuple[Runbook, ...]:
    name, target = bundle.manifest.name, f"deployment/{object_name(bundle)}"
    watch = f"modelyard watch {name} yard/predictions"
    develop = "modelyard develop BRIEF"
    logs = f"kubectl logs {target} --since=1h"
    limit = bundle.manifest.brief.latency or DEFAULT_LIMIT
    shares = f"PSI* over {ACTION:g} calls for action, over {WARNING:g} is a warning"
    rule = bundle.manifest.brief.rule
    fallback = (
        f"The brief's rule ({literal(rule)}) answers where it can" if rule else "There is no rule to fall back to"
    )
    return (
        Runbook(
            "drift",
            "a column drifted",
            f"A column no longer looks as it did where the model learnt: {shares}, a smaller one (over {FLOOR:g}) "
            f"is watched once two windows show it, each with the false discovery rate held at {FALSE_DISCOVERIES:g}.",
            (
                "Which columns, and since when? One column alone points at its source, many at the callers.",
                "Is it a new unit, a new default, a new category? The histograms show which.",
                "Did the predictions move too? If not, the model may hardly read the column.",
            ),
            (watch, f"modelyard show {name}"),
            (
                "The source is wrong: repair it. Retraining would teach the model the fault.",
                f"The world changed: `{develop}` on recent rows, then register and promote.",
                "It is a season the reference does not cover: note it, and train on a whole year next time.",
            ),
            "The drift began with the release of this version, or the metric on true labels fell with it.",
        ),
        Runbook(
            "prediction_drift",
            "the predictions drifted",
            "The model's answers are spread otherwise than on the rows it learnt from. Without labels this "
            "is the nearest sign of a change that matters.",
            (
                "Which columns drifted with them? The monitoring page lists both.",
                "Did a new version go live on that day? See the history.",
                "Does the fallback answer, instead of the model? Its answers are spread otherwise.",
            ),
            (watch, f"modelyard history {name}"),
            (
                "A column explains it: follow the runbook of drift.",
                "Nothing explains it: get true labels for some of these rows and evaluate the bundle on them.",
            ),
            "It began with a release and nothing else changed.",
        ),
        Runbook(
            "missing",
            "a column is missing more often, or less",
            "Values are absent in another share of rows than where the model learnt. The model takes a "
            "missing value for what it meant then.",
            (
                "From which callers do the rows without the value come?",
                "Was a form, a join or a default changed upstream?",
            ),
            (watch,),
            (
                "Repair the source; nothing is retrained on broken rows.",
                f"The value will stay away: drop the column in the brief, then `{develop}`.",
            ),
            NEVER + " The version before reads the same column.",
        ),
        Runbook(
            "schema",
            "rows do not fit the schema",
            "A column is gone, holds values of another type, or is empty where it never was. The server "
            "refuses such rows "
            "with 422 and names each field.",
            (
                "What do the callers send? The answer 422 names the field, what was wrong and what was allowed.",
                "Which release of the caller began it?",
            ),
            (
                watch,
                f"kubectl port-forward service/{object_name(bundle)} 8000:80 &  # then open http://127.0.0.1:8000/docs",
            ),
            (
                "Correct the caller.",
                f"The new form is meant: change the table and the brief, then `{develop}`.",
            ),
            "The caller cannot be corrected and the version before still takes its rows.",
        ),
        Runbook(
            "not_compared",
            "nothing could be compared",
            "The rows hold no column that the reference has, so whether anything changed is not known. A forecast of "
            "one series has none at all: its rows bring a time and nothing else.",
            ("Is it the right file, and the right model?", "For a forecast: has what it foretold come true by now?"),
            (watch,),
            (
                "The wrong file: take the right one.",
                "A forecast: measure it on what came true with `modelyard evaluate`.",
            ),
            NEVER,
        ),
        Runbook(
            "range",
            "numbers beyond anything seen",
            "More than 1 % of rows hold a number outside the range where the model learnt, more than chance "
            "explains. Trees answer "
            "such rows like the nearest they know.",
            (
                "Is it a unit (a factor of 10, 100, 1,000) or a placeholder such as 9999?",
                "Does one caller send them?",
            ),
            (watch,),
            ("Correct the unit or the placeholder.", f"The values are real: `{develop}` on rows that hold them."),
            NEVER,
        ),
        Runbook(
            "new_level",
            "categories never seen before",
            "A category holds levels that no row had where the model learnt. It answers them all alike.",
            ("How many rows? A few are ordinary, a spelling that replaced another is not.",),
            (watch,),
            ("A spelling changed: correct it.", f"The level is real and common: `{develop}` on rows that hold it."),
            NEVER,
        ),
        Runbook(
            "no_traffic",
            "no requests",
            "No prediction was asked for, or none was written down.",
            (
                "Are the pods ready, and does the service have endpoints?",
                "Do callers get answers? A refused caller shows as 4xx, a lost one not at all.",
            ),
            (f"kubectl get {target} -o wide", f"kubectl get endpoints {object_name(bundle)}", logs),
            (
                "Pods are not ready: their log says why.",
                "Callers stopped: ask them; outside office hours it may be right.",
            ),
            "The new version never became ready.",
        ),
        Runbook(
            "down",
            "no server answers the scrape",
            "Prometheus reaches none of the servers: callers most likely do not either.",
            ("Are the pods running? Did they restart?", "Was a node lost, or the image not pulled?"),
            (f"kubectl get pods -l app.kubernetes.io/name={object_name(bundle)}", logs),
            (
                "Out of memory: raise the memory request.",
                "The bundle is refused: its file was damaged on the way; build again.",
            ),
            "The pods of this version do not start.",
        ),
        Runbook(
            "errors",
            "answers fail",
            f"A share of requests gets 5xx. {fallback}; 503 means that nothing could answer.",
            (
                f"Does the model fail (`{SOURCE_FAILURES}`), or the server?",
                "Do all requests fail, or those of one kind?",
            ),
            (logs,),
            (
                "The model fails on some rows: keep one, and evaluate the bundle on it.",
                "The server fails: its log holds the trace.",
            ),
            "It began with this version. Do not wait for the cause.",
        ),
        Runbook(
            "fallback",
            "the model is not what answers",
            f"The model failed or answered no finite number. {fallback}; the answer says so under `served_by`.",
            ("Which error does the server's log name?", "Do the rows differ from those the model learnt from?"),
            (logs, watch),
            ("The graph fails: roll back, and pack again.", "The rows are odd: follow the runbook of schema or range."),
            "More than a few rows an hour are answered without the model.",
        ),
        Runbook(
            "latency",
            "answers are slow",
            f"More than {100 - limit.percentile:g} % of answers take longer than {limit.milliseconds:g} ms "
            f"(`{REQUESTS}`).",
            (
                "Is CPU at its limit? Are there as many pods as the autoscaler may start?",
                "Do callers send many rows at once? A request of 1,000 rows takes as long as they need.",
            ),
            (
                f"kubectl top pods -l app.kubernetes.io/name={object_name(bundle)}",
                f"kubectl get hpa {object_name(bundle)}",
            ),
            ("CPU is the limit: raise maxReplicas.", "Neighbours are: give the pods CPU of their own."),
            "The version before was fast under the same load.",
        ),
        Runbook(
            "refused",
            "many requests are refused",
            "A share of requests gets 422: their rows do not fit the schema.",
            (
                "Which caller, since when?",
                "Which field? The server's log names it, and so does the answer.",
            ),
            (f"{logs} | grep refused",),
            ("Correct the caller.", "The new form is meant: follow the runbook of schema."),
            "The version before took these rows.",
        ),
        Runbook(
            "prediction_log",
            "predictions are not written down",
            f"Answers go out that the prediction log lacks (`{LOG_FAILURES}`). Callers notice nothing; "
            f"drift and audits do.",
            ("Is the volume full?", "Was it mounted read-only?"),
            (f"kubectl exec {target} -- df -h", logs),
            (
                "Free space or enlarge the volume: writing resumes by itself.",
                "The dropped predictions are lost: note the hours.",
            ),
            NEVER,
        ),
        Runbook(
            "log_not_loaded",
            "the prediction log does not reach its store",
            f"Predictions and labels are written to files that are not moved into the store (`{LOG_LOADED}` stands "
            "still). Nothing is lost as long as the volume has room; the files grow, and who reads the store misses "
            "what is new.",
            (
                "Why? The server's log says `the prediction log is not loaded`, and the reason.",
                "Can the server reach the store: address, password, certificate, network policy?",
                "Is there a loader at all? A server with `--no-load` leaves that to `modelyard log load`.",
                "How much room is left for the files?",
            ),
            (f"{logs} | grep 'not loaded'", f"kubectl exec {target} -- df -h"),
            (
                "Bring the store back: it is tried every minute, and what waits is then loaded.",
                "It stays away: enlarge the volume before it is full, or records are dropped (runbook of "
                "prediction_log).",
                "The loader is gone: `modelyard log load` moves what waits.",
            ),
            NEVER,
        ),
        Runbook(
            "guard",
            "what lets callers in is cut off",
            f"The file of keys, the issuer of tokens or the Redis of limits cannot be reached "
            f"(`{GUARD_FAILURES}`). Known keys go on; tokens do for an hour; limits are counted by each process alone, "
            "or answer 503, as the server was told.",
            (
                "Which one? The metric's label `needed` names it, and so does the server's log (`keys_lost`, "
                "`issuer_lost`, `limits_lost`).",
                "Can the server reach it: address, certificate, password, network policy?",
            ),
            (f"{logs} | grep _lost",),
            (
                "Bring it back: the server finds it by itself, and its log says so.",
                "The issuer stays away: give the callers that must go on keys of the server (`modelyard keys create`).",
            ),
            NEVER,
        ),
    )
