"""A bundle's folder is an MLflow model as it stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bundles import make, table
from modelyard.bundle.load import load_bundle

# Raised while mlflow imports its own type hints.
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "forecast"])
def test_pyfunc_answers_as_the_bundle(tmp_path: Path, task: str) -> None:
    import mlflow

    folder = make(tmp_path / "bundle", task)
    bundle = load_bundle(folder)
    model = mlflow.pyfunc.load_model(str(folder))
    frame = (bundle.runtime.known() if task == "forecast" else table(task).frame).to_pandas()  # type: ignore[attr-defined]
    # The schema's integers stay integers, as a caller has them.
    frame = frame.astype({c.name: int for c in bundle.schema.features if c.physical == "integer"})
    np.testing.assert_array_equal(model.predict(frame), bundle.predict(frame))
    signature = model.metadata.signature
    assert [c.name for c in signature.inputs] == [c.name for c in bundle.schema.features]
    if bundle.classes:
        shown = model.predict(frame, params={"probabilities": True})
        assert list(shown.columns) == list(bundle.schema.classes)
        np.testing.assert_allclose(shown.to_numpy(), bundle.predict_proba(frame))


def test_frame_that_lacks_a_column_is_refused_by_mlflow(tmp_path: Path) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model(str(make(tmp_path / "bundle")))
    frame = table("binary").frame.to_pandas().drop(columns="age")
    with pytest.raises(mlflow.exceptions.MlflowException, match="age"):
        model.predict(frame)


def test_files_name_no_moment_and_no_machine(tmp_path: Path) -> None:
    folder = make(tmp_path / "bundle")
    text = (folder / "MLmodel").read_text()
    assert "utc_time_created" not in text
    assert "uuid" not in text
    assert str(tmp_path) not in text
    assert (folder / "requirements.txt").read_text().splitlines() == sorted(
        (folder / "requirements.txt").read_text().splitlines()
    )
    assert "modelyard==" in (folder / "requirements.txt").read_text()
