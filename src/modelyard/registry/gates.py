"""Gates: the questions asked before a release moves. They read what was decided elsewhere and never recompute it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from modelyard.brief.brief import Latency, Size
from modelyard.data.finding import Finding
from modelyard.registry.release import Gate, Release

if TYPE_CHECKING:
    # For the reader alone: a server looks up releases here and loads nothing that evaluates.
    from modelyard.evaluation.report import Estimate, Report
    from modelyard.metrics.intervals import Gain

Answer = Literal["pass", "fail", "inconclusive"]
PRODUCTION = "better than production"


def target_met(report: Report) -> Gate:
    """Ask whether every target of the brief was reached: the report's own answer."""
    answers: dict[str, Answer] = {"yes": "pass", "no": "fail", "inconclusive": "inconclusive"}
    reached = [f"{one.target}: {_figure(one.estimate)}" for one in report.targets]
    return Gate(
        "target met", answers[report.target_met], "; ".join(reached) or f"no target: {_figure(report.estimate)}"
    )


def beats_baseline(report: Report) -> Gate:
    """Ask whether the model beats the best simple predictor: the report's own answer."""
    if not report.baselines:
        return Gate("beats baseline", "inconclusive", "no baseline was measured")
    best = report.baselines[0]
    gain = (
        f"gain {best.gain:.3g} [{best.gain_low:.3g}, {best.gain_high:.3g}] over {best.title}, n = {best.estimate.n:,}"
    )
    return Gate("beats baseline", "pass" if report.beats_baseline else "fail", gain)


def better_than_production(
    production: Release | None, gain: Gain | None, *, n: int = 0, missing: str = "not compared on the same rows"
) -> Gate:
    """Ask whether the model is better than the one in production on the same rows.

    Parameters
    ----------
    production : Release or None
        The present one; None lets the release pass.
    gain : Gain or None
        By paired bootstrap; None when the comparison could not be made.
    n : int
        Rows compared on.
    missing : str
        Why there is no gain.
    """
    if production is None:
        return Gate(PRODUCTION, "pass", "nothing is in production")
    if gain is None:
        return Gate(PRODUCTION, "inconclusive", f"version {production.version}: {missing}")
    answer: Answer = "pass" if gain.low > 0 else "fail" if gain.high < 0 else "inconclusive"
    figures = f"gain {gain.gain:.3g} [{gain.low:.3g}, {gain.high:.3g}], p = {gain.p_value:.2g}, n = {n:,}"
    return Gate(PRODUCTION, answer, f"version {production.version}: {figures}")


def compatible(production: Release | None, broken: Sequence[str] | None) -> Gate:
    """Ask whether callers of the release in production can go on unchanged: the interface stays ``/v1``.

    Parameters
    ----------
    production : Release or None
        The present one; None lets the release pass.
    broken : sequence of str or None
        What breaks them (see `modelyard.bundle.compatible.breaking`); None when a bundle could not be read.
    """
    if production is None:
        return Gate("compatible", "pass", "nothing is in production")
    said = f"callers of version {production.version}"
    if broken is None:
        return Gate("compatible", "inconclusive", f"{said}: a bundle cannot be read")
    if broken:
        return Gate("compatible", "fail", f"{said} could not go on: {'; '.join(broken)}. Give it a use_case of its own")
    return Gate("compatible", "pass", f"{said} go on unchanged")


def latency(asked: Latency | None, p99: float | None) -> Gate:
    """Ask whether the packed bundle answers within the brief's limit.

    Parameters
    ----------
    asked : Latency or None
        The brief's limit; None lets the release pass.
    p99 : float or None
        Microseconds that 99 of 100 single rows took at most through the packed bundle; None when not measured.
    """
    if asked is None:
        return Gate("latency", "pass", "the brief sets no limit")
    if p99 is None:
        return Gate("latency", "inconclusive", f"{asked} was asked, and nothing was measured")
    measured = f"p99 {p99 / 1000:.3g} ms in process, without the network; asked {asked}"
    if p99 >= 1000 * asked.milliseconds:
        # A slower p99 says nothing about a percentile below it.
        return Gate("latency", "fail" if asked.percentile >= 99 else "inconclusive", measured)
    return Gate("latency", "pass" if asked.percentile <= 99 else "inconclusive", measured)


def size(asked: Size | None, held: int | None) -> Gate:
    """Ask whether the packed model's file is within the brief's limit.

    Parameters
    ----------
    asked : Size or None
        The brief's limit; None lets the release pass.
    held : int or None
        Bytes of the file that answers; None where the bundle does not say.
    """
    if asked is None:
        return Gate("size", "pass", "the brief sets no limit")
    if held is None:
        return Gate("size", "inconclusive", f"{asked} was asked, and the bundle does not say")
    said = f"{held / 1e6:.3g} MB is the file that answers; asked {asked}"
    return Gate("size", "pass" if held < asked.bytes else "fail", said)


def parity(worst: float | None, tolerance: float, rows: int = 0) -> Gate:
    """Ask whether the packed files answer as the model did in training.

    Parameters
    ----------
    worst : float or None
        Largest difference found when packing; None when it was not looked for.
    tolerance : float
        The largest allowed.
    rows : int
        Rows compared.
    """
    if worst is None:
        return Gate("parity", "inconclusive", "the bundle does not say that it was compared")
    return Gate(
        "parity", "pass" if worst <= tolerance else "fail", f"worst {worst:.2g}, allowed {tolerance:g}, n = {rows:,}"
    )


def no_open_leak(findings: Sequence[Finding]) -> Gate:
    """Ask whether a finding that stops a run is still open."""
    open_ = [finding for finding in findings if finding.severity == "stop"]
    if open_:
        return Gate("no open leak", "fail", "; ".join(finding.what for finding in open_))
    return Gate("no open leak", "pass", "no finding is open")


def merged(kept: Sequence[Gate], new: Sequence[Gate], release: Release, production: Release | None) -> tuple[Gate, ...]:
    """Return the gates kept at registration with new answers in their place, and always one about production."""
    gates = {gate.name: gate for gate in kept if gate.name != PRODUCTION}
    rival = production if production is not None and production.version != release.version else None
    gates[PRODUCTION] = better_than_production(rival, None)
    if not kept:
        gates["evidence"] = Gate("evidence", "inconclusive", "it was registered without a report")
    gates.update({gate.name: gate for gate in new})
    return tuple(gates.values())


def verdict(gates: Sequence[Gate]) -> Answer:
    """Return the worst answer: fail before inconclusive before pass; inconclusive when nothing was asked."""
    answers = {gate.answer for gate in gates}
    return "fail" if "fail" in answers else "pass" if answers == {"pass"} else "inconclusive"


def _figure(estimate: Estimate) -> str:
    return f"{estimate.metric} {estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}], n = {estimate.n:,}"
