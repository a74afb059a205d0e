"""Plan: what will be tried, in order, each with its reason and its cost."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.brief.brief import Brief
from modelyard.brief.doubt import Doubt
from modelyard.data.schema import Schema
from modelyard.families.around import left_of
from modelyard.families.fitted import Candidate, Cost


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A kind of model the plan does not try, and why."""

    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Price:
    """What the run would cost on a named cloud machine: from the dated, editable table."""

    machine: str
    cores: int
    dollars_per_hour: float
    seconds: float
    dollars: float
    dated: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be tried.

    Attributes
    ----------
    brief : Brief
        With the task and the metric settled.
    schema : Schema
        Of the table.
    fingerprint : str
        Of the table.
    rows : int
        Of the table.
    family : str
        Name of the family that fits the task.
    metric : str
        What is optimised.
    candidates : tuple of Candidate
        In the order they are fitted.
    left_out : tuple of LeftOut
        What was not chosen, and why.
    doubts : tuple of Doubt
        Doubts about the brief, said before compute is spent.
    cost : Cost
        Of the whole run on this machine.
    prices : tuple of Price
        The same on cloud machines.
    cores : int
        Cores of this machine.
    before, after : float
        Seconds reckoned for the table and the plan, and for evaluating, packing and documenting the model.
    """

    brief: Brief
    schema: Schema
    fingerprint: str
    rows: int
    family: str
    metric: str
    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]
    doubts: tuple[Doubt, ...]
    cost: Cost
    prices: tuple[Price, ...]
    cores: int
    before: float = 0.0
    after: float = 0.0

    @property
    def fitting(self) -> float:
        """Seconds that the budget leaves for fits, where it is that of the whole run; half of it at least."""
        return left_of(self.brief.budget.seconds, self.before + self.after)
