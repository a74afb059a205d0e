"""The monitoring page: new rows against the rows the model learnt from, the verdict first."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.bundle.bundle import Bundle
from modelyard.core.markup import Block, Details, Document, Facts, Heading, Listing, Note, Table, Text, literal
from modelyard.data.drift import ACTION, FALSE_DISCOVERIES, FLOOR, WARNING, ColumnDrift
from modelyard.monitoring.alarm import Alarm
from modelyard.monitoring.pictures import picture
from modelyard.monitoring.watch import Drift, p_text

_PICTURES = 20


def monitoring_page(bundle: Bundle, found: Drift, raised: Sequence[Alarm]) -> Document:
    """Build the page of one comparison.

    Parameters
    ----------
    bundle : Bundle
        What is watched.
    found : Drift
        The comparison.
    raised : sequence of Alarm
        Its alarms, most urgent first.
    """
    return Document(
        title=f"Monitoring of {literal(bundle.manifest.name)}",
        answer=[_verdict(found, raised), *_alarms(raised), _facts(bundle, found)],
        blocks=[*_columns(found), *_moved(found), *_method(found)],
    )


def _verdict(found: Drift, raised: Sequence[Alarm]) -> Note:
    urgent = [a for a in raised if a.severity == "action"]
    warned = [a for a in raised if a.severity == "warning"]
    if urgent:
        return Note("bad", f"**Act**: {len(urgent)} of {len(raised)} alarms call for action.")
    if warned:
        return Note(
            "warn", f"**Look this week**: {len(warned)} of {len(raised)} alarms are warnings, none calls for action."
        )
    if not found.columns:
        return Note("warn", "**Not known**: nothing could be compared with the reference.")
    if raised:
        return Note("info", f"**Nothing to do**: {len(raised)} small changes are watched.")
    return Note(
        "good",
        f"**No change**: {found.rows:,} new rows look like the {found.reference:,} of the reference, in each of "
        f"{len(found.columns)} columns compared.",
    )


def _alarms(raised: Sequence[Alarm]) -> list[Block]:
    if not raised:
        return []
    rows = [(a.severity, literal(a.what), literal(a.do), f"[{a.kind}](runbooks/{a.runbook}.md)") for a in raised]
    return [Table(("how urgent", "what", "do", "runbook"), rows)]


def _facts(bundle: Bundle, found: Drift) -> Facts:
    window = f"{found.before:,} rows" if found.before else "none given: what is small is not watched over two windows"
    return Facts(
        [
            ("Bundle", f"`{bundle.hash[:12]}`"),
            ("New rows", f"{found.rows:,}"),
            ("Reference", f"{found.reference:,} development rows, each scored by models that had not seen it"),
            ("Window before", window),
        ]
    )


def _columns(found: Drift) -> list[Block]:
    if not found.columns:
        return []
    ordered = sorted(found.columns, key=lambda c: -max(c.values.corrected, c.missing.corrected))
    rows = [
        (
            literal(c.name),
            f"{c.values.psi:.3f}",
            f"{c.values.corrected:.3f}",
            p_text(c.values.p_value).removeprefix("= ") if c.values.test == "ks" else "",
            p_text(c.values.p_value).removeprefix("= ") if c.values.test == "chi2" else "",
            f"{c.missing_then:.1%}",
            f"{c.missing_now:.1%}",
            _worst(c),
        )
        for c in ordered
    ]
    heads = ("column", "PSI", "PSI*", "KS p", "chi-squared p", "missing then", "now", "verdict")
    return [Heading("Every column"), Table(heads, rows, "lrrrrrrl")]


def _worst(column: ColumnDrift) -> str:
    if column.missing_verdict == "stable":
        return column.verdict
    missing = f"missing: {column.missing_verdict}"
    return missing if column.verdict == "stable" else f"{column.verdict}, {missing}"


def _moved(found: Drift) -> list[Block]:
    moved = [c for c in found.columns if c.verdict != "stable"]
    blocks: list[Block] = []
    for column in sorted(moved, key=lambda c: -c.values.corrected)[:_PICTURES]:
        drawn = picture({"reference": column.reference, "now": column.window})
        if drawn is not None:
            blocks += [Heading(literal(column.name), 3), drawn]
    if len(moved) > _PICTURES:
        blocks.append(Text(f"{len(moved) - _PICTURES} more columns moved less."))
    return [Heading("What moved"), *blocks] if blocks else []


def _method(found: Drift) -> list[Block]:
    return [
        Details(
            "How this is decided",
            [
                Listing(
                    (
                        "PSI compares shares of rows over the reference's bins (tenths of it) or levels; PSI* takes "
                        "off what chance alone adds, (bins - 1) (1/n + 1/m). Rare levels are pooled.",
                        f"Significant means: among the p-values of all {2 * len(found.columns)} comparisons, found "
                        f"with a false discovery rate of {FALSE_DISCOVERIES:g} (Benjamini-Hochberg).",
                        f"Action: significant and PSI* over {ACTION:g}. Warning: over {WARNING:g}. Watch: over "
                        f"{FLOOR:g} and significant in two windows in a row.",
                        "A value that does not fit its column's type, or that the brief does not allow, is counted as "
                        "a schema alarm, and is left out here.",
                    )
                )
            ],
        )
    ]
