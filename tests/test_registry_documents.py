"""The workflow and the fifth document speak of this run, and the workflow is one GitHub would take."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import bundles
from modelyard.core.errors import GateFailed
from modelyard.core.markup import Code, Details, Table
from modelyard.registry.document import mlops_document
from modelyard.registry.register import evidence, register
from modelyard.registry.release import Gate
from modelyard.registry.store import Registry
from modelyard.registry.workflow import workflow_text

ZIZMOR = str(Path(sys.executable).with_name("zizmor"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return bundles.bundle(tmp_path_factory.mktemp("bundle") / "bundle", "binary")


@pytest.fixture(scope="module", params=[None, "registry.example.org/ward/readmission"])
def text(packed, request):
    return workflow_text(packed.manifest, brief="briefs/ward 7.yaml", image=request.param)


def test_the_workflow_names_this_model(text, packed):
    workflow = yaml.safe_load(text)
    name = packed.manifest.name
    assert workflow["name"] == name
    assert workflow["env"]["RELEASE"] == name
    assert workflow["env"]["BRIEF"] == "briefs/ward 7.yaml"
    triggers = workflow[True]  # YAML 1.1 reads the key "on" as true
    assert triggers["push"]["paths"] == ["briefs/ward 7.yaml"]
    assert re.fullmatch(r"\d{1,2} 4 \* \* 1", triggers["schedule"][0]["cron"])


def test_production_waits_for_a_person_and_the_image_before_it(text):
    jobs = yaml.safe_load(text)["jobs"]
    assert list(jobs) == ["develop", "image", "production"]
    assert jobs["production"]["environment"] == "production"
    assert jobs["production"]["needs"] == "image"


def test_permissions_are_minimal_and_actions_are_pinned_by_commit(text):
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] > 0
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            else:
                # Whatever comes from outside reaches a shell as a variable, never as text of the script.
                assert "${{" not in step["run"]


def test_every_command_is_one_of_ours(text):
    from modelyard.cli.main import VERBS

    assert set(re.findall(r"modelyard ([a-z]+) ", text)) - {"run"} <= set(VERBS)


def test_an_image_with_a_name_is_pushed_and_one_without_is_kept(packed):
    assert "docker push" in workflow_text(packed.manifest, image="registry.example.org/a/b")
    assert "docker push" not in workflow_text(packed.manifest)
    assert "image.tar.gz" in workflow_text(packed.manifest)


def test_a_forecast_installs_its_extra_and_a_sentence_gets_a_file(packed):
    brief = replace(packed.manifest.brief, source="sentence")
    manifest = replace(packed.manifest, brief=brief, schema=replace(packed.manifest.schema, task="forecast"))
    env = yaml.safe_load(workflow_text(manifest))["env"]
    assert env["MODELYARD"].startswith("modelyard[train,forecast]==")
    assert env["BRIEF"] == f"{manifest.name}.yaml"


def test_catboost_is_installed_where_it_was_a_candidate(packed):
    def requirement(**changes):
        return yaml.safe_load(workflow_text(replace(packed.manifest, **changes)))["env"]["MODELYARD"]

    lineage = packed.manifest.lineage
    without = replace(lineage, environment={"lightgbm": "4.6.0"})
    tried = replace(lineage, environment={"lightgbm": "4.6.0", "catboost": "1.2.8"})
    assert requirement(lineage=without).startswith("modelyard[train]==")
    assert requirement(lineage=tried).startswith("modelyard[train,catboost]==")
    blended = {**packed.manifest.files, "members/catboost-0.json": "0" * 64}
    assert requirement(lineage=without, files=blended).startswith("modelyard[train,catboost]==")


def test_scripts_are_shell(text, tmp_path):
    for job in yaml.safe_load(text)["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                subprocess.run(["bash", "-n", "-c", step["run"]], check=True)


def test_zizmor_finds_nothing(text, tmp_path):
    path = tmp_path / ".github" / "workflows" / "retrain.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    done = subprocess.run([ZIZMOR, "--offline", "--no-progress", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_document_is_about_this_run(tmp_path, packed):
    run, _ = bundles.trained("binary")
    report = bundles.report(run)
    registry = Registry(tmp_path / "registry.db")
    written = "2024-03-09T12:00:00Z"
    arguments = {"name": packed.manifest.name, "written": written, "triggers": [("drift", "PSI over 0.25", "propose")]}
    gates = evidence(packed, report)
    before = mlops_document(run, packed.hash, (), (), gates, "name: x", **arguments)
    assert f"On {written}, when this was written: Run `{run.id}` is not registered" in before.answer[0].text
    assert f"`modelyard history {packed.manifest.name}`" in before.answer[0].text
    assert any(getattr(block, "text", "") == f"None on {written}." for block in before.blocks)
    release = register(packed, report, registry=registry, by="anna")
    document = mlops_document(
        run, packed.hash, registry.releases(), registry.history(release.name), gates, "name: x", **arguments
    )
    assert "**version 1**, in **development**" in document.answer[0].text
    tables = [block for block in (*document.answer, *document.blocks) if isinstance(block, Table)]
    cells = [cell for table in tables for row in table.rows for cell in row]
    assert any("roc_auc 0.8 [0.75, 0.85], n = 60" in cell for cell in cells)
    assert f"`modelyard promote {packed.manifest.name}`" in cells
    assert "PSI over 0.25" in cells
    details = {block.title: block.blocks for block in document.blocks if isinstance(block, Details)}
    assert details["The workflow"] == [Code("name: x", "yaml")]
    assert len(details["History"][0].rows) == 1
    assert document.markdown().startswith("# MLOps")


def test_a_refusal_in_the_history_names_its_gates(tmp_path, packed):
    run, _ = bundles.trained("binary")
    registry = Registry(tmp_path / "registry.db")
    bad = Gate("no open leak", "fail", "discharge alone reaches 0.97")
    release = registry.register("churn", packed.path, packed.hash, run.name, by="anna", gates=[bad])
    with pytest.raises(GateFailed):
        registry.promote("churn", by="anna")
    history = registry.history("churn")
    document = mlops_document(
        run, packed.hash, (release,), history, [bad], "name: x", name="churn", written="today", triggers=[]
    )
    (shown,) = [b for b in document.blocks if isinstance(b, Details) and b.title == "History"]
    assert shown.blocks[0].rows[-1][-1] == "refused: 1 gate (no open leak)"
