"""Candidates: which models a table calls for, and how far to boost them in the time there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.brief.brief import MODEL_SHARE, Brief
from modelyard.core.errors import BriefError, listed
from modelyard.core.optional import has, need
from modelyard.data.dataset import Dataset
from modelyard.data.profile import Profile
from modelyard.families.around import fitting_seconds
from modelyard.families.deep import NETWORK, letters, names_network
from modelyard.families.fitted import Candidate, Cost
from modelyard.families.monotone import LOOSE, holds
from modelyard.families.tabular.answering import round_bytes, round_microseconds
from modelyard.families.tabular.linear import MOST_HOT
from modelyard.families.tabular.networks import propose_network
from modelyard.families.tabular.portfolio import (
    BOOSTED,
    Kind,
    Table,
    guard_seconds,
    leaves,
    linear_reason,
    read_table,
    reason,
    size,
    space,
    starts,
)
from modelyard.families.tabular.probe import Pace, Probe
from modelyard.families.tabular.text_tables import DIRECTIONS

RATES = (0.05, 0.08, 0.12, 0.2, 0.3)
"""Learning rates, finest first; the finest whose fits end by early stopping within the budget is taken."""
FINE = 3
"""So many of the rates are fine; coarser ones are taken only when a single kind is left."""
MANY_CLASSES = 20
"""Of more classes no rate is coarse: where each row speaks for one of many, large steps soon lead away from all."""
ROUNDS_TIMES_RATE = 100
"""Early stopping rarely needs more rounds than this over the rate."""
LIKELY = 0.25
"""Share of the most rounds a fit is reckoned to take."""
BUDGET_SHARE = 0.42
"""Share of the seconds for fits the portfolio may take; the search and the fits on every row have the other part."""
ALONE_SHARE = 0.5
"""The same where one kind of trees is all that can be paid: no search follows, only its fit on every row."""
FEWEST_ROUNDS = 30
"""Fewer rounds learn too little to be worth a candidate."""
LINEAR = "linear"
LINEAR_TITLE = {
    "binary": "Logistic regression",
    "multiclass": "Multinomial regression",
    "regression": "Ridge regression",
    "absolute": "Median regression",
    "quantile": "Quantile regression",
    "poisson": "Poisson regression",
    "tweedie": "Tweedie regression",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """Boosted trees of one kind, their rate and rounds, seconds reckoned, what caps their size, the clock's guard."""

    kind: Kind
    parameters: Mapping[str, Any]
    seconds: float
    caps: str
    guard: float


def propose(brief: Brief, profile: Profile, data: Dataset) -> tuple[Candidate, ...]:
    """Return the portfolio for a table; see `modelyard.families.family.Family.candidates`."""
    table = read_table(brief, profile, data)
    _check_size(brief, table, data)
    asked = NETWORK if names_network(brief.model) else letters(brief.model)
    named = {LINEAR, NETWORK, *(kind.algorithm for kind in BOOSTED)} & {asked}  # other words narrow nothing here
    kinds = [kind for kind in BOOSTED if kind.suits(table) and has(kind.algorithm)]
    kinds = [kind for kind in kinds if not named or kind.algorithm in named]
    for algorithm in named - {LINEAR, NETWORK}:
        if table.directed and not holds(algorithm, table.loss.get("loss", "")):
            raise BriefError(
                f"{LOOSE[algorithm]} does not keep to a direction where it fits {brief.metric}.",
                where=f"{brief.source}: model, data.monotone",
                do="Ask for rmse, for catboost or linear, or leave model out.",
            )
        need(algorithm, "catboost" if algorithm == "catboost" else "train", f"model: {brief.model}")
    probe = Probe(data, brief.seed, table.loss, derives=not table.forward)
    found = []
    straight = 0.0
    fixed = probe.encoding_seconds(table.learnt) * (table.waves + 1)  # once more for the whole table
    read = probe.reading_seconds(table.rows)
    texts = probe.text_seconds(table.learnt, table.waves + 1)
    if not named or LINEAR in named:
        straight = probe.linear_seconds(table.learnt) * table.waves + fixed
        found.append(_linear(table, data, straight, probe.columns))
    kinds = list(_quick_enough(brief, table, kinds))
    paces = {kind.name: probe.pace(kind.parameters(table)) for kind in kinds}
    first = next(iter(paces.values()), None)  # whose fit finds the derived numbers
    deriving = 0.0 if first is None else table.waves * probe.deriving_seconds(first, table.learnt)
    for offer in _within(brief, table, kinds, paces, read + straight + fixed * len(kinds) + texts + deriving):
        cost = Cost(round(offer.seconds + fixed, 3), _megabytes(table, probe.columns, offer.parameters))
        ranges = space(offer.parameters, table)
        found.append(
            Candidate(
                offer.kind.name,
                "tabular",
                offer.kind.title,
                offer.parameters,
                ranges,
                reason(offer.kind, table),
                cost,
                size(offer.parameters, offer.caps),
                offer.guard,
                log=table.log,
                starts=starts(offer.parameters, ranges),
            )
        )
    found += propose_network(brief, table, probe)
    few = table.rows < 2_000
    if not few and len(found) > 1 and found[0].name == LINEAR and found[1].name != NETWORK:
        found = [found[1], found[0], *found[2:]]
    # The first to be fitted reads rows and texts for all of them, the first trees find their derived numbers.
    trees = next((i for i, one in enumerate(found) if one.name in paces), 0)
    for place, more in ((0, read + texts), (trees, deriving)):
        if found and more:
            cost = found[place].cost
            found[place] = replace(found[place], cost=replace(cost, seconds=round(cost.seconds + more, 3)))
    return tuple(found)


