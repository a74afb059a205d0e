"""Targets and latency limits, as a brief writes them.

::

    targets    = target {("and" | "," | ";") target}
    target     = metric [comparison] value ["on" label]
               | [comparison] value metric ["on" label]
               | metric "of" [comparison] value ["on" label]
               | metric "on" label (comparison | "of") value
    metric     = a name or spelling `modelyard help metrics` lists
    comparison = ">=" | ">" | "<=" | "<" | "at least" | "over" | "at most" | "under" | ...
    value      = number ["%"]
    label      = the words up to the end of the target, or a text in double quotes

    latency    = [percentile] [comparison] number unit [percentile] ["latency"], the percentile before or after
    percentile = "p" number | "at" "p" number | "median"
    unit       = "us" | "ms" | "s" | "seconds" | "minutes" | ...

A target without a comparison takes the metric's own direction: "99% recall" is ``recall >= 0.99``.
"""

from __future__ import annotations

import re

from modelyard.brief.brief import Comparison, Latency, Target
from modelyard.brief.words import COMPARISON, NUMBER, PLATFORMS, QUOTED, comparison, number, quote, shortest, unquote
from modelyard.core.errors import BriefError
from modelyard.metrics.find import metric as find_metric
from modelyard.metrics.metric import Metric

_PARTS = re.compile(rf"({QUOTED})|\s+and\s+|\s*[;,](?!\d)\s*", re.IGNORECASE | re.DOTALL)
_VALUE = rf"(?P<value>{NUMBER})\s*(?P<percent>%|percent\b)?"
_SIGN = rf"(?P<sign>{COMPARISON})"
_LABEL = r"(?:\s+on\s+(?P<label>.+))?"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE | re.DOTALL)
    for form in (
        rf"(?P<metric>[^\W\d][^<>=≤≥]*?)\s+on\s+(?P<label>{QUOTED}|[^<>=≤≥]+?)\s*(?:{_SIGN}|=|:|\bof\b)\s*{_VALUE}",
        rf"(?P<metric>[^\W\d].*?)\s*(?:\bof\b\s*)?(?:{_SIGN}|=|:|(?<=\s))\s*{_VALUE}{_LABEL}",
        rf"(?:{_SIGN}\s*)?(?:an?\s+)?{_VALUE}\s*(?P<metric>[^\W\d].*?){_LABEL}",
    )
)
_QUOTED = {"and", "with", "preset", "presets"}  # classes of these names would open something else in a sentence
_LONGEST = 500  # characters
_UNITS = {"us": 1e-3, "µs": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3, "min": 6e4} | {
    f"{word}{plural}": size
    for word, size in (("microsecond", 1e-3), ("millisecond", 1.0), ("msec", 1.0), ("second", 1e3), ("minute", 6e4))
    for plural in ("", "s")
}
_PERCENTILE = re.compile(
    r"(?:\bat\s+|\bthe\s+)?\b(?:p\s?(\d{1,2}(?:\.\d+)?)|(median))(?![\w%])", re.IGNORECASE | re.ASCII
)
_TIME = re.compile(rf"(?:(?P<sign>{COMPARISON}|=|:|\bof\b)\s*)?(?P<value>{NUMBER})\s*(?P<unit>[a-zµμ]+)", re.IGNORECASE)


def parse_targets(text: str) -> tuple[Target, ...]:
    """Return the targets joined by "and" or commas.

    Raises
    ------
    BriefError
        If one is unreadable, or can never or must not hold.
    """
    return tuple(parse_target(part) for part in conjuncts(text))


def conjuncts(text: str) -> list[str]:
    """Return what is joined by "and", commas or semicolons outside double quotes."""
    parts, begin = [], 0
    for match in _PARTS.finditer(text):
        if match[1] is None:
            parts.append(text[begin : match.start()])
            begin = match.end()
    return [*parts, text[begin:]]


def parse_target(text: str) -> Target:
    """Return one target, such as "roc_auc >= 0.80", "99% recall on defects" or "NDCG@10 > 0.4".

    Raises
    ------
    BriefError
        If no metric has the name, the sign is turned, or the value is outside the metric's range.
    """
    text = re.sub(rf"({QUOTED})|\s+", lambda m: m[1] or " ", text.strip(), flags=re.DOTALL)
    if len(text) > _LONGEST:
        raise BriefError(f"A target of {len(text):,} characters is too long.", allowed=f"{_LONGEST} characters.")
    match = next((m for form in _FORMS if (m := form.fullmatch(text))), None)
    if match is None:
        raise BriefError(
            f"'{text}' is not a target." if text else "A target is empty.",
            allowed='A metric and a value, such as "roc_auc >= 0.80" or "99% recall on defects".',
        )
    metric = find_metric(re.sub(r"^(an?|the)\s+|\s+(score|of)$", "", match["metric"].strip(), flags=re.IGNORECASE))
    value = _value(metric, match["value"], match["percent"] is not None, text)
    own: Comparison = ">=" if metric.greater_is_better else "<="
    sign = comparison(match["sign"]) or own
    if sign[0] != own[0]:
        raise BriefError(
            f"The sign of '{text}' is turned: {'more' if own == '>=' else 'less'} {metric.title} is better.",
            do=f"Turn it: {metric.name} {own[0] + sign[1:]} {shortest(value)}",
        )
    label = match["label"].strip() if match["label"] else None
    target = Target(metric.name, sign, value, None if label is None else unquote(label))
    _check_range(metric, target, text, match["percent"] is not None)
    return target


