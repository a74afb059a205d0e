"""Loading: what was packed comes back, and what was changed is refused by name."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundles import make
from modelyard.bundle import verify
from modelyard.bundle.archive import unpack
from modelyard.bundle.load import load_bundle
from modelyard.bundle.manifest import FORMAT
from modelyard.core.errors import BundleError


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("packed") / "bundle")


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "bundle"))


def reseal(folder: Path, **changes: object) -> None:
    """Change the manifest as somebody would who knows about the seal."""
    path = folder / "manifest.json"
    content = json.dumps({**json.loads(path.read_bytes()), **changes}).encode()
    path.write_bytes(content)
    (folder / "manifest.sha256").write_bytes(verify.seal(content))


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_folder_and_archive_are_the_same_bundle(packed: Path) -> None:
    from_folder, from_archive = load_bundle(packed), load_bundle(packed.with_name("bundle.tar.gz"))
    assert from_folder.hash == from_archive.hash
    assert from_folder.manifest == from_archive.manifest
    assert files(from_folder.path) == files(from_archive.path)


def test_every_file_is_in_the_manifest(packed: Path) -> None:
    listed = load_bundle(packed).manifest.files
    assert {*listed, "manifest.json", "manifest.sha256"} == set(files(packed))


def test_seal_can_be_checked_with_the_tool_everybody_has(packed: Path) -> None:
    subprocess.run(["sha256sum", "--check", "manifest.sha256"], cwd=packed, check=True, capture_output=True)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_file_is_ever_loaded(packed: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(files(packed)))
    path = packed / name
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    if data.draw(st.booleans(), label="truncate"):
        changed = original[:place]
    else:
        flip = data.draw(st.integers(1, 255))
        changed = original[:place] + bytes([original[place] ^ flip]) + original[place + 1 :]
    try:
        path.write_bytes(changed)
        with pytest.raises(BundleError) as caught:
            load_bundle(packed)
        assert name in caught.value.render()
    finally:
        path.write_bytes(original)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_archive_is_the_same_bundle_or_none(packed: Path, tmp_path: Path, data: st.DataObject) -> None:
    original = packed.with_name("bundle.tar.gz").read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    flip = data.draw(st.integers(0, 255))
    changed = original[:place] + (bytes([original[place] ^ flip]) + original[place + 1 :] if flip else b"")
    path = tmp_path / "changed.tar.gz"
    path.write_bytes(changed)
    try:
        loaded = load_bundle(path)
    except BundleError as error:
        said = error.render()
    else:
        # gzip's header holds bytes that mean nothing: the moment, the operating system's name.
        assert loaded.hash == load_bundle(packed).hash
        return
    assert "changed.tar.gz" in said or "The bundle's file" in said


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_archive_packed_around_any_bytes_is_refused_politely(packed: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Flip bytes inside the tar and compress it again, so that gzip's own check sees nothing."""
    plain = bytearray(gzip.decompress(packed.with_name("bundle.tar.gz").read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "changed.tar.gz"
    path.write_bytes(gzip.compress(bytes(plain), 1))
    try:
        loaded = load_bundle(path)
    except BundleError:
        return
    assert loaded.hash == load_bundle(packed).hash


@pytest.mark.parametrize("name", ["model.onnx", "profile.json", "MLmodel", "manifest.json", "manifest.sha256"])
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")) as caught:
        load_bundle(folder)
    assert caught.value.do


def test_file_nobody_listed_changes_nothing(folder: Path, packed: Path) -> None:
    (folder / "members").mkdir(exist_ok=True)
    (folder / "members" / "extra.txt").write_text("import os")
    assert load_bundle(folder).hash == load_bundle(packed).hash


def test_graph_must_be_listed(folder: Path) -> None:
    listed = json.loads((folder / "manifest.json").read_bytes())["files"]
    del listed["model.onnx"]
    reseal(folder, files=listed)
    with pytest.raises(BundleError, match=r"does not list 'model\.onnx'"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside"])
def test_manifest_cannot_point_outside(folder: Path, name: str) -> None:
    listed = json.loads((folder / "manifest.json").read_bytes())["files"]
    reseal(folder, files={**listed, name: "0" * 64})
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(folder)


@pytest.mark.parametrize("number", [FORMAT + 1, 99])
def test_newer_format_is_refused_with_what_to_do(folder: Path, number: int) -> None:
    reseal(folder, format=number)
    with pytest.raises(BundleError, match=f"format {number}") as caught:
        load_bundle(folder)
    assert caught.value.do is not None
    assert "Update" in caught.value.do


@pytest.mark.parametrize("number", [0, None, "1"])
def test_unknown_format_is_refused(folder: Path, number: object) -> None:
    reseal(folder, format=number)
    with pytest.raises(BundleError, match=f"format {number}"):
        load_bundle(folder)


def test_older_format_is_read_through_its_reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = json.loads((folder / "manifest.json").read_bytes())
    reseal(folder, format=0, use_case=plain["name"])
    first = {0: lambda old: {**old, "format": 1, "name": old["use_case"].upper()}}
    monkeypatch.setattr(verify, "READERS", {**verify.READERS, **first})
    assert load_bundle(folder).manifest.name == "CHURN"


def test_a_bundle_of_format_1_answers_explains_and_is_named_as_it_was() -> None:
    """The parts of its dates reach the graph in the matrix of numbers, as its manifest lays them out."""
    old = Path(__file__).parent / "format-1"
    packed, known = load_bundle(old.with_suffix(".tar.gz")), json.loads(old.with_suffix(".json").read_bytes())
    assert packed.manifest.encoding.dates == ()
    assert packed.hash == known["hash"]
    np.testing.assert_allclose(packed.predict_proba(known["rows"])[:, 1], known["answers"], atol=1e-6)
    one_by_one = [packed.predict_proba(row)[1] for row in known["rows"]]
    np.testing.assert_allclose(one_by_one, known["answers"], atol=1e-6)
    assert np.ptp(known["answers"]) > 0.1
    moved = packed.explain(known["rows"])
    assert max(abs(row["born"]) for row in moved) > 0.1


def test_field_a_later_version_adds_is_read_over_and_counts(folder: Path, packed: Path) -> None:
    reseal(folder, licence="Apache-2.0")
    assert load_bundle(folder).hash != load_bundle(packed).hash


def test_manifest_with_a_field_missing_or_wrong_is_refused(folder: Path) -> None:
    reseal(folder, runtime="pickle")
    with pytest.raises(BundleError, match=r"manifest\.json.*pickle"):
        load_bundle(folder)


def test_graph_that_does_not_run_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no graph at all")
    listed = json.loads((folder / "manifest.json").read_bytes())["files"]
    from modelyard.core.canonical import file_hash

    reseal(folder, files={**listed, "model.onnx": file_hash(folder / "model.onnx")})
    with pytest.raises(BundleError, match="not a graph"):
        load_bundle(folder)


def test_graph_that_does_not_fit_the_encoding_is_refused(folder: Path) -> None:
    plain = json.loads((folder / "manifest.json").read_bytes())
    encoding = plain["encoding"]
    reseal(folder, encoding={**encoding, "numbers": encoding["numbers"][:-1]})
    with pytest.raises(BundleError, match="does not fit its manifest"):
        load_bundle(folder)


def test_forecast_with_damaged_arrays_is_refused(tmp_path: Path) -> None:
    from modelyard.core.canonical import file_hash

    folder = make(tmp_path / "bundle", "forecast")
    listed = json.loads((folder / "manifest.json").read_bytes())["files"]
    good = (folder / "forecast.npz").read_bytes()
    with np.load(io.BytesIO(good)) as held:
        arrays = dict(held)
    odd = io.BytesIO()
    np.savez(odd, **{**arrays, "mean": arrays["mean"][:, :-1]})
    lacking = io.BytesIO()
    np.savez(lacking, series=arrays["series"])
    for content in (odd.getvalue(), lacking.getvalue(), good[:-30], good[:10], b"", b"\x93NUMPY" + b"0" * 50):
        (folder / "forecast.npz").write_bytes(content)
        reseal(folder, files={**listed, "forecast.npz": file_hash(folder / "forecast.npz")})
        with pytest.raises(BundleError, match=r"forecast\.npz"):
            load_bundle(folder)


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "bad",
    [
        entry("../evil"),
        entry("/tmp/evil"),
        entry("b/../../evil"),
        entry("b\\..\\evil"),
        entry("b/link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("b/hard", tarfile.LNKTYPE, "b/manifest.json"),
        entry("b/pipe", tarfile.FIFOTYPE),
        entry("b/manifest.json"),
    ],
    ids=lambda e: f"{e.name}-{e.type.decode()}",
)
def test_archive_that_reaches_out_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(entry("b/manifest.json"), io.BytesIO())
        tar.addfile(bad, io.BytesIO())
    with pytest.raises(BundleError, match=r"evil\.tar\.gz"):
        unpack(path)
    assert not (tmp_path / "evil").exists()


def test_what_cannot_be_read_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(BundleError, match="'pipe' is not a bundle"):
        load_bundle(pipe)
    memory = Path("/proc/self/mem")  # its first bytes give an input/output error
    if memory.is_file():
        with pytest.raises(BundleError, match="'mem' cannot be read"):
            load_bundle(memory)


@pytest.mark.parametrize("content", [b"", b"no archive", gzip.compress(b"no tar", mtime=0), b"PK\x03\x04" + b"0" * 200])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.tar.gz"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"odd\.tar\.gz"):
        load_bundle(path)


def test_a_table_named_as_the_bundle_is_called_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BundleError, match=r"'rows\.csv' is not a bundle"):
        load_bundle(tmp_path / "rows.csv")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        load_bundle(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(tmp_path)


def test_loading_imports_nothing_that_trains(packed: Path) -> None:
    code = f"""
import sys
from modelyard.bundle.load import load_bundle
b = load_bundle({str(packed)!r})
row = __import__("json").loads((b.path / "examples.json").read_text())[0]
assert b.predict(row) in b.classes
assert abs(b.predict_proba([row]).sum() - 1) < 1e-6
heavy = "pandas sklearn scipy lightgbm xgboost catboost optuna onnx mlflow torch statsforecast".split()
stages = "families selection training evaluation".split()
loaded = [m for m in sys.modules if m.split(".")[0] in heavy]
loaded += [m for m in sys.modules if m.startswith("modelyard.") and m.split(".")[1] in stages]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
