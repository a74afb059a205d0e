"""Workflow: the GitHub Actions file that retrains, gates, builds and, when a person agrees, releases this model."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from modelyard.bundle.manifest import Manifest
from modelyard.core.seeds import derive_seed

# Pinned by commit: a tag can be moved to other code.
_CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2"
_PYTHON = "actions/setup-python@0b93645e9fea7318ecaed2b359559ac225c90a2b # v5.3.0"
_UPLOAD = "actions/upload-artifact@6f51ac03b9356f520e9adb1b1b7802705f340c2b # v4.5.0"
_DOWNLOAD = "actions/download-artifact@fa0a91b85d4f404e444e00e005971372dc801d16 # v4.1.8"
_RESTORE = "actions/cache/restore@1bd1e32a3bdc45362d1e726936510720a7c30a57 # v4.2.0"
_SAVE = "actions/cache/save@1bd1e32a3bdc45362d1e726936510720a7c30a57 # v4.2.0"


def workflow_text(manifest: Manifest, *, brief: str | None = None, image: str | None = None) -> str:
    """Return a workflow that retrains on a change of the brief or once a week.

    Its jobs: ``develop`` (train, evaluate, register, gates to staging), ``image`` (build, and push where an image
    name is given), ``production`` (the environment of that name, whose reviewers must approve, then the gates again).

    Parameters
    ----------
    manifest : Manifest
        Of the bundle: its name, brief and task.
    brief : str, optional
        The brief's path in the repository; default: its file name in the repository's root.
    image : str, optional
        Name of the container image to push, such as ``registry.example.org/ward/readmission``. Without one the image
        is kept as a file of the workflow run.
    """
    name = manifest.name
    path = brief or Path(manifest.brief.source).name
    if not path.endswith((".yaml", ".yml", ".json")):
        # A brief given as a sentence or in Python has no file yet: the repository needs one.
        path = f"{name}.yaml"
    seed = derive_seed(manifest.brief.seed, "workflow", name)
    text = _TEMPLATE.format(
        name=name,
        brief=json.dumps(path),
        image=json.dumps(image or name),
        requirement=json.dumps(f"modelyard[{_extras(manifest)}]=={version('modelyard')}"),
        # Spread over the hour: everybody's jobs start at minute 0.
        cron=f"{seed % 60} 4 * * 1",
        push=_PUSH if image else _KEEP.format(upload=_UPLOAD),
        checkout=_CHECKOUT,
        python=_PYTHON,
        upload=_UPLOAD,
        download=_DOWNLOAD,
        restore=_RESTORE,
        save=_SAVE,
    )
    return text


def _extras(manifest: Manifest) -> str:
    """Return what the workflow installs: what the candidates of this bundle's plan need, so that the plan stays."""
    if manifest.schema.task == "forecast":
        return "train,forecast"
    # Where CatBoost was installed it was a candidate, even if the blend went without it.
    member = any(name.startswith("members/catboost") for name in manifest.files)
    return "train,catboost" if member or "catboost" in manifest.lineage.environment else "train"


_PUSH = """\
      - name: Push the image
        env:
          REGISTRY_USER: ${{ secrets.REGISTRY_USER }}
          REGISTRY_PASSWORD: ${{ secrets.REGISTRY_PASSWORD }}
        run: |
          printf '%s' "$REGISTRY_PASSWORD" | docker login "${IMAGE%%/*}" --username "$REGISTRY_USER" --password-stdin
          docker push "$IMAGE:$GITHUB_SHA"
"""
_KEEP = """\
      - name: Keep the image
        run: docker save "$IMAGE:$GITHUB_SHA" | gzip > image.tar.gz
      - uses: {upload}
        with:
          name: image
          path: image.tar.gz
          retention-days: 30
"""
_TEMPLATE = """\
# Retrain, check and release '{name}'. Written by `modelyard export`; edit it as you like.
#
# - The data must be readable from a runner at the path the brief names (relative to the brief).
# - The registry's history travels in the workspace, which is kept in the cache between runs. GitHub drops a cache
#   unused for 7 days: for a history that lasts, use a self-hosted runner and point MODELYARD_WORKSPACE at its disk.
# - Manual approval: Settings > Environments > production > Required reviewers.
name: {name}

on:
  push:
    branches: [main]
    paths: [{brief}]
  schedule:
    - cron: "{cron}"
  workflow_dispatch:
    inputs:
      approve:
        description: Who decides where a gate is inconclusive
        type: string
      why:
        description: The reason, kept in the history
        type: string

permissions: {{}}

concurrency:
  group: modelyard-{name}
  cancel-in-progress: false

env:
  BRIEF: {brief}
  IMAGE: {image}
  MODELYARD: {requirement}
  MODELYARD_WORKSPACE: ${{{{ github.workspace }}}}/yard
  RELEASE: {name}

jobs:
  develop:
    name: Train, evaluate, gates to staging
    runs-on: ubuntu-24.04
    timeout-minutes: 120
    permissions:
      contents: read
    steps:
      - uses: {checkout}
        with:
          persist-credentials: false
      - uses: {python}
        with:
          python-version: "3.11"
      - uses: {restore}
        with:
          path: yard
          key: yard-{name}-${{{{ github.run_id }}}}
          restore-keys: yard-{name}-
      - name: Install
        run: pip install "$MODELYARD"
      - name: Develop
        # Exit code 3 (the evidence does not decide) goes on to the gates, where a person may.
        run: modelyard develop "$BRIEF" || [ $? -eq 3 ]
      - name: Register
        run: modelyard register last --by "$GITHUB_ACTOR"
      - name: Gates to staging
        env:
          APPROVE: ${{{{ inputs.approve }}}}
          WHY: ${{{{ inputs.why }}}}
        run: |
          approval=()
          if [ -n "$APPROVE" ]; then approval=(--approve "$APPROVE" --why "$WHY"); fi
          modelyard promote "$RELEASE" --to staging --by "$GITHUB_ACTOR" "${{approval[@]}}"
      - uses: {upload}
        if: always()
        with:
          name: yard
          path: yard
          include-hidden-files: true
          retention-days: 30
      - uses: {save}
        if: always()
        with:
          path: yard
          key: yard-{name}-${{{{ github.run_id }}}}

  image:
    name: Build the image
    needs: develop
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    permissions:
      contents: read
    steps:
      - uses: {python}
        with:
          python-version: "3.11"
      - uses: {download}
        with:
          name: yard
          path: yard
      - name: Export
        run: |
          pip install "$MODELYARD"
          modelyard export "$RELEASE@staging" --out deployment --image "$IMAGE"
      - name: Build
        run: docker build --tag "$IMAGE:$GITHUB_SHA" deployment
{push}
  production:
    name: Gates to production, after approval
    needs: image
    runs-on: ubuntu-24.04
    timeout-minutes: 30
    environment: production
    permissions:
      contents: read
    steps:
      - uses: {checkout}
        with:
          persist-credentials: false
      - uses: {python}
        with:
          python-version: "3.11"
      - uses: {download}
        with:
          name: yard
          path: yard
      - name: Promote
        env:
          APPROVE: ${{{{ inputs.approve }}}}
          WHY: ${{{{ inputs.why }}}}
        run: |
          pip install "$MODELYARD"
          approval=()
          if [ -n "$APPROVE" ]; then approval=(--approve "$APPROVE" --why "$WHY"); fi
          modelyard promote "$RELEASE@staging" --to production --by "$GITHUB_ACTOR" "${{approval[@]}}"
      - uses: {save}
        if: always()
        with:
          path: yard
          key: yard-{name}-${{{{ github.run_id }}}}-production
"""
