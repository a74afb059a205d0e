"""Terms: on what terms a bundle is served, the same in every worker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from modelyard.core.errors import ServingError
from modelyard.registry.release import SUNSET_AFTER
from modelyard.serving.asgi import Headers
from modelyard.serving.capacity import BODIES
from modelyard.serving.predictions.withhold import NOTHING_MORE, Withheld
from modelyard.serving.version import Unknown

BODY_LIMIT = 2**20
BODIES_LIMIT = BODIES * BODY_LIMIT


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a bundle is served.

    Attributes
    ----------
    body_limit : int
        Bytes a request's body may have.
    bodies_limit : int
        Bytes the bodies of all requests that a worker has under way may have together; what is more is answered 503.
    in_flight : int
        Requests a worker has under way at once; one more is answered 503.
    unknown : {"refuse", "ignore"}
        What is done with a name the schema does not know.
    head_seconds, body_seconds : float
        How long a request's head, and its body, may take to arrive.
    answer_seconds : float
        How long an answer may take once the body is there.
    model_seconds : float or None
        How long one call of the model may take before what stands in answers; None goes by the brief's limit.
    deprecated, sunset : datetime or None
        From when the interface is deprecated, and when it ends: answers then say so, whatever the registry says.
    registry : Path or None
        The registry whose production release of that name is followed; None serves one bundle for good.
    pinned : bool
        Whether the bundle stays what it is, and the registry is only asked whether callers are to be told of its end.
    rollouts : Path or None
        Folder of the rollouts that are taken part in; None takes part in none.
    release : str or None
        Version of the release that is served first.
    withheld : Withheld
        What is kept out of the prediction log.
    store : str or None
        Where the prediction log is loaded; None for a file in its folder.
    refuse_labels : bool
        Whether labels of no prediction are refused; else they are kept until it comes.
    """

    body_limit: int = BODY_LIMIT
    bodies_limit: int = BODIES_LIMIT
    in_flight: int = 1_000
    unknown: Unknown = "refuse"
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    answer_seconds: float = 30.0
    model_seconds: float | None = None
    deprecated: datetime | None = None
    sunset: datetime | None = None
    registry: Path | None = None
    pinned: bool = False
    rollouts: Path | None = None
    release: str | None = None
    withheld: Withheld = NOTHING_MORE
    store: str | None = None
    refuse_labels: bool = False

    def __post_init__(self) -> None:
        """Refuse terms that nobody could be served on."""
        if min(self.body_limit, self.in_flight) < 1:
            raise ServingError("A server must take a byte and a request.", allowed="1 or more.")
        if self.bodies_limit < self.body_limit:
            raise ServingError("A server must have room for one body.", do="Give a larger bodies_limit.")
        times = (self.head_seconds, self.body_seconds, self.answer_seconds, self.model_seconds)
        if any(seconds is not None and not seconds > 0 for seconds in times):
            raise ServingError("A server must wait for a while.", allowed="More than 0 seconds.")
        ends = self.ends
        if ends is not None and self.deprecated is not None and ends < self.deprecated:
            raise ServingError("The interface would end before it is deprecated.", do="Give a later --sunset.")

    @property
    def ends(self) -> datetime | None:
        """When the interface ends: 90 days after it was deprecated where nothing else is said."""
        if self.sunset is not None or self.deprecated is None:
            return self.sunset
        return self.deprecated + SUNSET_AFTER

    @property
    def headers(self) -> Headers:
        """What every answer of the interface says of its future."""
        return notice(self.deprecated, self.ends)


def notice(deprecated: datetime | None, ends: datetime | None) -> Headers:
    """Return the headers that say from when an interface is deprecated, and when it ends.

    References
    ----------
    RFC 9745, "The Deprecation HTTP Response Header Field"; RFC 8594, "The Sunset HTTP Header Field".
    """
    found = []
    if deprecated is not None:
        found.append((b"deprecation", b"@%d" % deprecated.timestamp()))
    if ends is not None:
        found.append((b"sunset", format_datetime(ends.astimezone(UTC), usegmt=True).encode()))
    return tuple(found)
