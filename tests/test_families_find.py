"""Families are found by name: ours, and those of packages that are really installed (in a folder made for the test)."""

from __future__ import annotations

import sys

import pytest

from modelyard.core.errors import FamilyError
from modelyard.families.find import all_families, family_for, family_named

SURVIVAL = """
class Survival:
    name = "survival"
    tasks = frozenset({"survival"})
    refits = False
    def candidates(self, brief, profile, data): ...
    def fit(self, candidate, parts, seed, watch=None, rounds=None): ...
    def predict(self, fitted, rows): ...
    def export(self, blend, data): ...
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that announces a family."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def put(package: str, code: str, family: str = "survival", attribute: str = "Survival") -> None:
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[modelyard.families]\n{family} = {module}:{attribute}\n")
        made.append(module)

    yield put
    for module in made:
        sys.modules.pop(module, None)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", "forecast"])
def test_every_task_of_a_brief_has_a_family(task):
    assert task in family_for(task).tasks


def test_ours_come_first_and_know_their_names():
    assert [family.name for family in all_families()] == ["tabular", "forecast"]
    assert family_named("forecast").refits


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(FamilyError, match="Did you mean 'forecast'"):
        family_named("forcast")


def test_an_unknown_task_names_the_families():
    with pytest.raises(FamilyError, match=r"No model family fits the task 'ranking'.*\n.*tabular, forecast"):
        family_for("ranking")


def test_another_package_brings_a_family(install):
    install("yard-survival", SURVIVAL)
    assert family_named("survival").tasks == {"survival"}
    assert family_for("survival").name == "survival"
    assert [family.name for family in all_families()] == ["tabular", "forecast", "survival"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import a_module_nobody_has", "ModuleNotFoundError"),
        ("raise RuntimeError('no licence')", "no licence"),
        ("class Survival:\n    name = 'survival'", "AttributeError"),
        (SURVIVAL.replace('name = "survival"', 'name = "weibull"'), "calls itself 'weibull'"),
    ],
)
def test_a_broken_family_names_its_package(install, code, said):
    install("yard-survival", code)
    with pytest.raises(FamilyError) as raised:
        family_named("survival")
    assert "'yard-survival'" in raised.value.render()
    assert said in raised.value.render()


def test_a_broken_family_costs_the_others_nothing(install):
    install("yard-survival", "raise RuntimeError('no licence')")
    assert family_for("forecast").name == "forecast"
    with pytest.raises(FamilyError, match="yard-survival"):
        family_for("survival")


def test_two_packages_may_not_bring_the_same_name(install):
    install("yard-one", SURVIVAL)
    install("yard-two", SURVIVAL)
    with pytest.raises(FamilyError, match="yard-one, yard-two"):
        family_named("survival")
