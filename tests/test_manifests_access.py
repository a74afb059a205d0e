"""Deployment files of servers that ask for keys or tokens, and what is said where none are asked for."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft7Validator

from bundles import bundle
from modelyard.cli.main import cli
from modelyard.serving.guard.store import KeyStore
from test_manifests import HERE, KUBERNETES, WITHIN, predicted, run, serving, systemd_accepts

OPEN = "Open to whoever reaches it: export with --auth keys or --auth oidc to ask for a key or a token."
STARTS = [
    *("Dockerfile", "compose.yaml", "systemd/churn.service"),
    *("kubernetes/deployment.yaml", "argo/kustomization.yaml", "kserve/inferenceservice.yaml"),
]


def exported(made, folder: Path, *words: str, rc: int = 0) -> str:
    done = CliRunner().invoke(cli, ["export", str(made.path), "-o", str(folder), *words], catch_exceptions=False)
    assert done.exit_code == rc, done.output
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bundle(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture(scope="module")
def guarded(made, tmp_path_factory):
    """All files of a server that takes keys and tokens, with words that each format must write in its own way."""
    folder = tmp_path_factory.mktemp("guarded")
    words = ("--auth", "keys", "--auth", "oidc", "--issuer", "https://login.example.org/a%20b",
             "--audience", 'the "models" $x', "--scope-prefix", "models:")  # fmt: skip
    return folder, words, exported(made, folder, *words)


def test_a_server_that_is_open_is_said_to_be(made, guarded, tmp_path):
    assert OPEN in exported(made, tmp_path / "open")
    for file in STARTS:
        assert OPEN in (tmp_path / "open" / file).read_text(), file
    assert OPEN not in exported(made, tmp_path / "proxy", "--target", "nginx")  # which starts no server
    folder, _, said = guarded
    assert OPEN not in said
    for file in STARTS:
        assert OPEN not in (folder / file).read_text(), file


def test_every_format_asks_for_the_keys_and_tokens_that_were_asked_for(guarded):
    folder, words, _ = guarded
    assert json.loads(re.search(r"^CMD (.*)$", (folder / "Dockerfile").read_text(), re.MULTILINE)[1]) == [*words]
    assert re.search(r"^ARG EXTRAS=\"auth\"$", (folder / "Dockerfile").read_text(), re.MULTILINE)
    run(Path(sys.executable).with_name("hadolint"), folder / "Dockerfile")
    unit = (folder / "systemd/churn.service").read_text().replace("\\\n", " ")
    command = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    assert shlex.split(command.replace("%%", "%").replace("$$", "$"))[-len(words) :] == [*words]
    kubectl = shutil.which("kubectl", path=WITHIN)
    pods = [o["spec"]["template"]["spec"] for o in yaml.safe_load_all(run(kubectl, "kustomize", folder / "argo"))
            if o["kind"] == "Deployment"]  # fmt: skip
    pods.append(yaml.safe_load((folder / "kserve/inferenceservice.yaml").read_text())["spec"]["predictor"])
    for pod in pods:
        (container,) = pod["containers"]
        assert [word.replace("$$", "$") for word in container["args"]] == [*words]
        (mount,) = (mount for mount in container["volumeMounts"] if mount["name"] == "keys")
        assert mount["mountPath"] == "/var/lib/modelyard/keys.db"
        (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "keys")
        assert volume["secret"]["secretName"] == "churn-keys"


def test_what_the_server_connects_to_is_installed(made, tmp_path):
    reached = ("--store", "postgresql://db", "--redis", "redis://limits", "--traces", "https://collector")
    exported(made, tmp_path, "--target", "docker", "--target", "systemd", *reached)
    assert 'ARG EXTRAS="postgres,otel"\n' in (tmp_path / "Dockerfile").read_text()
    assert "with modelyard[postgres,otel];" in (tmp_path / "systemd/churn.service").read_text()


def test_the_tools_accept_the_files_of_a_guarded_server(guarded):
    folder, _, _ = guarded
    kubernetes_validate.validate(
        yaml.safe_load((folder / "kubernetes/deployment.yaml").read_text()), KUBERNETES, strict=True
    )
    schema = json.loads((HERE / "schemas/inferenceservice.json").read_text())
    Draft7Validator(schema).validate(yaml.safe_load((folder / "kserve/inferenceservice.yaml").read_text()))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit_of_a_guarded_server(guarded, tmp_path):
    folder, *_ = guarded
    systemd_accepts(folder / "systemd/churn.service", tmp_path)


def test_a_pod_takes_the_keys_of_its_secret_which_it_cannot_write(made, tmp_path):
    _, secret = KeyStore(tmp_path / "keys/keys.db").create("ward-app", by="anna")
    exported(made, tmp_path / "out", "--target", "kubernetes", "--auth", "keys")
    pod = yaml.safe_load((tmp_path / "out/kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    state, place = tmp_path / "state", next(m for m in container["volumeMounts"] if m["name"] == "keys")
    state.mkdir()
    shutil.copy(tmp_path / "keys" / place["subPath"], state / Path(place["mountPath"]).name)
    (state / "keys.db").chmod(0o440)
    with serving("serve", str(made.path), "--port", "0", *container["args"], MODELYARD_WORKSPACE=str(state)) as address:
        assert predicted(address)[0] == 401
        assert predicted(address, secret)[0] == 200
        assert predicted(address, f"{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}")[0] == 401


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--auth", "oidc"), "--auth oidc needs --issuer URL and --audience NAME."),
        (("--auth", "none", "--auth", "keys"), "--auth none goes with no other."),
        (("--issuer", "https://login.example.org"), "go with --auth oidc."),
        (("--auth", "keys", "--scope-prefix", "models:"), "go with --auth oidc."),
    ],
)
def test_words_about_callers_that_do_not_go_together_are_refused(made, tmp_path, words, said):
    assert said in exported(made, tmp_path / "out", *words, rc=2)
    assert not (tmp_path / "out").exists()
