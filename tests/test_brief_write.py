"""A brief that is written is read back the same, and the shipped JSON Schema knows what the reader knows."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Budget, DataBrief, ForecastBrief, Latency, LogBrief, Size, Target, Validation
from modelyard.brief.json_schema import brief_json_schema
from modelyard.brief.keys import KEYS, SECTIONS, keys_of
from modelyard.brief.read import read_brief
from modelyard.brief.write import SCHEMA, brief_text
from test_brief_target import targets

TEXTS = st.text(min_size=1, max_size=15).filter(str.strip) | st.sampled_from(
    [
        "no",
        "null",
        "~",
        "2019",
        " Age",
        "a: b",
        "# x",
        "[a]",
        "-",
        "2024-01-01",
        "é'\"\\",
        "a\nb",
        "x, y",
        "1:30",
        "a\u2028b",
        "yes",
    ]
)
LOWER = TEXTS.map(str.lower).filter(lambda s: s == s.lower() and bool(s.strip()))
RULES = st.sampled_from(["prior_visits > 2", "`a b` in ['x', 'y'] or not c", "x * 2 # 1".replace("# 1", "+ 1")])


@st.composite
def briefs(draw):
    """Any brief a file can say."""
    names = draw(st.lists(TEXTS, unique=True, min_size=6, max_size=10))
    label, group, time, weight, *rest = names
    dropped = draw(st.integers(0, len(rest)))

    def maybe(name):
        return draw(st.sampled_from([None, name]))

    data = DataBrief(
        path=draw(st.sampled_from([None, "/data/t.csv", "/a b/#1: x.parquet"])),
        label=maybe(label),
        group=maybe(group),
        time=maybe(time),
        sensitive=tuple(draw(st.lists(st.sampled_from(names), unique=True))),
        drop=tuple(rest[:dropped]),
        keep=tuple(rest[dropped:]),
        weight=maybe(weight),
        positive=draw(st.none() | TEXTS),
        class_weights=draw(st.just("balanced") | st.dictionaries(TEXTS, st.floats(1e-6, 1e6), max_size=2)),
        types=draw(st.dictionaries(TEXTS, st.sampled_from(["number", "category", "id"]), max_size=2)),
        monotone={name: draw(st.sampled_from(["increasing", "decreasing"])) for name in rest[dropped:]},
    )
    return Brief(
        use_case=draw(TEXTS),
        task=draw(st.sampled_from([None, "binary", "forecast"])),
        model=draw(st.sampled_from(["auto", "xgboost", "my_net"])),
        target=tuple(draw(st.lists(targets(), max_size=3))),
        metric=draw(st.sampled_from([None, "roc_auc", "rmse"])),
        latency=draw(st.none() | st.builds(Latency, st.integers(1, 999).map(lambda i: i / 10), st.floats(0.01, 1e5))),
        size=draw(st.none() | st.builds(Size, st.floats(1e-3, 1e6))),
        presets=draw(st.sampled_from(["fast", "balanced", "best"])),
        requests_per_day=draw(st.none() | st.floats(0.5, 1e12)),
        framework=draw(st.none() | LOWER),
        infrastructure=draw(st.none() | LOWER),
        data=data,
        rule=draw(st.none() | RULES),
        budget=Budget(
            draw(st.sampled_from([45.0, 120.0]) | st.floats(0.1, 1e6)), draw(st.none() | st.integers(0, 1000))
        ),
        validation=Validation(
            draw(st.sampled_from(["auto", "group"])),
            draw(st.integers(2, 20)),
            draw(st.none() | st.floats(0, 0.9)),
            draw(st.floats(0, 1e4)),
        ),
        forecast=ForecastBrief(draw(st.none() | st.integers(1, 500)), draw(st.none() | st.integers(1, 500))),
        seed=draw(st.integers(0, 2**63)),
    )


@given(brief=briefs(), comment=st.text(max_size=20))
@example(brief=Brief(), comment="")
@example(brief=Brief(target=(Target("recall", ">=", 0.99, "a, b] # c"),)), comment="a\nseed: 3\x00")
@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_a_file_reads_back(tmp_path, brief, comment):
    path = tmp_path / "brief.yaml"
    text = brief_text(brief, dict.fromkeys(KEYS, comment))
    path.write_text(text, encoding="utf-8")
    assert replace(read_brief(path), source="python") == brief
    # Other readers of YAML agree on what is text and what is not.
    jsonschema.validate(yaml.safe_load(text), brief_json_schema())
    assert text.count("\n") == len(KEYS) + len(SECTIONS) + 1


def test_what_a_person_reads():
    brief = Brief(use_case="encounters", data=DataBrief(path="encounters.csv", label="readmitted", group="patient_id"))
    lines = brief_text(brief, {"data.group": "patient_id repeats (71,518 rows, 50,310 patients)"}).splitlines()
    assert lines[0] == f"# yaml-language-server: $schema={SCHEMA.as_posix()}"
    assert "use_case: encounters" in lines[1]
    assert any(line.split("  #")[0].rstrip() == "  label: readmitted" for line in lines)
    assert any(line.endswith("# patient_id repeats (71,518 rows, 50,310 patients)") for line in lines)
    assert any(line.startswith("# target: roc_auc >= 0.80") for line in lines)
    assert any(line.startswith("  # drop: ") for line in lines)  # one step from a live key
    assert any(line.startswith("# budget:") for line in lines)


def test_what_is_commented_out_works_when_uncommented(tmp_path):
    text = brief_text(Brief(), {})
    live = "\n".join(line.removeprefix("# ") for line in text.splitlines()[1:])
    path = tmp_path / "brief.yaml"
    path.write_text(live)
    brief = read_brief(path)
    assert (brief.target[0].metric, brief.forecast.horizon, brief.data.positive) == ("roc_auc", 12, "yes")
    jsonschema.validate(yaml.safe_load(live), brief_json_schema())


def test_every_field_of_the_types_has_a_key():
    sections = {
        "data": DataBrief,
        "budget": Budget,
        "validation": Validation,
        "forecast": ForecastBrief,
        "log": LogBrief,
    }
    assert set(keys_of()) == {f.name for f in fields(Brief)} - {"source"}
    assert set(SECTIONS) == set(sections)
    for name, kind in sections.items():
        assert set(keys_of(name)) == {f.name for f in fields(kind)}


def test_the_shipped_schema_is_current():
    assert json.loads(SCHEMA.read_text()) == brief_json_schema(), "run: python -m modelyard.brief.json_schema"
    jsonschema.Draft202012Validator.check_schema(brief_json_schema())


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("target: auc >= 0.8", True),
        ("target: [auc >= 0.8, 99% recall]", True),
        ("data: t.csv", True),
        ("data: {label: 2019, sensitive: sex, drop: [a, 1]}", True),
        ("validation: {test_fraction: 15%}\nlatency:\nbudget:", True),
        ("budgit: 1", False),
        ("data: {labl: y}", False),
        ("task: classification", False),
        ("target: {auc: 0.8}", False),
        ("validation: {folds: 1}", False),
        ("seed: 1.5", False),
        ("budget: {seconds: 0}", False),
    ],
)
def test_the_schema_and_the_reader_agree(tmp_path, text, good):
    path = tmp_path / "brief.yaml"
    path.write_text(text)
    validator = jsonschema.Draft202012Validator(brief_json_schema())
    assert validator.is_valid(yaml.safe_load(text)) is good
    if good:
        read_brief(path)
