"""One sentence says a brief, by a grammar: what it cannot say it refuses, where it leaves the grammar it says where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.brief.brief import Brief, Budget, Latency, Size, Target
from modelyard.brief.model_type import model_name, parse_model_type
from modelyard.brief.presets import under
from modelyard.brief.read import read_brief
from modelyard.brief.sentence import parse_sentence, sentence_text
from modelyard.core.errors import BriefError
from test_brief_target import targets

AUC, RECALL = Target("roc_auc", ">", 0.8), Target("recall", ">=", 0.99, "defects")
FULL = Brief(
    use_case="churn prediction",
    model="xgboost",
    target=(AUC,),
    latency=Latency(99, 100),
    framework="scikit-learn",
    infrastructure="aws sagemaker",
)


@pytest.mark.parametrize(
    ("text", "brief"),
    [
        (
            "Develop XGBoost classifier for churn prediction achieving AUC >0.80 with <100ms latency "
            "using scikit-learn on AWS SageMaker",
            FULL,
        ),
        (
            "Build an XGBoost classifier for churn prediction on AWS SageMaker, using scikit-learn, with p99 latency "
            "under 100 ms, achieving AUC >0.80.",
            FULL,
        ),
        (
            "Develop CNN for defect detection on images achieving 99% recall on defects with <50ms p99 latency using "
            "PyTorch on edge devices",
            Brief(
                use_case="defect detection on images",
                model="cnn",
                target=(RECALL,),
                latency=Latency(99, 50),
                framework="pytorch",
                infrastructure="edge devices",
            ),
        ),
        (
            "Develop recommendation system for e-commerce serving 10M daily requests achieving NDCG@10 >0.4 with p99 "
            "< 100 ms latency using TensorFlow on Kubernetes",
            Brief(
                use_case="e-commerce",
                target=(Target("ndcg@10", ">", 0.4),),
                requests_per_day=1e7,
                latency=Latency(99, 100),
                framework="tensorflow",
                infrastructure="kubernetes",
            ),
        ),
        (
            "Create a model to find fraud achieving 0.8 AUC and 99% recall on defects on kubernetes",
            Brief(use_case="find fraud", target=(Target("roc_auc", ">=", 0.8), RECALL), infrastructure="kubernetes"),
        ),
        (
            "Develop a multiclass classifier for patients with type 2 diabetes with AUC > 0.8 and <50ms p99 "
            "on my own box",
            Brief(
                use_case="patients with type 2 diabetes",
                task="multiclass",
                target=(AUC,),
                latency=Latency(99, 50),
                infrastructure="my own box",
            ),
        ),
        (
            "Train linear regression for house prices achieving rmse <= 3 deployed on our box serving 5 per second",
            Brief(
                use_case="house prices",
                task="regression",
                model="linear",
                target=(Target("rmse", "<=", 3.0),),
                infrastructure="our box",
                requests_per_day=432000.0,
            ),
        ),
        ("Develop demand forecast", Brief(use_case="demand", task="forecast")),
        ('Develop time series model for "sales, with 3 ms"', Brief(use_case="sales, with 3 ms", task="forecast")),
        (
            "Develop model for defects reaching 99% recall on defects and <50ms latency, and using x",
            Brief(use_case="defects", target=(RECALL,), latency=Latency(99, 50), framework="x"),
        ),
        (
            "Develop a classifier for churn with AUC > 0.8, under 20 MB and < 5 ms on aws, preset best",
            under(
                Brief(
                    use_case="churn",
                    target=(AUC,),
                    size=Size(20),
                    latency=Latency(99, 5),
                    infrastructure="aws",
                ),
                "best",
            ),
        ),
        (
            "Develop model for churn preset fast with a model of 500 kB on my box using x",
            Brief(
                use_case="churn",
                size=Size(0.5),
                infrastructure="my box",
                framework="x",
                presets="fast",
                budget=Budget(45),
            ),
        ),
        ("Develop model for x with the best preset on aws", under(Brief(use_case="x", infrastructure="aws"), "best")),
        ("Develop model for x with fast presets", under(Brief(use_case="x"), "fast")),
        ("Develop model for radio preset lists with preset best", under(Brief(use_case="radio preset lists"), "best")),
        ("Train model for x with size under 1 GiB", Brief(use_case="x", size=Size(2**30 / 1e6))),
        ("develop logistic regression for churn", Brief(use_case="churn", model="linear")),
        (
            "Develop model for x with 90% accuracy on y",
            Brief(use_case="x", target=(Target("accuracy", ">=", 0.9, "y"),)),
        ),
    ],
)
def test_sentences(text, brief):
    assert parse_sentence(text) == replace(brief, source="sentence")
    assert read_brief(text) == parse_sentence(text)


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("Predict churn please", None, "A brief in one sentence begins with 'Develop'."),
        ("Develop", 1, "Nothing stands after 'Develop'."),
        ("Develop for churn", 1, "Nothing stands after 'Develop'."),
        ("Develop model for", 15, "Nothing stands after 'for'."),
        ("Develop model for x achieving", 21, "Nothing stands after 'achieving'."),
        ("Develop model for x achieving AUC", 31, "'AUC' is not a target."),
        ("Develop model for x achieving acu > 0.8", 31, "No metric is called 'acu'."),
        ("Develop model for x achieving auc < 0.8", 31, "The sign of 'auc < 0.8' is turned"),
        ("Develop model for x achieving auc > 80", 31, "'auc > 80' can never be"),
        ("Develop model for x achieving auc > 0.8 with low latency", 46, "'low latency' is not a latency."),
        ("Develop model for x with low latency", 26, "'low latency' is not a latency."),
        ("Develop model for x with <100 latency", 26, "'<100 latency' is not a latency."),
        ("Develop model for x with 5 ms and 6 ms", 26, "A second latency is stated."),
        ("Develop model for x with 5 MB and 6 MB", 26, "A second size is stated."),
        ("Develop model for x with over 5 MB", 26, "'over 5 MB' asks for a large model."),
        ("Develop model for x with size 5", 26, "'size 5' is not a size."),
        ("Develop model for x using y preset bset", 36, "'preset' must be one of fast, balanced, best."),
        ("Develop model for x preset fast preset best", 33, "'preset' opens a second clause of its kind."),
        ("Develop model for x using a using b", 29, "'using' opens a second clause of its kind."),
        ('Develop model for "x', 19, "A double quote is never closed."),
        ("Develop model for x serving 0 requests per day", 29, "'0 requests per day' is not a load."),
        ("Develop " + "x " * 1500, None, "A sentence of 3,008 characters is too long."),
    ],
)
def test_faults(text, column, what):
    with pytest.raises(BriefError) as caught:
        parse_sentence(text)
    assert caught.value.what.startswith(what), caught.value.what
    if column is not None:
        assert str(caught.value.where).startswith(f"sentence, column {column}: ")


@pytest.mark.parametrize(
    ("text", "name", "task", "purpose"),
    [
        ("XGBoost classifier", "xgboost", None, ""),
        ("XGB regressor", "xgboost", "regression", ""),
        ("LightGBM binary classifier", "lightgbm", "binary", ""),
        ("churn classifier", "auto", None, "churn"),
        ("AutoETS forecaster", "autoets", "forecast", ""),
        ("logistic regression model", "linear", None, ""),
        ("linear regression model", "linear", "regression", ""),
        ("Random Forest", "random_forest", None, ""),
        ("regression model", "auto", "regression", ""),
        ('"my model" model', "my model", None, ""),
    ],
)
def test_model_types(text, name, task, purpose):
    assert parse_model_type(text) == (name, task, purpose)


def test_model_names_of_a_file():
    assert [model_name(t) for t in ("XGBoost", "xgb", "Seasonal naive", "auto")] == [
        "xgboost", "xgboost", "seasonal_naive", "auto"
    ]  # fmt: skip


PHRASES = st.text(min_size=1, max_size=20).filter(lambda s: bool(s.strip())) | st.sampled_from(
    [
        "on aws",
        "x using y",
        "preset fast",
        "my presets",
        "under 3 MB",
        "with 3 ms",
        'a "b" \\',
        "for to",
        "achieving",
        "kubernetes",
        "AUC > 1.",
    ]
)
LOWER = PHRASES.map(str.lower).filter(lambda s: s == s.lower() and bool(s.strip()))


@st.composite
def briefs(draw):
    """Any brief that a sentence can say."""
    plain = Brief(
        use_case=draw(PHRASES),
        task=draw(st.sampled_from([None, "binary", "multiclass", "regression", "forecast"])),
        model=draw(st.sampled_from(["auto", "xgboost", "linear", "model", "logistic", "my net", "demand"])),
        target=tuple(draw(st.lists(targets(), max_size=3))),
        latency=draw(st.none() | st.builds(Latency, st.integers(1, 999).map(lambda i: i / 10), st.floats(0.01, 1e5))),
        size=draw(st.none() | st.builds(Size, st.floats(1e-3, 1e6))),
        requests_per_day=draw(st.none() | st.floats(0.5, 1e12)),
        framework=draw(st.none() | LOWER),
        infrastructure=draw(st.none() | LOWER),
        source="sentence",
    )
    return under(plain, draw(st.sampled_from(["fast", "balanced", "best"])))


@given(briefs())
@example(replace(FULL, source="sentence"))
@example(under(Brief(use_case="x", target=(Target("recall", ">=", 0.5, "WITH"),), source="sentence"), "fast"))
@example(under(Brief(use_case="x", target=(Target("recall", ">=", 0.5, "WINDOWS"),), source="sentence"), "fast"))
@example(under(Brief(use_case="x", target=(Target("recall", ">=", 0.5, "A0S"),), source="sentence"), "fast"))
@example(under(Brief(use_case="x", target=(Target("recall", ">=", 0.5, "preset"),), source="sentence"), "best"))
@settings(max_examples=300, deadline=None)
def test_a_sentence_reads_back(brief):
    assert parse_sentence(sentence_text(brief)) == brief


WORDS = st.sampled_from(
    'Develop a model for to churn achieving with using on serving and , . " AUC >0.8 99% recall <50ms p99 latency '
    "aws 10M deployed running daily requests x 20 MB size preset presets fast best under".split()
)


@given(st.text(max_size=50) | st.lists(WORDS, max_size=14).map(lambda w: " ".join(["Develop", *w])))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_brief_or_an_error(text):
    try:
        brief = parse_sentence(text)
    except BriefError:
        return
    assert parse_sentence(sentence_text(brief)) == brief
