"""The smallest words of a brief: numbers with units, percentages, requests a day, quoted names."""

from __future__ import annotations

import json
import re

from modelyard.brief.brief import Comparison
from modelyard.core.errors import BriefError

NUMBER = r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
PLATFORMS = frozenset(
    "aws amazon sagemaker lambda ec2 ecs eks fargate gcp google vertex gke azure aks kubernetes k8s openshift docker "
    "databricks snowflake spark serverless cloud heroku on-premise on-premises on-prem premises edge mobile jetson "
    "raspberry laptop laptops localhost local cpu cpus gpu gpus server servers vm vms linux windows macos".split()
)
"""Words that name where a model runs: after "on" they open a clause of a sentence."""
QUOTED = r'"(?:[^"\\]|\\.)*"'
_COMPARISONS: dict[str, Comparison] = {
    ">=": ">=", "≥": ">=", "=>": ">=", "at least": ">=", "no less than": ">=",
    "<=": "<=", "≤": "<=", "=<": "<=", "at most": "<=", "no more than": "<=", "up to": "<=", "within": "<=",
    ">": ">", "over": ">", "above": ">", "more than": ">", "greater than": ">",
    "<": "<", "under": "<", "below": "<", "less than": "<",
}  # fmt: skip
COMPARISON = "|".join(re.escape(c).replace(r"\ ", r"\s+") for c in sorted(_COMPARISONS, key=len, reverse=True))
_SHORT = {"k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9}
_PER_DAY = {"day": 1.0, "hour": 24.0, "minute": 1440.0, "second": 86400.0, "week": 1 / 7, "month": 1 / 30}
_LOAD = re.compile(
    rf"({NUMBER})\s*(k|m|b|thousand|million|billion)?\s*"
    r"(?:(daily|hourly|weekly|monthly)\s+)?(?:(?:requests?|predictions?|queries|calls|rows|reqs?)\s*)?"
    r"(?:(?:per|a|an|each|every|/)\s*(day|hour|minute|min|second|sec|s|week|month))?(daily)?(rps|qps)?",
    re.IGNORECASE,
)


def number(text: str) -> float:
    """Return a number as people write it: ``1,000``, ``.5``, ``1e3``; NaN when it is none, or not finite."""
    if not re.fullmatch(NUMBER, text.strip(), re.ASCII):
        return float("nan")
    value = float(text.strip().replace(",", ""))
    return value if abs(value) != float("inf") else float("nan")


def shortest(value: float) -> str:
    """Return the shortest text that reads back as the same number: ``0.8``, ``100``, ``1e-09``."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def comparison(text: str | None) -> Comparison | None:
    """Return the sign a comparison stands for, such as ``>=`` for "at least"; None for none."""
    return _COMPARISONS.get(re.sub(r"\s+", " ", (text or "").lower()))


def quote(text: str) -> str:
    """Return a text in double quotes, escaped as in JSON."""
    return json.dumps(text, ensure_ascii=False)


def unquote(text: str) -> str:
    """Return what stands in double quotes; other text as it is.

    Raises
    ------
    BriefError
        If a backslash stands before something that cannot be escaped.
    """
    if not re.fullmatch(QUOTED, text, re.DOTALL):
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise BriefError(
            f"{text} cannot be read.", allowed=r"Between double quotes, \ stands only before \ and \"."
        ) from None


def load(text: str) -> float:
    """Return requests a day from "10M daily requests", "120 per second" or "50000".

    Raises
    ------
    BriefError
        If it is none of these.
    """
    match = _LOAD.fullmatch(text.strip())
    value = number(match[1]) if match else float("nan")
    if match is None or not value > 0:
        raise BriefError(
            f"'{text}' is not a load.",
            allowed='A number of requests a day, such as "10M daily requests", or "120 per second".',
        )
    value *= _SHORT.get((match[2] or "").lower(), 1.0)
    often = (match[4] or "").lower()
    often = {"min": "minute", "sec": "second", "s": "second"}.get(often, often)
    often = {"hourly": "hour", "weekly": "week", "monthly": "month"}.get((match[3] or "").lower(), often)
    return value * _PER_DAY["second" if match[6] else often or "day"]
