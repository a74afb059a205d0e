"""What the server is given to serve: good models, and such as raise, answer NaN or hang on some rows or on all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import bundles
import made
from broken_graphs import EVERY, Break, answers_nan, broken, hangs, raises, same
from modelyard.brief.brief import Brief, Budget, DataBrief, Latency
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.examples import plain_rows
from modelyard.bundle.load import load_bundle
from modelyard.bundle.write import with_file, write_bundle
from modelyard.data.profile import profile
from modelyard.data.read import read_data
from modelyard.data.splitting import split
from modelyard.families.tabular.tabular import Tabular
from modelyard.registry.store import Registry
from serving.packed import LEAVES, table

NAME = "faults"
FIRST, SECOND, DAMAGED, DEAD, RAISES, NANS, HANGS = range(1, 8)
"""Versions, in the order in which they are registered."""
RULE = "number_00 > 0"
LIMIT = Latency(99.0, 100.0)
BRIEF = Brief(
    use_case=NAME,
    task="binary",
    metric="log_loss",
    data=DataBrief(label="label"),
    budget=Budget(60),
    latency=LIMIT,
    rule=RULE,
    fallback=("cached", "previous", "rule"),
)
_LEARNT, _ASKED = 4_000, 500
_BROKEN: dict[int, tuple[int, Break, float]] = {
    DAMAGED: (FIRST, same, 0.0),
    DEAD: (SECOND, raises, EVERY),
    RAISES: (SECOND, raises, 1.2),
    NANS: (SECOND, answers_nan, 1.2),
    HANGS: (SECOND, hangs, 2.0),
}
"""Of which good version each is made, how it fails, and on which rows: those whose first number is over a bound."""


@dataclass(frozen=True)
class Releases:
    """A registry with a release for each fault, and the rows that the server is asked.

    Attributes
    ----------
    registry : Registry
        In the server's workspace.
    folders : dict of int to Path
        The bundle of each version.
    rows : list of dict
        Values by column, as JSON has them.
    """

    registry: Registry
    folders: dict[int, Path]
    rows: list[dict[str, Any]]

    def promote(self, version: int) -> None:
        """Put a version into production, as a person who says yes to every gate would."""
        for _ in range(2):
            self.registry.promote(NAME, version, by="bench", approved_by="bench", why="a fault test")

    def back(self) -> None:
        """Put the version before into production again."""
        self.registry.rollback(NAME, by="bench", why="a fault test")

    @cached_property
    def hashes(self) -> dict[int, str]:
        """The hash of each version's bundle, as answers show it."""
        return {release.version: release.hash[:12] for release in self.registry.releases(NAME)}

    @cached_property
    def answers(self) -> dict[str, list[float]]:
        """By the hash of each good model, what it answers to each row: the probability of the second class."""
        good = [load_bundle(self.folders[version]) for version in (FIRST, SECOND)]
        return {b.hash[:12]: [float(b.predict_proba(row)[1]) for row in self.rows] for b in good}

    @property
    def rule(self) -> str:
        """The brief's."""
        return RULE

    def bad(self, version: int, row: dict[str, Any]) -> bool:
        """Whether a version fails on a row."""
        return version in _BROKEN and bool(row["number_00"] > _BROKEN[version][2])

    def model_of(self, version: int) -> int:
        """Return the good version whose answers a version gives where it answers."""
        return _BROKEN[version][0] if version in _BROKEN else version


def make(yard: Path, trees: int = 300) -> Releases:
    """Fit two models, make faulty ones of the second, register all, and put the first into production."""
    frame = table(_LEARNT + _ASKED)
    parts = split(read_data(frame.head(_LEARNT), BRIEF), BRIEF)
    data = parts.development
    offered = made.offered(BRIEF, parts)["lightgbm"]
    offered = replace(offered, parameters={**offered.parameters, "leaves": LEAVES})
    folders: dict[int, Path] = {}
    for version, count in ((FIRST, trees), (SECOND, trees - trees // 4)):
        mixed = made.blend([made.fitted(offered, parts, count, models=1)], BRIEF, parts)
        export = Tabular().export(mixed, data)
        folders[version] = write_bundle(
            yard / f"bundle-{version}",
            bundles.draft(data.schema, export, name=NAME, brief=BRIEF),
            export,
            profile=profile(data),
            card="# For a fault test\n",
            examples=plain_rows(data.frame.head(5), data.schema),
        )
    for version, (source, how, over) in _BROKEN.items():
        graph = broken((folders[source] / "model.onnx").read_bytes(), how, over)
        folders[version] = with_file(folders[source], "model.onnx", graph, yard / f"bundle-{version}")
    registry = Registry(yard / "registry.db")
    for version in sorted(folders):
        folder = folders[version]
        assert (
            registry.register(NAME, folder, load_bundle(folder).hash, f"run-{version}", by="bench").version == version
        )
    releases = Releases(registry, folders, _rows(load_bundle(folders[FIRST]), frame.tail(_ASKED)))
    releases.promote(FIRST)
    return releases


def _rows(bundle: Bundle, frame: Any) -> list[dict[str, Any]]:
    return plain_rows(bundle.frame(frame.drop("label")), bundle.schema)


def damage(folder: Path) -> None:
    """Cut a bundle's graph in half, as a copy that was broken off leaves it."""
    path = folder / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