def _value(metric: Metric, text: str, percent: bool, target: str) -> float:
    value = number(text)
    if value != value:
        raise BriefError(f"'{text}' in '{target}' is too large to be a value.")
    if not percent:
        return value
    if metric.high == float("inf") and metric.name != "mape":
        raise BriefError(
            f"{metric.title} is not a share, so '{target}' cannot be in per cent.",
            do="Give the value in the metric's own units (mape and smape are shares).",
        )
    return round(value / 100, 15)  # 55 / 100 and not 0.55 plus a rounding error


def _check_range(metric: Metric, target: Target, text: str, percent: bool) -> None:
    value = target.value
    if metric.low <= value <= metric.high and not (
        (target.comparison == ">" and value == metric.high) or (target.comparison == "<" and value == metric.low)
    ):
        return
    share = not percent and metric.high == 1.0 and 1 < value <= 100
    raise BriefError(
        f"'{text}' can never be: {metric.title} {_range(metric)}.",
        do=f"Did you mean {shortest(value)}%?" if share else None,
    )


def _range(metric: Metric) -> str:
    low, high = (
        shortest(metric.low) if metric.low > -float("inf") else "",
        shortest(metric.high) if metric.high < float("inf") else "",
    )
    if low and high:
        return f"lies between {low} and {high}"
    return f"is at least {low}" if low else f"is at most {high}"


def target_text(target: Target) -> str:
    """Return a target as `parse_target` reads it back, to the last digit."""
    text = f"{target.metric} {target.comparison} {shortest(target.value)}"
    if target.label is None:
        return text
    # Digits may be read as a latency, and where a model runs as a clause of its own.
    opens = re.split(r"\W", target.label.lower())[0] in PLATFORMS or target.label.lower() in _QUOTED
    plain = re.fullmatch(r"[^\W\d_][^\W\d-]*(?:-[^\W\d-]+)*", target.label) and not opens
    return f"{text} on {target.label if plain else quote(target.label)}"


def parse_latency(text: str) -> Latency:
    """Return a limit such as "p99 < 100 ms", "<50ms p99" or "0.2 s"; the percentile is 99 unless said.

    Raises
    ------
    BriefError
        If it has no number and unit, or asks for at least so many milliseconds.
    """
    percentiles = list(_PERCENTILE.finditer(text))
    rest = re.sub(r"\b(response time|latency|an?)\b", " ", _PERCENTILE.sub(" ", text), flags=re.IGNORECASE).strip()
    time = _TIME.fullmatch(rest)
    unit = _UNITS.get(time["unit"].lower()) if time else None
    if time is None or unit is None or len(percentiles) > 1:
        raise BriefError(
            f"'{text.strip()}' is not a latency.", allowed='A percentile, a number and a unit, such as "p99 < 100 ms".'
        )
    if (comparison(time["sign"]) or "<").startswith(">"):
        raise BriefError(
            f"'{text.strip()}' asks for slow answers.", do="Turn the sign: a latency is a limit from above."
        )
    milliseconds, percentile = number(time["value"]) * unit, 99.0
    if percentiles:
        percentile = 50.0 if percentiles[0][2] else float(percentiles[0][1])
    if not milliseconds > 0 or percentile <= 0:
        raise BriefError(
            f"'{text.strip()}' is not a latency.",
            allowed="More than 0 milliseconds, at a percentile over 0 and under 100.",
        )
    return Latency(percentile, milliseconds)


def is_latency(text: str) -> bool:
    """Say whether a part of a sentence speaks of time, rather than of a metric."""
    plain = re.sub(QUOTED, " ", text, flags=re.DOTALL)
    named = re.search(r"\b(latency|response time)\b", plain, re.IGNORECASE)
    return bool(named) or any((m["unit"] or "").lower() in _UNITS for m in _TIME.finditer(plain))


def latency_text(latency: Latency) -> str:
    """Return a limit as `parse_latency` reads it back, to the last digit."""
    return f"p{shortest(latency.percentile)} < {shortest(latency.milliseconds)} ms"
