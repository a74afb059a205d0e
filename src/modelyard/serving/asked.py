"""Asked: what a caller wants beside the prediction, from the request's query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from modelyard.bundle.bundle import Bundle
from modelyard.core.errors import BundleError
from modelyard.serving.problem import HttpProblem

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants: bounds of a coverage, and how unusual each row is."""

    coverage: float | None = None
    ood: bool = False


NOTHING = Asked()


def asked(query: bytes, bundle: Bundle) -> Asked:
    """Read a query such as ``coverage=0.9&ood=true``.

    Parameters
    ----------
    query : bytes
        As ASGI gives it, without the question mark.
    bundle : Bundle
        What is to answer.

    Raises
    ------
    HttpProblem
        400 for an unknown parameter, a value that cannot be read, and what the bundle does not hold.
    """
    return asked_of(parse_qsl(query.decode("latin-1"), keep_blank_values=True), bundle)


def asked_of(pairs: Iterable[tuple[str, str]], bundle: Bundle) -> Asked:
    """Read the parameters of a query, or those a protocol has in its body; see `asked`."""
    coverage, ood = None, False
    for name, value in pairs:
        if name == "coverage":
            coverage = _coverage(value, bundle)
        elif name == "ood":
            if value.lower() not in _TRUTHS:
                raise HttpProblem(400, f"The query says ood={value}. Allowed: true or false.")
            ood = _TRUTHS[value.lower()]
        else:
            raise HttpProblem(400, f"The query has no parameter '{name}'. Allowed: coverage and ood.")
    if ood and not bundle.scores_novelty:
        raise HttpProblem(400, "This model has no out-of-distribution score. Leave ood out of the query.")
    return Asked(coverage, ood)


def _coverage(value: str, bundle: Bundle) -> float:
    try:
        coverage = float(value)
        bundle.check_coverage(coverage)
    except ValueError:
        raise HttpProblem(400, f"The query says coverage={value}, which is no number.") from None
    except BundleError as error:
        raise HttpProblem(400, " ".join(filter(None, (error.what, error.allowed)))) from None
    return coverage
