"""A brief's file is read as it was meant, and every fault names its line and what was allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Budget, DataBrief, ForecastBrief, Latency, Target, Validation
from modelyard.brief.presets import fold_count, settled, under
from modelyard.brief.read import read_brief
from modelyard.brief.size import parse_size, size_text
from modelyard.core.errors import BriefError


@pytest.fixture
def write(tmp_path):
    def write(text, name="encounters.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def fault(source) -> BriefError:
    with pytest.raises(BriefError) as caught:
        read_brief(source)
    return caught.value


WHOLE = """# yaml-language-server: $schema=brief.schema.json
use_case: readmission
task: binary
model: XGBoost
target: [AUC >0.80, 99% recall on "yes and no"]
metric: average precision
latency: <50ms p99
requests_per_day: 10M daily requests
framework: scikit-learn
infrastructure: Kubernetes
data:
  path: tables/encounters.csv
  label: no
  group: patient id
  time: 2019
  sensitive: sex
  drop: [no_show, "null"]
  keep: [on]
  weight: w
  positive: yes
  types: {zip: category}
rule: prior_visits > 2
budget: {seconds: 1e3, trials: 20}
validation: {strategy: group_time, folds: 4, test_fraction: 15%, gap: 30}
forecast: {horizon: 12, season: 7}
seed: 7
"""


def test_every_key(write):
    path = write(WHOLE)
    assert read_brief(path) == Brief(
        use_case="readmission",
        task="binary",
        model="xgboost",
        target=(Target("roc_auc", ">", 0.8), Target("recall", ">=", 0.99, "yes and no")),
        metric="average_precision",
        latency=Latency(99, 50),
        requests_per_day=1e7,
        framework="scikit-learn",
        infrastructure="kubernetes",
        data=DataBrief(
            path=str(path.parent / "tables/encounters.csv"),
            label="no",  # the word, and not YAML's false
            group="patient id",
            time="2019",
            sensitive=("sex",),
            drop=("no_show", "null"),
            keep=("on",),
            weight="w",
            positive="yes",
            types={"zip": "category"},
        ),
        rule="prior_visits > 2",
        budget=Budget(1000, 20),
        validation=Validation("group_time", 4, 0.15, 30),
        forecast=ForecastBrief(12, 7),
        seed=7,
        source=str(path),
    )
    assert read_brief(str(path)) == read_brief(path)


def test_looser_forms(write):
    path = write("data: ../t.csv\ntarget: auc > .8\nlatency:\nbudget:\n")
    brief = read_brief(path)
    assert brief.data == DataBrief(path=str(path.parent.parent / "t.csv"))
    assert (brief.target, brief.latency, brief.budget) == ((Target("roc_auc", ">", 0.8),), None, Budget())
    assert read_brief(write("data: {path: /t.csv, label: y}")).data.path == "/t.csv"
    two = read_brief(write("target: auc > .8 and recall > .9"))
    assert [t.metric for t in two.target] == ["roc_auc", "recall"]


def test_json_and_mappings_and_a_byte_order_mark(write, tmp_path, monkeypatch):
    keys = {"use_case": "x", "data": {"label": "y", "positive": 1, "sensitive": ["a", "b"]}, "seed": 3}
    path = write("\ufeff" + json.dumps(keys, indent="\t").replace("\n", "\r\n"), "brief.json")
    brief = read_brief(path)
    assert brief.data == DataBrief(label="y", positive="1", sensitive=("a", "b"))
    monkeypatch.chdir(tmp_path)
    of_python = read_brief(keys | {"data": keys["data"] | {"path": Path("t.csv")}})
    assert of_python.data.path == str(tmp_path / "t.csv")
    assert (of_python.source, of_python.seed) == ("python", 3)


def test_the_error_of_the_first_ten_minutes(write):
    path = write('use_case: x\n\n# goal\ntarget: "acu >= 0.80"\n')
    assert fault(path).render() == (
        "No metric is called 'acu'.\n"
        f'  {path}, line 4: target: "acu >= 0.80"\n'
        "  Did you mean 'roc_auc'? All metrics: modelyard help metrics"
    )


@pytest.mark.parametrize(
    ("text", "line", "what", "hint"),
    [
        ("budgit: 3", 1, "There is no key 'budgit'.", "Did you mean 'budget'?"),
        ("seed: 1\nlabel: y", 2, "There is no key 'label'.", "Did you mean 'data.label'?"),
        ("data:\n  labl: y", 2, "There is no key 'labl' in data.", "Did you mean 'label'?"),
        ("zzz: 1", 1, "There is no key 'zzz'.", None),
        ("seed: 1\nseed: 2", 2, "The key 'seed' stands twice.", None),
        ("data: {label: y}\ntask: classification", 2, "'task' must be one of binary, ", None),
        ("task: recommend", 1, "'task' must be one of binary, multiclass, regression, forecast.", None),
        ("validation: {strategy: stratifed}", 1, "'validation.strategy' must be one of", "Did you mean 'stratified'?"),
        ("data:\n  types:\n    zip: numeric", 3, "'data.types.zip' must be one of", None),
        ("data:\n  types: zip", 2, "'data.types' must be columns with types.", "Such as"),
        (
            "data:\n  monotone:\n    age: increasng",
            3,
            "'data.monotone.age' must be one of",
            "Did you mean 'increasing'?",
        ),
        ("data:\n  monotone: age", 2, "'data.monotone' must be columns with directions.", "{age: increasing}"),
        ("data:\n  drop: a\n  monotone: {a: decreasing}", 3, "'a' is both in data.drop and in data.monotone.", None),
        ("data:\n  label: a\n  monotone: {a: decreasing}", 3, "'a' is data.label, which no model reads", None),
        ("data:\n  time: a\n  monotone: {a: decreasing}", 3, "'a' is data.time, which no model reads", None),
        ("data:\n  group: a\n  keep: a", 3, "'a' is data.group, which no model reads", None),
        ("data:\n  forbidden: a", 2, "There is no key 'forbidden' in data.", "Did you mean 'data.drop'?"),
        ("required: a", 1, "There is no key 'required'.", "Did you mean 'data.keep'?"),
        ("preset: fast", 1, "There is no key 'preset'.", "Did you mean 'presets'?"),
        ("presets: bets", 1, "'presets' must be one of fast, balanced, best.", "Did you mean 'best'?"),
        ("size: small", 1, "'small' is not a size.", "A number over 0 and a unit"),
        ("size: 0 MB", 1, "'0 MB' is not a size.", None),
        ("size: '> 3 MB'", 1, "'> 3 MB' asks for a large model.", None),
        ("target:\n  - auc > .8\n  - rmse >= 3", 3, "The sign of 'rmse >= 3' is turned", None),
        ("target: {auc: 1}", 1, "'target' must be a text. Got keys with values instead.", None),
        ("latency: quick", 1, "'quick' is not a latency.", "A percentile, a number and a unit"),
        ("metric: acuracy", 1, "No metric is called 'acuracy'.", None),
        ("rule: a >", 1, "The rule cannot be read at column 4: it breaks off.", None),
        ("requests_per_day: many", 1, "'many' is not a load.", "A number of requests a day"),
        ("seed: 1.5", 1, "'seed' must be a whole number. Got '1.5' instead.", "A whole number, 0 or more."),
        ("seed: -1", 1, "'seed' is out of range: -1.", None),
        ("budget: {seconds: 0}", 1, "'budget.seconds' is out of range: 0.", "More than 0."),
        ("budget: {seconds: nan}", 1, "'budget.seconds' must be a number.", None),
        ("budget: {trials: ten}", 1, "'budget.trials' must be a whole number.", None),
        ("budget: 60", 1, "'budget' must be keys with values.", "Keys: seconds, trials"),
        ("budget: [1]", 1, "'budget' must be keys with values.", None),
        ("validation: {folds: 1}", 1, "'validation.folds' is out of range: 1.", "2 or more"),
        ("validation: {test_fraction: 1}", 1, "'validation.test_fraction' is out of range: 1.", "share up to 0.9"),
        ("forecast: {horizon: 0}", 1, "'forecast.horizon' is out of range: 0.", "1 or more"),
        ("use_case: [a]", 1, "'use_case' must be a text. Got a list instead.", None),
        ("data: [a.csv]", 1, "'data' must be keys with values.", "Keys: path, label"),
        ("data: {label: y, drop: y}", 1, "'y' is data.label and cannot be dropped.", None),
        ("data: {label: y, group: y}", 1, "'y' cannot be both data.label and data.group.", None),
        ("data:\n  drop: a\n  keep: [b, a]", 3, "'a' is both in data.drop and in data.keep.", None),
        ("data: {drop: [[a]]}", 1, "'data.drop' must be a text. Got a list instead.", None),
        ("a: &x 1\nb: *x", 2, "A brief has no anchors and aliases.", None),
        ("use_case: !!python/name:os.system x", 1, "A brief has no tags such as", None),
        ("? [a]\n: b", 1, "A key must be a word.", None),
        ("data: {label: y", 1, "The brief is not YAML: expected", None),
        ("seed: 1\n\tx: 2", 2, "The brief is not YAML: found character '\\t'", None),
        ("a: 1\n---\nb: 2", 2, "The brief is not YAML: but found another document.", None),
        ("- auc > .8", None, "A brief must be keys with values.", "Keys: use_case"),
        ("just words", None, "A brief must be keys with values.", None),
        ("", None, "The brief is empty.", None),
        ("# nothing\n", None, "The brief is empty.", None),
        ("[" * 2000, None, "The brief is ", None),
        ("a: \x01", None, "The brief is not YAML: ", None),
        (b"\xff\xfe\x00", None, "The brief is not text in UTF-8.", None),
        (b"x" * 1_000_001, None, "The file is too large to be a brief.", None),
    ],
)
def test_faults(write, text, line, what, hint):
    path = write(text)
    found = fault(path)
    assert found.what.startswith(what), found.what
    assert (found.where or "").startswith(f"{path}, line {line}: " if line else str(path)), found.where
    if hint:
        assert hint in (found.allowed or ""), found.allowed


def test_what_is_not_there(tmp_path):
    assert "There is no brief" in fault(tmp_path / "none.yaml").what
    assert "modelyard init" in str(fault(str(tmp_path / "none.yml")).do)
    assert "is a folder" in fault(tmp_path).what
    assert fault("brief.ymal").what == "There is no brief 'brief.ymal'."
    assert fault("").what == "The brief is empty."
    assert fault("a\0b.yaml").what.startswith("The brief")
    assert "nested too deeply" in fault({"data": {"types": {"a": {"b": {"c": {"d": {"e": 1}}}}}}}).what
    assert "cannot be a set" in fault({"data": {"drop": {"a"}}}).what


WORDS = st.sampled_from(
    [
        *"{}[]:,-#&*!|>'\"%@`?\n\t ",
        "data",
        "target",
        "label",
        "auc >= 0.8",
        "99% recall",
        "seed",
        "1",
        "budget",
        "\n  ",
        ": ",
    ]
)


@given(text=st.text(max_size=60) | st.lists(WORDS, max_size=25).map("".join))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_brief_or_an_error(tmp_path, text):
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        read_brief(path)
    except BriefError as error:
        assert str(path) in error.render()  # noqa: PT017


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("auc > .8")
KEYS = st.sampled_from(
    ["data", "target", "budget", "seed", "label", "seconds", "types", "validation", "folds", "rule", "x"]
)


@given(st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=4), max_leaves=8))
@settings(max_examples=300)
def test_any_mapping_is_a_brief_or_an_error(value):
    try:
        read_brief(value if isinstance(value, dict) else {"data": value})
    except BriefError:
        return


@pytest.mark.parametrize(
    ("given", "over", "seconds", "folds"),
    [
        ({}, None, 120, 4),
        ({"presets": "balanced"}, None, 120, 4),
        ({"presets": "fast"}, None, 45, 3),
        ({"presets": "best"}, None, 1800, 8),
        ({"presets": "fast"}, "best", 1800, 8),
        ({"presets": "fast", "budget": {"seconds": 120}}, None, 120, 3),
        ({"validation": {"folds": 5}}, "fast", 45, 5),
    ],
)
def test_a_preset_settles_what_the_brief_leaves_open(given, over, seconds, folds):
    brief = read_brief(given, presets=over)
    assert brief.presets == (over or given.get("presets", "balanced"))
    assert (brief.budget, fold_count(brief)) == (Budget(seconds), folds)
    words = settled(brief)
    small = fold_count(brief, 4_999)
    assert small == {3: 4, 4: 8, 5: 5, 8: 8}[folds]
    said = f"{folds} folds" + (f" ({small} under 5,000 rows)" if small != folds else "")
    assert (said in words) is ("validation" not in given)
    assert ("no networks" in words) is (brief.presets == "fast")


def test_windows_are_meant_where_the_split_goes_forward_and_folds_where_it_does_not():
    timed = {"data": {"label": "y", "time": "day"}}
    assert fold_count(read_brief(timed)) == 5
    assert "5 windows" in settled(read_brief(timed))
    for strategy, count in (("time", 5), ("random", 4)):
        assert fold_count(read_brief({**timed, "validation": {"strategy": strategy}})) == count
    assert fold_count(read_brief({**timed, "validation": {"folds": 3}})) == 3


def test_presets_go_over_a_sentence_too_and_are_named_right():
    said = read_brief("Develop model for x preset fast", presets="best")
    assert (said.presets, said.budget.seconds, said.use_case) == ("best", 1800, "x")
    with pytest.raises(BriefError, match="Did you mean 'best'"):
        read_brief({}, presets="bets")


def test_a_balanced_brief_is_a_brief_without_the_word():
    assert under(Brief(), "balanced") == Brief()


@pytest.mark.parametrize(
    ("text", "megabytes"),
    [
        ("20 MB", 20),
        ("< 20MB", 20),
        ("under 500 kB", 0.5),
        ("a model of 1.5 GB", 1500),
        ("size at most 2 MiB", 2.097152),
        ("1,000 bytes", 0.001),
        ("bundle under 3 megabytes", 3),
    ],
)
def test_sizes(text, megabytes):
    found = parse_size(text)
    assert found.megabytes == pytest.approx(megabytes)
    assert found.bytes == pytest.approx(megabytes * 1e6)
    assert parse_size(size_text(found)) == found


@given(st.text(max_size=30) | st.sampled_from(["20 Mb s", "MB 20", "9 9 MB", "size", "1e400 MB", "-1 MB"]))
def test_any_text_is_a_size_or_an_error(text):
    try:
        found = parse_size(text)
    except BriefError:
        return
    assert parse_size(size_text(found)) == found
