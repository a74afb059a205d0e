"""Budgets: how much may fail or be slow in a month, and alerts on how fast that is used up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.utils import floatToGoString

from modelyard.brief.brief import Latency
from modelyard.bundle.bundle import Bundle
from modelyard.serving.metrics import ANSWERS_ROWS, REQUESTS

AVAILABILITY = 0.999
"""Share of requests that are to be answered without a 5xx, over 30 days."""
FEWEST = 3
"""Bad answers below which nothing is said: of a hundred requests a day, one failure is no share."""
DEFAULT_LIMIT = Latency()
"""What latency is watched for where the brief names no limit."""
FAST = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
SLOW = ((3.0, "1d", "2h"), (1.0, "3d", "6h"))
"""How many times too fast a budget is used, over a long window, and over a short one that tells that it still is: 2 %
of a month's in an hour, 5 % in six; 10 % in a day or in three."""
_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True, slots=True)
class Budget:
    """A share of requests that may be bad.

    Attributes
    ----------
    record : str
        First part of the recorded series' names.
    share : float
        Of requests, that may be bad.
    bad, everything : str
        PromQL of bad requests and of all, with ``{kind}`` for the function over time and ``{span}`` for the window.
    model : str
        Selector of the model.
    """

    record: str
    share: float
    bad: str
    everything: str
    model: str

    def rules(self) -> Iterator[dict[str, str]]:
        """Yield the recording rule of each window: the share of bad requests in it."""
        for span in _WINDOWS:
            bad = self.bad.format(kind="rate", span=span)
            everything = self.everything.format(kind="rate", span=span)
            yield {"record": f"{self.record}:ratio_rate{span}", "expr": f"{bad} / {everything}"}

    def burns(self, windows: tuple[tuple[float, str, str], ...]) -> str | None:
        """Return the condition that the budget is used too fast, or None where not even all requests would do that.

        References
        ----------
        Beyer et al. (2018), "The Site Reliability Workbook", chapter 5, "Multiwindow, multi-burn-rate alerts".
        """
        found = []
        for times, long, short in windows:
            limit = times * self.share
            if limit < 1:
                over = [f"{self.record}:ratio_rate{span}{{{self.model}}} > {limit:.6g}" for span in (long, short)]
                enough = f"{self.bad.format(kind='increase', span=long)} >= {FEWEST}"
                found.append(f"({' and '.join([*over, enough])})")
        return " or ".join(found) or None


def budgets(bundle: Bundle) -> tuple[Budget, Budget]:
    """Return the budget of failed requests and that of slow ones, by the brief's latency limit."""
    name = bundle.manifest.name
    limit = bundle.manifest.brief.latency or DEFAULT_LIMIT
    model = f'model="{name}"'
    asked = f"{model},{ANSWERS_ROWS}"
    end: str = floatToGoString(limit.milliseconds / 1e3)  # type: ignore[no-untyped-call]
    everything = _summed(f"{REQUESTS}_count{{{asked}}}")
    failed = _summed(f'{REQUESTS}_count{{{asked},http_response_status_code=~"5.."}}')
    within = _summed(f'{REQUESTS}_bucket{{{asked},le="{end}"}}')
    # No failure yet is no series yet, which counts as none.
    failed = f"({failed} or 0 * {everything})"
    slow = round(1 - limit.percentile / 100, 6)
    return (
        Budget("model:requests_failed", round(1 - AVAILABILITY, 6), failed, everything, model),
        Budget("model:requests_slow", slow, f"({everything} - {within})", everything, model),
    )


def _summed(series: str) -> str:
    braces = series.replace("{", "{{").replace("}", "}}")
    return f"sum by (model) ({{kind}}({braces}[{{span}}]))"
