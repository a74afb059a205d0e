"""Releases as MLflow's own registry shows them, in a real one on SQLite."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

import bundles
from modelyard.bundle.load import load_bundle
from modelyard.registry.mirror import reflect
from modelyard.registry.release import Gate
from modelyard.registry.store import Registry

pytestmark = pytest.mark.filterwarnings(
    # MLflow's own code warns of what its dependencies are about to drop.
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::UserWarning:mlflow.*",
    "ignore::ResourceWarning",
)
BETTER = Gate("better than production", "pass", "gain 0.02")
NAME = "churn"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("yard")


@pytest.fixture(scope="module")
def mirror(root):
    from modelyard.adapters.mlflow_registry import MLflowMirror

    return MLflowMirror(root)


@pytest.fixture(scope="module")
def client(mirror):
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=mirror.uri, registry_uri=mirror.uri)


@pytest.fixture(scope="module")
def registry(root):
    made = Registry(root / "registry.db")
    for task in ("binary", "multiclass"):
        bundle = bundles.bundle(root / task, task)
        made.register(NAME, bundle.path, bundle.hash, f"run-{task}", by="anna", gates=[Gate("parity", "pass", "")])
    return made


def bundle_says(release) -> str:
    return str(load_bundle(release.bundle).manifest.estimate.get("target_met", "unknown"))


def shown(client) -> dict[str, dict[str, str]]:
    return {v.tags["modelyard.version"]: v.tags for v in client.search_model_versions(f"name = '{NAME}'")}


def aliases(client) -> dict[str, str]:
    """Return our version under each alias of MLflow's."""
    model = client.get_registered_model(NAME)
    return {
        alias: client.get_model_version(NAME, version).tags["modelyard.version"]
        for alias, version in model.aliases.items()
    }


def move(registry, mirror, *steps) -> None:
    for version in steps:
        release = registry.promote(NAME, version, by="anna", gates=[BETTER])
        assert reflect(mirror, release, registry.releases(NAME)) == ""


def test_releases_are_shown_with_their_tags(registry, mirror, client):
    release = registry.release(NAME)
    assert reflect(mirror, release, registry.releases(NAME)) == ""
    tags = shown(client)
    assert sorted(tags) == ["1", "2"]
    assert tags["2"]["modelyard.hash"] == release.hash
    assert tags["2"]["modelyard.run"] == "run-multiclass"
    assert tags["2"]["modelyard.stage"] == "development"
    assert tags["2"]["modelyard.target_met"] == bundle_says(release)
    assert aliases(client) == {"development": "2"}


def test_aliases_follow_the_stages(registry, mirror, client):
    move(registry, mirror, 1, 1)
    assert aliases(client) == {"development": "2", "production": "1"}
    move(registry, mirror, 2)
    assert aliases(client) == {"staging": "2", "production": "1"}
    move(registry, mirror, 2)
    assert aliases(client) == {"production": "2"}
    assert shown(client)["1"]["modelyard.stage"] == "archived"
    back = registry.rollback(NAME, by="ben")
    assert reflect(mirror, back, registry.releases(NAME)) == ""
    assert aliases(client) == {"production": "1"}


def test_showing_twice_changes_nothing(registry, mirror, client):
    before = shown(client), aliases(client)
    assert reflect(mirror, registry.release(NAME), registry.releases(NAME)) == ""
    assert (shown(client), aliases(client)) == before


def test_the_production_alias_loads_the_bundle(registry, mirror):
    import mlflow

    mlflow.set_tracking_uri(mirror.uri)
    mlflow.set_registry_uri(mirror.uri)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@production")
    rows = bundles.table("binary", 5).frame.with_columns(pl.col("age").cast(pl.Int64))
    assert len(model.predict(rows.drop("id", "left").to_pandas())) == 5


def test_mlflow_adds_nothing_to_the_bundle(registry, mirror, client):
    import mlflow

    release = registry.release(NAME, 1)
    before = {path.name for path in Path(release.bundle).iterdir()}
    assert reflect(mirror, release, registry.releases(NAME)) == ""
    uris = {"registry_uri": mirror.uri, "tracking_uri": mirror.uri}
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/1", **uris))
    assert (place / "registered_model_meta").is_file()  # what MLflow does to the folder it loads from
    assert {path.name for path in Path(release.bundle).iterdir()} == before
    assert load_bundle(place).hash == release.hash


def test_nothing_leaves_the_machine(mirror):
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"


def test_a_mirror_that_cannot_be_written_says_so(registry, tmp_path):
    from modelyard.adapters.mlflow_registry import MLflowMirror

    (tmp_path / "mlflow.db").write_text("not a database, and long enough to be seen as something else" * 20)

    class Late:
        def show(self, release, releases):
            MLflowMirror(tmp_path).show(release, releases)

    said = reflect(Late(), registry.release(NAME), registry.releases(NAME))
    assert said.startswith("The mirror does not show this move")
