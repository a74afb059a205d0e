"""Deployment files of every target: accepted by the tools that read them, and made of this bundle's own facts."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import kubernetes_validate
import numpy as np
import onnxruntime as ort
import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft7Validator
from jsonschema.validators import validator_for

from bundles import ROW, bundle, make
from modelyard.brief.brief import Brief, Latency
from modelyard.bundle.load import load_bundle
from modelyard.cli.export import TARGETS
from modelyard.cli.main import cli, main
from modelyard.core.errors import ServingError
from modelyard.flow.export import export_all
from modelyard.serving.capacity import capacity
from modelyard.serving.manifests.described import described
from modelyard.serving.manifests.kubernetes import repository_of
from modelyard.serving.metrics import IN_FLIGHT

HERE = Path(__file__).parent
WITHIN = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
KUBERNETES = "1.37"


def run(*words: object, rc: int = 0, **more: object) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **more)
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    loaded = bundle(tmp_path_factory.mktemp("made") / "bundle")
    brief = Brief(use_case="churn", requests_per_day=10e6, latency=Latency(99.0, 50.0))
    return replace(loaded, manifest=replace(loaded.manifest, brief=brief))


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    image = "registry.example.org:5000/team/churn:7"
    paths = export_all(made, folder, image=image, needs=capacity(made, 300.0))
    return folder, [path.relative_to(folder) for path in paths]


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("churn", "churn"),
        ("churn:7", "churn"),
        ("registry.example.org:5000/team/churn", "registry.example.org:5000/team/churn"),
        ("registry.example.org:5000/team/churn:7", "registry.example.org:5000/team/churn"),
        ("churn@sha256:0123", "churn"),
    ],
)
def test_an_image_is_known_by_its_name_without_tag(image, repository):
    assert repository_of(image) == repository


def test_no_file_is_left_to_be_written_by_hand_and_each_is_described(written):
    folder, paths = written
    for path in paths:
        what, checked = described(path)
        assert what, path
        assert checked, path
        if path.name == "model.onnx":
            continue
        text = (folder / path).read_text()
        assert text.strip()
        assert not re.search(r"\b(TODO|FIXME|CHANGEME|XXX)\b|<[a-z-]+>", text), path
        if path.suffix in {".yaml", ".conf", ".pbtxt", ".service"} and "rules" not in path.name:
            assert text.startswith("# churn: bundle "), path


@pytest.mark.parametrize("name", ["deployment", "service", "hpa", "pdb", "networkpolicy"])
def test_kubernetes_accepts_every_object(written, name):
    folder, _ = written
    content = yaml.safe_load((folder / f"kubernetes/{name}.yaml").read_text())
    kubernetes_validate.validate(content, KUBERNETES, strict=True)


def test_kubernetes_accepts_the_services_of_a_rollout(written):
    folder, _ = written
    for content in yaml.safe_load_all((folder / "argo/services.yaml").read_text()):
        kubernetes_validate.validate(content, KUBERNETES, strict=True)


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("rollout", "argo/rollout.yaml"),
        ("analysistemplate", "argo/analysis.yaml"),
        ("httproute", "argo/route.yaml"),
        ("inferenceservice", "kserve/inferenceservice.yaml"),
    ],
)
def test_custom_resources_fit_their_projects_schemas(written, schema, file):
    folder, _ = written
    validator = Draft7Validator(json.loads((HERE / "schemas" / f"{schema}.json").read_text()))
    for content in yaml.safe_load_all((folder / file).read_text()):
        validator.validate(content)
        content["spec"]["replica"] = 2
        assert not validator.is_valid(content)


def test_the_container_that_kserve_runs_is_the_deployments(written):
    folder, _ = written
    served = yaml.safe_load((folder / "kserve/inferenceservice.yaml").read_text())["spec"]["predictor"]
    pod = yaml.safe_load((folder / "kubernetes/deployment.yaml").read_text())["spec"]["template"]["spec"]
    (container,), (own,) = served["containers"], pod["containers"]
    assert container == own | {"name": "kserve-container"}
    assert served["securityContext"] == pod["securityContext"]


def test_kustomize_builds_the_objects_and_the_rollout_over_them(written):
    folder, _ = written
    kubectl = shutil.which("kubectl", path=WITHIN)
    plain = {o["kind"]: o for o in yaml.safe_load_all(run(kubectl, "kustomize", folder / "kubernetes"))}
    assert plain.keys() == {
        "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip
    over = {
        (o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(run(kubectl, "kustomize", folder / "argo"))
    }
    scaled = over["HorizontalPodAutoscaler", "churn"]["spec"]["scaleTargetRef"]
    assert scaled == {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "churn"}
    assert "replicas" not in over["Deployment", "churn"]["spec"]
    rollout = over["Rollout", "churn"]["spec"]
    canary = rollout["strategy"]["canary"]
    backends = {b["name"] for b in over["HTTPRoute", "churn"]["spec"]["rules"][0]["backendRefs"]}
    assert backends == {canary["stableService"], canary["canaryService"]}
    assert all(("Service", name) in over for name in backends)
    assert ("Deployment", rollout["workloadRef"]["name"]) in over
    judged = {t["templateName"] for t in canary["analysis"]["templates"]} | {
        t["templateName"] for step in canary["steps"] if "analysis" in step for t in step["analysis"]["templates"]
    }
    assert all(("AnalysisTemplate", name) in over for name in judged)


def test_the_objects_belong_together(written):
    folder, _ = written
    names = ("deployment", "hpa", "pdb", "networkpolicy")
    deployment, hpa, pdb, policy = (yaml.safe_load((folder / f"kubernetes/{n}.yaml").read_text()) for n in names)
    pod = deployment["spec"]["template"]
    selected = deployment["spec"]["selector"]["matchLabels"]
    assert selected.items() <= pod["metadata"]["labels"].items()
    assert pdb["spec"]["selector"]["matchLabels"] == policy["spec"]["podSelector"]["matchLabels"] == selected
    assert pdb["spec"]["maxUnavailable"] < hpa["spec"]["minReplicas"] == deployment["spec"]["replicas"]
    (rule,) = policy["spec"]["ingress"]
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert rule["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    assert policy["spec"]["egress"] == []
    scaled = [m["pods"]["metric"]["name"] for m in hpa["spec"]["metrics"] if m["type"] == "Pods"]
    adapter = yaml.safe_load((folder / "prometheus/adapter.yaml").read_text())["rules"]
    assert scaled == [IN_FLIGHT] == [rule["name"]["as"] for rule in adapter]


def test_compose_fits_its_schema_and_locks_the_container_down(written):
    folder, _ = written
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    content = yaml.safe_load((folder / "compose.yaml").read_text())
    validator_for(schema)(schema).validate(content)
    server = content["services"]["server"]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    written_to = {*server["tmpfs"], *(v.split(":")[1] for v in server["volumes"])}
    container = yaml.safe_load((folder / "kubernetes/deployment.yaml").read_text())
    mounts = container["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert written_to == {m["mountPath"] for m in mounts}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit_and_finds_little_exposed(written, tmp_path):
    folder, _ = written
    systemd_accepts(folder / "systemd/churn.service", tmp_path)


def systemd_accepts(unit: Path, folder: Path) -> None:
    """Have systemd verify a unit, and say how exposed its service is."""
    program = re.search(r"^ExecStart=(\S+)", unit.read_text(), re.MULTILINE)[1]
    # The program lies elsewhere here; everything else is verified as it is.
    here = folder / unit.name
    here.write_text(unit.read_text().replace(program, str(Path(sys.executable))))
    assert run("systemd-analyze", "verify", "--man=no", here) == ""
    said = run("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", here)
    assert float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1]) <= 2.0


def test_the_units_command_serves_and_logs_where_it_may_write(made, written, tmp_path):
    folder, _ = written
    unit = (folder / "systemd/churn.service").read_text().replace("\\\n", " ")
    words = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1].split()
    workers = words[words.index("--workers") + 1]
    assert int(workers) == 1
    state = str(tmp_path / "state")
    asked = [{"/srv/churn/bundle": str(made.path), "8000": "0"}.get(w, w.replace("%S", state)) for w in words[1:]]
    with serving(*asked) as address:
        assert json.loads(predicted(address)[1])["served_by"] == "model"
        assert list(Path(state, re.search(r"^StateDirectory=(.*)$", unit, re.MULTILINE)[1], "predictions").iterdir())


@contextmanager
def serving(*words: str, **environment: str):
    """Start modelyard and yield where it listens.

    As under the unit, and in a container, it stands where it can write nothing: no workspace can be made.
    """
    with subprocess.Popen(
        [Path(sys.executable).with_name("modelyard"), *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd="/proc/sys",
        env=os.environ | environment,
    ) as server:
        try:
            yield re.search(r"http://(\S+)", server.stdout.readline())[1]
        finally:
            server.terminate()
    assert server.returncode == 0


def predicted(address: str, key: str | None = None) -> tuple[int, bytes]:
    """Return what a server answers to one row."""
    fields = {"Content-Type": "application/json"} | ({} if key is None else {"Authorization": f"Bearer {key}"})
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request("POST", "/v1/predict", json.dumps(ROW), fields)
        response = connection.getresponse()
        return response.status, response.read()


def by_path(package: str, file: str) -> ModuleType:
    """Return a module of a package that is installed without what it depends on."""
    (root,) = importlib.util.find_spec(package).submodule_search_locations
    spec = importlib.util.spec_from_file_location(Path(file).stem, Path(root, file))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_triton_reads_the_repository_and_its_graph_takes_what_it_declares(tmp_path, task):
    from google.protobuf import text_format

    described = by_path("tritonclient", "grpc/model_config_pb2.py")
    asked = bundle(tmp_path / "bundle", task)
    export_all(asked, tmp_path, needs=capacity(asked, 300.0), targets=("triton",))
    folder = tmp_path / "triton/churn"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), described.ModelConfig())
    assert config.name == folder.name
    assert config.backend == "onnxruntime"
    session = ort.InferenceSession(str(folder / "1/model.onnx"), providers=["CPUExecutionProvider"])
    kinds = {"TYPE_FP32": "tensor(float)", "TYPE_INT64": "tensor(int64)", "TYPE_STRING": "tensor(string)"}
    for declared, real in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        shown = {t.name: (kinds[described.DataType.Name(t.data_type)], list(t.dims)) for t in declared}
        assert shown == {t.name: (t.type, t.shape[1:]) for t in real}
    row = asked.schema.check_row(ROW)
    answer = session.run(None, asked.manifest.encoding.inputs_of_rows([row]))[0]
    np.testing.assert_array_equal(answer, asked.predict_rows([row]))
    labels = [t.label_filename for t in config.output if t.label_filename]
    if asked.classes:
        assert (folder / labels[0]).read_text().split("\n")[:-1] == [str(c) for c in asked.schema.classes]
    else:
        assert labels == []


def test_a_forecast_has_every_target_but_triton(tmp_path):
    ahead = load_bundle(make(tmp_path / "bundle", "forecast"))
    needs = capacity(ahead, 300.0)
    paths = export_all(ahead, tmp_path / "out", needs=needs)
    assert not [path for path in paths if "triton" in path.parts]
    with pytest.raises(ServingError, match="no graph") as raised:
        export_all(ahead, tmp_path / "out", needs=needs, targets=("triton",))
    assert "--target" in raised.value.do


def test_the_command_writes_the_targets_that_are_named(made, tmp_path):
    def wrote(*words: str) -> set[str]:
        out = tmp_path / "-".join(words)
        done = CliRunner().invoke(cli, ["export", str(made.path), "-o", str(out), *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return {p.relative_to(out).parts[0] for p in out.rglob("*") if p.is_file()}

    image = {"Dockerfile", ".dockerignore", "constraints.txt", "compose.yaml", "bundle"}
    assert wrote("--target", "docker") == image
    assert wrote("--target", "argo") == {"argo", "kubernetes"}
    assert wrote("--target", "grafana", "--target", "nginx") == {"grafana", "nginx"}
    folders = {
        "kubernetes",
        "kserve",
        "argo",
        "triton",
        "nginx",
        "envoy",
        "systemd",
        "prometheus",
        "grafana",
        ".github",
    }
    assert wrote("--target", "all") == image | folders


NAMES = [(53, "UDP"), (53, "TCP")]
TOKENS = ("--auth", "oidc", "--audience", "models")


@pytest.mark.parametrize(
    ("words", "ports"),
    [
        ((), []),
        (("--store", "store.db"), []),
        (("--store", "sqlite:///var/lib/store.db", "--redis", "unix:///run/redis.sock"), []),
        (("--store", "postgresql://%2Fvar%2Frun/models"), []),
        (("--store", "postgresql:///models?host=/var/run"), []),
        (("--store", "postgresql://models:secret@db.example.org/models"), [5432]),
        (("--store", "postgres://models:secret@a:5433,b,[2001:db8::7]:5434/models"), [5433, 5432, 5434]),
        (("--store", "postgresql:///models?host=a,b&port=6000"), [6000]),
        (("--redis", "redis://:secret@limits"), [6379]),
        (("--redis", "rediss://:secret@limits:6380/0"), [6380]),
        ((*TOKENS, "--issuer", "https://login.example.org/realms/ward"), [443]),
        (("--traces", "http://user:secret@collector:4318/v1/traces"), [4318]),
        (
            (*TOKENS, "--store", "postgresql://db", "--redis", "redis://limits", "--issuer", "https://login",
             "--traces", "https://collector"),
            [5432, 6379, 443],
        ),
    ],
)  # fmt: skip
def test_pods_reach_what_the_server_needs_and_nothing_else(made, tmp_path, words, ports):
    asked = ("export", str(made.path), "-o", str(tmp_path), "--target", "kubernetes", *words)
    done = CliRunner().invoke(cli, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "kubernetes/networkpolicy.yaml").read_text()
    policy = yaml.safe_load(text)
    kubernetes_validate.validate(policy, KUBERNETES, strict=True)
    found = [(one["port"], one["protocol"]) for rule in policy["spec"]["egress"] for one in rule["ports"]]
    assert found == [*(NAMES if ports else []), *((port, "TCP") for port in ports)]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not any("secret" in path.read_text() for path in tmp_path.rglob("*.yaml"))


def test_what_is_reached_may_come_from_the_environment_as_it_does_for_the_server(made, tmp_path):
    asked = ("export", str(made.path), "-o", str(tmp_path), "--target", "kubernetes", "--target", "systemd")
    given = {"MODELYARD_STORE": "postgresql://db", "MODELYARD_REDIS": "redis://limits:7000"}
    assert CliRunner(env=given).invoke(cli, asked, catch_exceptions=False).exit_code == 0
    text = (tmp_path / "kubernetes/networkpolicy.yaml").read_text()
    assert [rule["ports"][0]["port"] for rule in yaml.safe_load(text)["spec"]["egress"]] == [53, 5432, 7000]
    assert "store at db:5432, redis at limits:7000" in text
    # The unit lets nothing but this machine through: what else is to be allowed stands at its top.
    assert "and store at db:5432, and redis at limits:7000." in (tmp_path / "systemd/churn.service").read_text()


@pytest.mark.parametrize(
    "words",
    [
        ("--store", "mysql://:secret@db"), ("--store", "postgresql:///models"), ("--redis", "limits:6379"),
        ("--redis", "redis://:secret@limits:port"), ("--issuer", "login.example.org", *TOKENS),
        ("--issuer", "http://login.example.org", *TOKENS), ("--traces", "grpc://:secret@c"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_repeated(made, tmp_path, words, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["export", str(made.path), "-o", str(tmp_path), "--target", "kubernetes", *words])
    assert raised.value.code == 1
    said = capsys.readouterr().err
    assert f"{words[0]} names no host" in said
    assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_the_commands_targets_are_those_there_are(made, tmp_path):
    with pytest.raises(ServingError, match="called 'nomad'") as raised:
        export_all(made, tmp_path, needs=capacity(made, 300.0), targets=("nomad",))
    assert raised.value.allowed == f"{', '.join(TARGETS)}."
