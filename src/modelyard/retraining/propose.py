"""propose: alarms in, the next brief out, or none. A person approves it; nothing here starts a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from modelyard.brief.brief import Brief
from modelyard.monitoring.alarm import Alarm
from modelyard.retraining.triggers import COOL_DOWN_DAYS, TRIGGERS


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the alarms ask for, and why.

    Attributes
    ----------
    brief : Brief or None
        The next brief: the same question, asked of the rows there are now. None when nothing is proposed.
    why : str
        The reason, in a sentence, either way.
    alarms : tuple of Alarm
        Those that asked for action.
    """

    brief: Brief | None
    why: str
    alarms: tuple[Alarm, ...]

    @property
    def do(self) -> str:
        """What the person who decides does next."""
        if self.brief is not None:
            return "Look at the monitoring page, then run develop with this brief to approve, or do nothing."
        return self.alarms[0].do if self.alarms else "Nothing."


def propose(brief: Brief, alarms: Sequence[Alarm], *, last: datetime | None = None) -> Brief | None:
    """Return the next brief, or None where no alarm asks for one; see `consider` for the reason.

    Parameters
    ----------
    brief : Brief
        The one in use.
    alarms : sequence of Alarm
        What monitoring found.
    last : datetime, optional
        When the model was last retrained (UTC): within the cool-down nothing is proposed.
    """
    return consider(brief, alarms, last=last).brief


def consider(
    brief: Brief, alarms: Sequence[Alarm], *, last: datetime | None = None, now: datetime | None = None
) -> Proposal:
    """Weigh alarms against the table of triggers.

    Parameters
    ----------
    brief, alarms, last
        See `propose`.
    now : datetime, optional
        This moment (UTC).
    """
    follows = {one.kind: one.follows for one in TRIGGERS}
    asking = tuple(one for one in alarms if one.severity == "action" or one.kind == "schema")
    broken = tuple(one for one in asking if follows.get(one.kind, "repair") == "repair")
    if not asking:
        return Proposal(None, f"None of {len(alarms)} alarms asks for action.", ())
    if broken:
        return Proposal(None, f"The rows must be repaired first: {_told(broken)}", broken)
    moment = now or datetime.now(UTC)
    rested = None if last is None else last + timedelta(days=COOL_DOWN_DAYS)
    if rested is not None and moment < rested:
        return Proposal(None, f"Retrained on {last:%Y-%m-%d}: cooling down until {rested:%Y-%m-%d}.", asking)
    return Proposal(brief, _told(asking), asking)


def _told(alarms: Sequence[Alarm]) -> str:
    return " ".join(one.what for one in alarms)
