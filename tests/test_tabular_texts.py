"""Text columns: words, pairs, weights and figures are the same in training and in the graph, and no label leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelyard.bundle.contributions import contributions
from modelyard.bundle.parity import UNSEEN
from modelyard.bundle.runtimes.onnx import CHUNK_OF_TEXTS, OnnxRuntime
from modelyard.encoding.encoding import MOST_CHARACTERS, Encoding
from modelyard.families.checks import Case, check_no_peeking
from modelyard.families.fitted import Fitted
from modelyard.families.tabular import text_tables
from modelyard.families.tabular.draft import Draft
from modelyard.families.tabular.layout import TextColumn
from modelyard.families.tabular.tables import blocks
from modelyard.families.tabular.tabular import Tabular
from modelyard.families.tabular.text_graph import TOKENS, add_texts
from modelyard.families.tabular.text_tables import DIRECTIONS, TextTable, fit_text, targets
from modelyard.families.tabular.texts import Vocabulary, find_vocabulary, read_texts
from tabular_cases import (
    LIBRARIES,
    TASKS,
    blend,
    brief,
    candidate,
    frame,
    inputs_of,
    parts,
    raw,
    rows_of,
    run_graph,
    session,
    with_phrases,
    with_texts,
    write,
)

TEXTS = np.array(
    [
        "",
        "!!! ...",
        "Straße STRASSE straße",
        "don't DON'T",
        "the Dress, the dress",
        "x" * 300,
        "東京 は 好き",
        "ok 😀😀",
    ],
    dtype=object,
)
TEXTS = np.append(TEXTS, ["it is the best dress", "It is NOT the best", "ΣΑΣ σας", "İstanbul istanbul", "a\x00b c"])
ALL = np.tile(TEXTS, 6)
WORDS = find_vocabulary(ALL)


def made(vocabulary: Vocabulary, seed: int) -> TextTable:
    """Return any weights of 20 bits; what fills up a text and a word nobody knows weigh nothing."""
    rng = np.random.default_rng(seed)
    weights, squares = rng.normal(size=(vocabulary.rows, 3)), rng.uniform(1, 9, vocabulary.rows)
    weights[:2], squares[:2] = 0, 0
    return TextTable(*((np.round(part * 2**18) / 2**18).astype(np.float32) for part in (weights, squares)))


TABLES = [made(WORDS, seed) for seed in range(2)]


def graph(vocabulary: Vocabulary, tables: list[TextTable]) -> ort.InferenceSession:
    column = TextColumn(vocabulary)
    for table in tables:
        for number in range(table.weights.shape[1]):
            column.place(table, number)
    draft = Draft(onnx.helper)
    (name,) = add_texts(draft, [column])
    value, kinds = onnx.helper.make_tensor_value_info, onnx.TensorProto
    made = onnx.helper.make_graph(
        draft.nodes,
        "texts",
        [value("texts", kinds.STRING, ["rows", 1])],
        [value(name, kinds.FLOAT, ["rows", column.width])],
        draft.constants,
    )
    domains = {"": 17, "ai.onnx.ml": 3, TOKENS: 1}
    opsets = [onnx.helper.make_opsetid(domain, number) for domain, number in domains.items()]
    model = onnx.helper.make_model(made, opset_imports=opsets, ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def figures(vocabulary: Vocabulary, tables: list[TextTable], texts: np.ndarray) -> np.ndarray:
    rows = read_texts(texts, vocabulary)
    return np.concatenate([rows.length[:, None], *(table.figures(rows) for table in tables)], axis=1)


RUNNING = graph(WORDS, TABLES)
PIECES = st.one_of(st.sampled_from([w for text in TEXTS for w in text.split()]), st.text(max_size=8))
SPOKEN = st.lists(PIECES, max_size=12).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SPOKEN, st.text(max_size=40)), min_size=1, max_size=6))
@example([""])
@example(["?!", ""])
@example(["best " * 1_000])
def test_the_graph_reads_texts_to_the_last_bit_as_training_did(texts: list[str]) -> None:
    given_ = np.array(texts, dtype=object)
    (found,) = RUNNING.run(None, {"texts": given_[:, None]})
    np.testing.assert_array_equal(found, figures(WORDS, TABLES, given_))


def test_words_have_three_ways_of_writing_and_scripts_without_spaces_are_read_sign_by_sign() -> None:
    rows = read_texts(np.array(["the The THE tHe", "東京 東", "it's 4XL"], dtype=object), WORDS)
    the = 2 + WORDS.words.index("the")
    assert rows.counts[0, the] == 3  # the fourth is written as no one wrote it
    assert rows.counts[1, 2 + WORDS.words.index("東")] == 2
    assert rows.length.tolist() == [4, 3, 3]


def test_a_vocabulary_of_nothing_still_counts_words() -> None:
    texts = np.array(["only once", "", "never twice seen"], dtype=object)
    nothing = find_vocabulary(texts)
    assert nothing.words == nothing.pairs == ()
    table = TextTable(np.zeros((2, 1), np.float32), np.zeros(2, np.float32))
    (found,) = graph(nothing, [table]).run(None, {"texts": texts[:, None]})
    np.testing.assert_array_equal(found, [[2, 0], [np.nan, np.nan], [3, 0]])


def noted(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    table = with_texts(frame("binary", rows))
    return table["note"].fill_null("").to_numpy().astype(object), (table["label"] == "yes").to_numpy().astype(np.int64)


def test_no_text_is_scored_by_its_own_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "STEPS", 3)  # how many of them are kept is chosen by all rows together
    monkeypatch.setattr(np, "argmin", lambda losses: 2)
    texts, truth = noted()
    rows = read_texts(texts, find_vocabulary(texts))
    block = blocks(len(truth), 0, None)
    turned = np.where(block == 4, 1 - truth, truth)
    (_, one), (_, other) = (fit_text(rows, targets(y, 2), np.ones(len(y)), block) for y in (truth, turned))
    np.testing.assert_array_equal(one[block == 4], other[block == 4])
    np.testing.assert_array_equal(np.isnan(one[:, 0]), rows.gone)
    assert (one[~rows.gone & (block < 4), 0] != other[~rows.gone & (block < 4), 0]).any()


def test_scores_of_noise_tell_nothing_of_the_label_they_were_taught_by() -> None:
    rng = np.random.default_rng(3)
    texts = np.array([" ".join(rng.choice([f"w{i}" for i in range(300)], 30)) for _ in range(400)], dtype=object)
    truth = rng.integers(0, 2, len(texts))
    rows = read_texts(texts, find_vocabulary(texts))
    table, told = fit_text(rows, targets(truth, 2), np.ones(len(truth)), blocks(len(truth), 0, None))
    assert abs(np.corrcoef(told[:, 0], truth)[0, 1]) < 0.15
    assert np.corrcoef(table.figures(rows)[:, 0], truth)[0, 1] > 0.3  # what a score of one's own label would have said
    assert told.shape[1] == 1 + DIRECTIONS


@pytest.mark.parametrize("algorithm", ["lightgbm", "linear"])
@pytest.mark.parametrize("task", TASKS)
def test_no_text_is_weighed_by_the_labels_it_is_scored_on(task, algorithm):
    split = parts(task, with_texts(frame(task)))
    given = candidate(algorithm)
    fitted = Tabular().fit(given, split.blind(), 1)
    check_no_peeking(Case(Tabular(), brief(task), split, given, fitted, lambda *_: np.zeros(0), 0.0))


@pytest.mark.parametrize("task", TASKS)
def test_the_graph_answers_as_the_models_do(task: str) -> None:
    split = parts(task, with_texts(frame(task)))
    members = [Tabular().fit(candidate(library), split, 0) for library in LIBRARIES]
    mixed = blend(task, members)
    exported = Tabular().export(mixed, split.development)
    test = split.test
    assert test is not None
    odd = test.frame.with_columns(
        note=pl.Series([None, "", "!", UNSEEN, "not bad " * 2_000, *test.frame["note"].to_list()[5:]], dtype=pl.String)
    )
    for rows in (test, split.development, type(test)(odd, test.schema, "")):
        expected = mixed.answer(raw(mixed, rows))
        np.testing.assert_allclose(run_graph(session(exported), rows), expected, atol=1e-5 * max(1, np.std(expected)))


def test_texts_help_where_they_say_something() -> None:
    table = with_texts(frame("binary", 500))
    losses = {}
    for name, given_ in (("with", table), ("without", table.drop("note", "title"))):
        split = parts("binary", given_)
        fitted = Tabular().fit(candidate("lightgbm"), split, 0)
        losses[name] = log_loss(fitted, split.development.truth())
    assert losses["with"] < 0.9 * losses["without"]


def log_loss(fitted: Fitted, truth: np.ndarray) -> float:
    score = fitted.scores[:, 0]
    told = ~np.isnan(score)
    return float(np.mean(np.logaddexp(0, -np.where(truth[told] == 1, score[told], -score[told]))))


def test_a_table_of_one_text_column_is_enough() -> None:
    table = with_texts(frame("multiclass", 300)).select("note", "label")
    split = parts("multiclass", table)
    mixed = blend("multiclass", [Tabular().fit(candidate(library), split, 0) for library in ("linear", "lightgbm")])
    answered = run_graph(session(Tabular().export(mixed, split.development)), split.development)
    np.testing.assert_allclose(answered, mixed.answer(raw(mixed, split.development)), atol=1e-5)
    assert answered.std(axis=0).min() > 0.01


def test_explanations_give_texts_their_part(tmp_path: pytest.TempPathFactory) -> None:
    split = parts("binary", with_texts(frame("binary")))
    mixed = blend("binary", [Tabular().fit(candidate(library), split, 0) for library in ("linear", "lightgbm")])
    exported = Tabular().export(mixed, split.development)
    base, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(split.development))
    np.testing.assert_allclose((base + moved.sum(axis=2))[:, 0], raw(mixed, split.development)[:, 0], atol=1e-4)
    share = np.abs(moved[:, 0]).mean(axis=0)
    assert share[exported.facts["columns"].index("note")] > share[exported.facts["columns"].index("title")]


PHRASES = [f"{paint}l on {ground}k" for paint in "abcdefghij" for ground in "klmnopqrstuv"]


@pytest.mark.parametrize(
    ("levels", "rows", "read"),
    [
        (PHRASES, 4, True),
        (PHRASES[:90], 4, False),  # few levels
        (PHRASES, 20, False),  # many rows of each: its own mean says more
        ([level.replace(" ", "_on_") for level in PHRASES], 4, True),  # words as texts have them
        ([f"word{i} name{i} sign{i}" for i in range(120)], 4, False),  # no word is shared
        ([f"word{i % 7}" * (1 + i) for i in range(120)], 4, False),  # one word each
        ([f"{a}{b}a co" for a in "klmnopqrstuv" for b in "aeiouyäöü"], 4, False),  # and one that all share
        ([f"{i % 6}:{i}:1" for i in range(120)], 4, False),
    ],
)
def test_categories_are_read_as_texts_too_where_many_levels_are_made_of_shared_words(
    levels: list[str], rows: int, read: bool
) -> None:
    table = pl.DataFrame({"medium": levels * rows, "label": [float(i % 9) for i in range(rows * len(levels))]})
    schema = parts("regression", table).development.schema
    found = Encoding.of(schema)
    assert next(column for column in schema.features if column.name == "medium").kind == "category"
    assert (found.strings, found.texts) == (("medium",), ("medium",) if read else ())
    assert found.phrases == found.texts


@pytest.mark.parametrize("task", TASKS)
def test_words_of_a_category_are_read_by_the_graph_and_explained_as_the_models_do(task: str, tmp_path: Path) -> None:
    split = parts(task, with_phrases(frame(task, 500)))
    assert Encoding.of(split.development.schema).phrases == ("medium",)
    mixed = blend(task, [Tabular().fit(candidate(library), split, 0) for library in LIBRARIES])
    exported = Tabular().export(mixed, split.development)
    test = split.test
    assert test is not None
    strange = [None, "", "!", UNSEEN, "oil on skin", *test.frame["medium"].to_list()[5:]]
    odd = test.frame.with_columns(medium=pl.Series(strange, dtype=pl.String))
    for rows in (test, split.development, type(test)(odd, test.schema, "")):
        expected = mixed.answer(raw(mixed, rows))
        np.testing.assert_allclose(run_graph(session(exported), rows), expected, atol=1e-5 * max(1, np.std(expected)))
    schema = split.development.schema
    runtime = OnnxRuntime(exported.files["model.onnx"], Encoding.of(schema, moments=True), max(1, len(schema.classes)))
    plain = test.frame.drop("label").rows(named=True)
    np.testing.assert_array_equal(runtime.rows(plain), runtime.frame(test.frame))
    base, moved = contributions(write(exported, tmp_path), exported.facts, inputs_of(test))
    whole = np.asarray(raw(mixed, test)).reshape(len(test), -1)
    np.testing.assert_allclose(base + moved.sum(axis=2), whole, atol=1e-3 * max(1, np.std(whole)))


def test_words_tell_of_levels_nobody_has_seen() -> None:
    table = with_phrases(frame("binary", 800)).drop_nulls("medium")
    later = pl.col("medium").str.contains("silk, signed|slate, dated|wood, framed|paper, mounted")
    split = parts("binary", table.filter(~later))
    unseen = table.filter(later)
    rows = rows_of(split.development, unseen.drop("label").to_dict(as_series=False))
    answer = Tabular().predict(Tabular().fit(candidate("lightgbm"), split, 0), rows)[:, 0]
    paint = unseen["medium"].str.split(" ").list.first()
    good, bad = (answer[paint.is_in(names).to_numpy()] for names in (["oil", "ink"], ["wax", "gouache", "pencil"]))
    assert good.mean() > bad.mean() + 1.0


def test_the_runtime_answers_any_number_of_rows_and_reads_no_further_than_it_says() -> None:
    split = parts("binary", with_texts(frame("binary")))
    exported = Tabular().export(blend("binary", [Tabular().fit(candidate("linear"), split, 0)]), split.development)
    schema = split.development.schema
    runtime = OnnxRuntime(exported.files["model.onnx"], Encoding.of(schema, moments=True), 2)
    row = {**split.development.frame.drop("label").row(0, named=True), "note": "good " * MOST_CHARACTERS}
    assert runtime.frame(split.development.frame.head(0)).shape == (0, 2)
    many = runtime.rows([row] * (2 * CHUNK_OF_TEXTS + 1))
    assert many.shape == (2 * CHUNK_OF_TEXTS + 1, 2)
    cut = runtime.rows([{**row, "note": row["note"][:MOST_CHARACTERS]}])
    np.testing.assert_array_equal(many, np.repeat(cut, len(many), axis=0))
    framed = runtime.frame(split.development.frame)
    plain = split.development.frame.drop("label").rows(named=True)
    np.testing.assert_array_equal(runtime.rows(plain), framed)
