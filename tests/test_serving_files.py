"""Deployment files: checked by the tools that read them, and made of this bundle's own facts."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bundles import ROW, bundle, make
from modelyard.brief.brief import Brief, LogBrief
from modelyard.bundle.load import load_bundle
from modelyard.serving.capacity import PEAK, capacity
from modelyard.serving.log import read_log
from modelyard.serving.manifests.deployed import object_name
from modelyard.serving.manifests.export import export_files
from modelyard.serving.manifests.image import dockerfile
from modelyard.serving.rehearsal import rehearse, request_microseconds


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bundle(tmp_path_factory.mktemp("made") / "bundle")


def loaded(made, requests_per_day=None, name="churn"):
    brief = Brief(use_case="churn", requests_per_day=requests_per_day)
    return replace(made, manifest=replace(made.manifest, brief=brief, name=name))


@pytest.fixture(scope="module")
def exported(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    paths = export_files(
        loaded(made, 10e6),
        folder,
        targets=("docker", "kubernetes", "notes"),
        image="registry.example.org/team/churn:7",
        more={"notes": {"notes/churn.txt": "of another stage\n"}},
    )
    return folder, paths


def test_everything_is_written_where_it_belongs(exported):
    folder, paths = exported
    assert {p.relative_to(folder).as_posix() for p in paths} == {
        "Dockerfile", ".dockerignore", "constraints.txt", "compose.yaml", "kubernetes/deployment.yaml",
        "kubernetes/service.yaml", "kubernetes/hpa.yaml", "kubernetes/pdb.yaml", "kubernetes/networkpolicy.yaml",
        "kubernetes/kustomization.yaml", "notes/churn.txt",
    }  # fmt: skip
    assert (folder / "notes/churn.txt").read_text() == "of another stage\n"
    listed = yaml.safe_load((folder / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert all((folder / "kubernetes" / name).is_file() for name in listed)


def test_hadolint_has_nothing_to_say(exported):
    folder, _ = exported
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, folder / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_slim_unprivileged_and_holds_this_bundle(exported, made):
    folder, _ = exported
    text = (folder / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.1[123]-slim$", text, re.MULTILINE)
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert re.search(r"pip install --no-cache-dir modelyard==\d", text)
    assert made.hash[:12] in text
    copied = set(re.findall(r"^COPY (\S+)", text, re.MULTILINE))
    assert all((folder / name).exists() for name in copied)
    kept = {line[1:] for line in (folder / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert kept == copied | {"*.whl"}  # a wheel beside it is installed, and no index asked for it
    assert re.search(r"^COPY constraints.txt \*.whl /srv/$", text, re.MULTILINE)
    assert load_bundle(folder / "bundle").hash == made.hash
    pins = (folder / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==\S+", pin) for pin in pins)
    assert any(pin.startswith("onnxruntime==") for pin in pins)


def test_the_image_s_command_needs_no_folder_but_the_one_that_it_may_write(tmp_path):
    made = make(tmp_path / "made", brief=Brief(use_case="churn", log=LogBrief(hash=("city",))))
    text = dockerfile(load_bundle(made))
    (volume,) = json.loads(re.search(r"^VOLUME (.*)$", text, re.MULTILINE)[1])
    workspace = re.search(r"MODELYARD_WORKSPACE=(\S+)", text)[1]
    assert workspace == volume
    given = {"modelyard": str(Path(sys.executable).with_name("modelyard")), "/srv/bundle": str(made)}
    given |= {"0.0.0.0": "127.0.0.1", "8000": "0"}
    words = [given.get(word, word) for word in json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])]
    (tmp_path / "yard").touch()  # where it starts it may make no folder
    inside = {**os.environ, "MODELYARD_WORKSPACE": str(tmp_path / "state")}
    with subprocess.Popen(words, cwd=tmp_path, env=inside, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = re.search(r"http://(\S+)", server.stdout.readline())[1]
            with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
                connection.request("POST", "/v1/predict", json.dumps(ROW), {"Content-Type": "application/json"})
                assert connection.getresponse().status == 200
        finally:
            server.terminate()
    (record,) = read_log(tmp_path / "state" / "predictions")
    assert record.rows[0]["city"].startswith("hmac:")


def test_a_stray_file_in_the_bundles_folder_does_not_travel(tmp_path):
    made = bundle(tmp_path / "made")
    (made.path / "registered_model_meta").write_text("model_name: churn\n")
    export_files(made, tmp_path / "out", needs=capacity(made, 100.0))
    export_files(made, tmp_path / "out", needs=capacity(made, 100.0))
    copied = {
        p.relative_to(tmp_path / "out/bundle").as_posix() for p in (tmp_path / "out/bundle").rglob("*") if p.is_file()
    }
    assert copied == {*made.manifest.files, "manifest.json", "manifest.sha256"}
    assert load_bundle(tmp_path / "out/bundle").hash == made.hash


def test_the_objects_belong_together(exported, made):
    folder, _ = exported
    deployment, service, hpa = (
        yaml.safe_load((folder / f"kubernetes/{n}.yaml").read_text()) for n in ("deployment", "service", "hpa")
    )
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry.example.org/team/churn:7"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert hpa["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"] == "churn"
    assert hpa["spec"]["minReplicas"] == deployment["spec"]["replicas"] <= hpa["spec"]["maxReplicas"]
    assert {container[p]["httpGet"]["path"] for p in ("startupProbe", "readinessProbe")} == {"/health/ready"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert deployment["metadata"]["annotations"]["modelyard/bundle"] == made.hash
    mounted = {m["mountPath"] for m in container["volumeMounts"]}
    assert any(path in (folder / "Dockerfile").read_text() for path in mounted)  # the log can be written


def test_capacity_grows_with_load_and_cost(made):
    idle = capacity(loaded(made), 100.0)
    assert idle.peak == 0
    assert idle.pods >= 2
    some = capacity(loaded(made, 10e6), 100.0)
    assert some.peak == pytest.approx(PEAK * 10e6 / 86_400)
    assert some.pods * some.millicores / 1000 * 1e6 / 100.0 * 0.6 >= some.peak
    many = capacity(loaded(made, 10e9), 100.0)
    assert many.pods * many.per_core >= many.peak
    assert many.millicores <= 1000
    assert capacity(loaded(made, 10e6), 1e5).pods > some.pods


@pytest.mark.parametrize(("name", "expected"), [("churn", "churn"), ("2024-sales", "model-2024-sales"), ("Ä_x", "a-x")])
def test_names_fit_kubernetes(made, name, expected):
    assert object_name(loaded(made, name=name)) == expected


def test_a_rehearsal_quotes_a_real_server(made):
    seen = rehearse(made, seconds=0.2)
    assert seen.answer["prediction"] == made.predict(seen.request)
    assert seen.problem["status"] == 422
    assert len(seen.problem["errors"]) >= 2
    assert 0 < seen.p50 <= seen.p99
    assert seen.n > 10
    assert seen.microseconds > 0.5 * request_microseconds(made, seconds=0.2)
