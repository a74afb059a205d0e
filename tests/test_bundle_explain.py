"""Explanations: from the members' own files, checked again before they are read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bundles import LINKS, ROW, bundle, report, table, trained
from modelyard.bundle.bundle import Bundle
from modelyard.bundle.load import load_bundle
from modelyard.bundle.pack import pack
from modelyard.core.errors import BundleError, RowError
from modelyard.data.profile import profile
from modelyard.families.find import family_named
from modelyard.families.fitted import Blend


@pytest.fixture(scope="module", params=["binary", "multiclass"])
def b(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    run, parts = trained(request.param)
    family, data = family_named("tabular"), parts.development
    candidates = family.candidates(replace(run.plan.brief, model="linear"), profile(data), data)
    (linear,) = [c for c in candidates if c.name == "linear"]
    fitted = family.fit(linear, parts.blind(), seed=1)
    blend = Blend(((fitted, 1.0),), LINKS[request.param], 1.0, (0.0,) * fitted.scores.shape[1])  # type: ignore[arg-type]
    run = replace(run, blend=blend, plan=replace(run.plan, family="tabular"))
    return pack(run, report(run), parts, tmp_path_factory.mktemp("explain") / "bundle")


def raw(b: Bundle, rows: object) -> np.ndarray:
    p = b.predict_proba(rows)
    return np.log(p[:, 1] / p[:, 0]) if p.shape[1] == 2 else np.log(p)


def test_contributions_add_up_to_what_moves_the_answer(b: Bundle) -> None:
    frame = table(b.schema.task).frame.head(40)
    explained = b.explain(frame)
    assert [list(row) for row in explained] == [[c.name for c in b.schema.features]] * 40
    if b.schema.task == "binary":
        moved = np.array([sum(row.values()) for row in explained])
        score = raw(b, frame)
        np.testing.assert_allclose(moved - moved[0], score - score[0], atol=1e-3)


def test_rows_of_every_kind_are_explained_alike(b: Bundle) -> None:
    alone = b.explain(ROW)
    assert alone == b.explain([ROW])
    assert alone == b.explain(b.frame(ROW))
    with pytest.raises(RowError):
        b.explain({**ROW, "age": "old"})


def test_member_changed_after_loading_is_refused(b: Bundle) -> None:
    path = b.path / "members" / "explain.json"
    original = path.read_bytes()
    try:
        path.write_bytes(json.dumps({**json.loads(original), "offset": [9.0]}).encode())
        with pytest.raises(BundleError, match=r"members/explain\.json"):
            b.explain(ROW)
    finally:
        path.write_bytes(original)


def test_explanation_nobody_packed_is_not_read(tmp_path: Path, b: Bundle) -> None:
    bare = bundle(tmp_path / "bare")
    (bare.path / "members").mkdir()
    (bare.path / "members" / "explain.json").write_bytes((b.path / "members" / "explain.json").read_bytes())
    with pytest.raises(BundleError, match="nothing to explain"):
        load_bundle(bare.path).explain(ROW)
