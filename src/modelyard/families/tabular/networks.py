"""Networks among the candidates: how long one may train, what it starts from, and what a search may change."""

from __future__ import annotations

from typing import Any

from modelyard.brief.brief import Brief
from modelyard.core.errors import BriefError
from modelyard.core.optional import has, need
from modelyard.families.deep import NETWORK, names_network, wants_network
from modelyard.families.fitted import Candidate, Cost, Range
from modelyard.families.tabular.network import OF_A_CATEGORY, OF_A_NUMBER, answer_microseconds
from modelyard.families.tabular.network_training import MOST_EPOCHS, epoch_rows
from modelyard.families.tabular.portfolio import Table, class_weights, guard_seconds, weighing
from modelyard.families.tabular.probe import Probe

TITLE = "Neural network"
SHARE, ALONE = 0.2, 0.5
"""Share of the budget for the network beside trees, and where it is all the brief asks for."""
FEWEST_EPOCHS = 8
"""Fewer learn too little to be worth a candidate."""
LEAST_BATCH, BATCH, STEPS = 32, 256, 40
"""Rows of a step: fewer where rows are few, so that an epoch has about that many steps."""
TORCH = 250.0
"""Megabytes that torch itself takes."""


def propose_network(brief: Brief, table: Table, probe: Probe) -> tuple[Candidate, ...]:
    """Return the network that a brief and a table call for, where its package is there and time enough; else none.

    Raises
    ------
    BriefError
        If the brief asks for a network and for directions, or for one of texts alone.
    """
    named = names_network(brief.model)
    if named and table.directed:
        raise BriefError(
            f"Nothing holds a network to rising or falling with {', '.join(brief.data.monotone)}.",
            where=f"{brief.source}: model, data.monotone",
            do="Leave model out, or data.monotone.",
        )
    if not table.numbers + table.categories:
        if named:
            raise BriefError(
                "A network reads no texts, and the table has nothing else.",
                where=f"{brief.source}: model: {brief.model}",
                do="Leave model out, or name linear or a kind of boosted trees.",
            )
        return ()
    if not wants_network(brief, table.rows) or probe.idle or not (has("torch") or named):
        return ()
    need("torch", "nets", f"model: {brief.model}")
    given = parameters(table)
    slow = brief.latency is not None and microseconds(table, given) > brief.latency.model_microseconds
    large = brief.size is not None and table.shared + 4 * _weights(table, given) > brief.size.bytes
    epoch = max(probe.epoch_seconds(given, epoch_rows(table.learnt)), 1e-6)
    paid = int((ALONE if named else SHARE) * brief.budget.seconds / (epoch * table.waves))
    if not named and (slow or large or paid < FEWEST_EPOCHS):
        return ()
    epochs = min(MOST_EPOCHS, max(FEWEST_EPOCHS, paid))
    once = epochs * epoch
    cap = "" if epochs == MOST_EPOCHS else " (all its share of the budget pays for)"
    given["rounds"] = epochs
    return (
        Candidate(
            NETWORK,
            "tabular",
            TITLE,
            given,
            space(given, table),
            _reason(brief, table),
            Cost(round(once * table.waves, 3), round(TORCH + _megabytes(table), 1)),
            f"at most {epochs} epochs{cap}, {given['depth']} layers of {given['width']} "
            f"units, {microseconds(table, given):,.0f} us of one answer",
            guard_seconds(once, brief.budget.seconds),
            log=table.log,
        ),
    )


def parameters(table: Table) -> dict[str, Any]:
    """Return what a network starts from; epochs are settled with the budget."""
    return {
        "algorithm": NETWORK,
        "learning_rate": 0.03,
        "rounds": MOST_EPOCHS,
        "batch": max(LEAST_BATCH, min(BATCH, table.learnt // STEPS)),
        "heads": 1,
        "width": 128,
        "depth": 3,
        "dropout": 0.1,
        "weight_decay": 0.02,
        **class_weights(table),
        **table.loss,
    }


def space(given: dict[str, Any], table: Table) -> dict[str, Range]:
    """Return what the search may change."""
    rate = float(given["learning_rate"])
    return {
        "learning_rate": Range("float", rate / 4, 4 * rate, log=True),
        "heads": Range("choice", choices=(1, 4)),
        "width": Range("choice", choices=(32, 64, 128)),
        "depth": Range("int", 1, 4),
        "dropout": Range("float", 0.0, 0.5),
        "weight_decay": Range("float", 1e-3, 0.3, log=True),
    } | weighing(table)


def microseconds(table: Table, given: dict[str, Any]) -> float:
    """Return the time a network adds to one answer: its nodes, and multiplications at a usual pace."""
    return answer_microseconds(_weights(table, given))


def _weights(table: Table, given: dict[str, Any]) -> int:
    """Return the weights of one network's layers, each multiplied once an answer."""
    k, h = int(given["heads"]), int(given["width"])
    features = OF_A_NUMBER * table.numbers + OF_A_CATEGORY * table.categories
    return k * h * (features + (int(given["depth"]) - 1) * h + table.outputs)


def _megabytes(table: Table) -> float:
    """Return the tensors of all rows: scaled numbers and gaps (float32), places (int64), and what they come from."""
    return table.rows * (12 * table.numbers + 16 * table.categories + 8 * (table.outputs + 2)) / 1e6


def _reason(brief: Brief, table: Table) -> str:
    return (
        f"{brief.budget.seconds:,.0f} s for {table.rows:,} rows of {table.numbers + table.categories} columns: a "
        "network's functions are smooth, and err where the steps of trees do not"
    )