def _quick_enough(brief: Brief, table: Table, kinds: Sequence[Kind]) -> Sequence[Kind]:
    """Return the kinds the brief's limits leave trees enough for; at least one where the brief names a kind."""
    if brief.latency is None and brief.size is None:
        return kinds
    most = [min(_most_rounds(brief, table, kind.parameters(table)).values()) for kind in kinds]
    for among in range(len(kinds), 0, -1):
        if min(most[:among]) / among >= FEWEST_ROUNDS:
            return kinds[:among]
    return kinds[: 0 if brief.model == "auto" else 1]


def _most_rounds(brief: Brief, table: Table, parameters: Mapping[str, Any]) -> dict[str, float]:
    """Return how many rounds each of the brief's limits leaves room for, by what it asks."""
    most = {}
    grown = leaves(parameters)
    if brief.latency is not None:
        within = f"the forest stays within {MODEL_SHARE:.0%} of {brief.latency}"
        most[within] = brief.latency.model_microseconds / round_microseconds(parameters, grown, table.outputs)
    if brief.size is not None:
        left = brief.size.bytes - table.shared
        most[f"the model's file stays {brief.size}"] = left / round_bytes(parameters, grown, table.outputs)
    return most


def _check_size(brief: Brief, table: Table, data: Dataset) -> None:
    """Refuse a size that the levels of categories alone take: no choice of models could keep to it."""
    if brief.size is None or table.shared < brief.size.bytes:
        return
    many = sorted((c for c in data.schema.features if c.kind == "category"), key=lambda c: -c.distinct)
    raise BriefError(
        f"What every model keeps of the categories takes about {table.shared / 1e6:.2g} MB.",
        where=f"{brief.source}: size: {brief.size}",
        do="Raise the size, or drop columns of many levels"
        + (f": {listed([c.name for c in many], 3)}." if many else "."),
    )


def _within(
    brief: Brief, table: Table, kinds: Sequence[Kind], paces: Mapping[str, Pace], straight: float
) -> list[Offer]:
    """Return the kinds at the finest rate that the budget pays for, the first of them first, however dear it is.

    Where it alone cannot be paid for very many classes, the cheapest takes its place.
    The dearest are set aside until the rest can be paid. They stand at the end, at the same rate: a fit that stops
    early leaves time that the probe did not foresee, and another kind of trees is worth more than a search.
    """
    seconds = fitting_seconds(brief.budget.seconds, table.rows, table.columns, table.outputs)

    def limit(share: float) -> float:
        return max(share * seconds - straight, 0.1 * seconds)

    def offers(kept: Sequence[Kind], rate: float, only: float | None = None) -> list[Offer]:
        return [_offer(brief, table, kind, paces[kind.name], rate, len(kept), only) for kind in kept]

    kept = list(kinds)
    many = table.outputs > MANY_CLASSES
    rates = RATES[:FINE] if many else RATES
    while kept:
        alone = len(kept) == 1
        most = limit(ALONE_SHARE if alone else BUDGET_SHARE)
        for rate in rates if alone else RATES[:FINE]:
            offered = offers(kept, rate)
            if sum(offer.seconds for offer in offered) <= most:
                return [*offered, *offers([kind for kind in kinds if kind not in kept], rate)]
        if alone:
            if many:  # another kind may cost a fraction: one tree of CatBoost's answers for all classes
                usual = [kind for kind in kinds if not kind.extra and not kind.wide] or kinds
                cheapest, many = min(offers(usual, rates[-1]), key=lambda offer: offer.seconds).kind, False
                kept = [cheapest]
                continue
            return offers(kept, rates[-1], most)
        kept.remove(max(offered[1:], key=lambda offer: offer.seconds).kind)
    return []


def _offer(
    brief: Brief, table: Table, kind: Kind, pace: Pace, rate: float, among: int, limit: float | None = None
) -> Offer:
    parameters = kind.parameters(table)
    caps = {"": round(ROUNDS_TIMES_RATE / rate)}
    for limit_said, most in _most_rounds(brief, table, parameters).items():
        caps[limit_said] = int(most / among)
    if limit is not None:
        one = max(pace.seconds(table.learnt, 1) * table.waves * LIKELY, 1e-9)
        caps["all the budget pays for"] = int(limit / one)
    cap = min(caps, key=lambda name: caps[name])
    rounds = max(FEWEST_ROUNDS, caps[cap])
    once = pace.seconds(table.learnt, LIKELY * rounds)
    parameters |= {"learning_rate": rate, "rounds": rounds}
    held = cap if caps[cap] >= FEWEST_ROUNDS else f"the fewest tried; {caps[cap]:,} by the rule: {cap}"
    return Offer(kind, parameters, once * table.waves, held, guard_seconds(once, brief.budget.seconds))


def _linear(table: Table, data: Dataset, seconds: float, columns: int) -> Candidate:
    hot = sum(min(len(column.levels), MOST_HOT) for column in data.schema.features if column.kind == "category")
    weights = (table.numbers + hot + table.texts * (2 + DIRECTIONS) + 1) * table.outputs
    parameters = {"algorithm": LINEAR, **table.class_weights, **table.loss}
    return Candidate(
        LINEAR,
        "tabular",
        LINEAR_TITLE[table.loss.get("loss", table.task)],
        parameters,
        {},
        linear_reason(table, weights),
        Cost(round(seconds, 3), _megabytes(table, columns, parameters)),
        log=table.log,
    )


def _megabytes(table: Table, columns: int, parameters: Mapping[str, Any]) -> float:
    """Return peak memory: two float32 matrices, their bins, and gradients (dense float64 for a linear model)."""
    wide = 16 if parameters["algorithm"] == LINEAR else 10
    return round(table.rows * (columns * wide + 40 * table.outputs) / 1e6, 1)
