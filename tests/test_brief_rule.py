"""A rule means the same on a table and on one row, and a broken one says where it breaks."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.brief.rule import Rule
from modelyard.core.errors import BriefError

NAN = float("nan")


def answers(text, **columns):
    return Rule.parse(text).evaluate(columns).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 2", [False, True, False, True]),
        ("x >= 2 and y = 'a'", [True, False, False, False]),
        ("x = 2 or y == 'b'", [True, True, False, False]),
        ("not x > 2", [True, False, True, False]),  # a comparison with nothing is false, so "not" of it is true
        ("x != 2", [False, True, False, True]),
        ("y != 'a'", [False, True, True, False]),
        ("x in [2, -3]", [True, False, False, False]),
        ("y in ['a', \"c\"]", [True, False, True, False]),
        ("y not in ['a']", [False, True, True, False]),
        ("x is missing", [False, False, True, False]),
        ("x is not missing and y is missing", [False, False, False, True]),
        ("x + 1 > 2 * 2 - 0.5", [False, True, False, True]),
        ("-x < -2", [False, True, False, True]),
        ("(x > 2 or x is missing) and not (y is missing)", [False, True, True, False]),
        ("b = true", [True, False, False, True]),
        ("not b", [False, True, True, False]),
        ("x > 2 AND NOT b", [False, True, False, False]),
        ("`größe in cm` > 1.5", [False, True, False, False]),
        ("d.time >= '2024-01-02'", [False, True, False, True]),
        ("code > 5", [False, True, False, False]),  # text compared with a number is read as one
        ("'a' = y", [True, False, False, False]),
    ],
)
def test_conditions(text, expected):
    table = {
        "x": np.array([2.0, 3.0, NAN, 4.0]),
        "y": np.array(["a", "b", "c", None], dtype=object),
        "b": np.array([True, False, None, True], dtype=object),
        "größe in cm": np.array([1, 2, 0, 1]),
        "d.time": np.array(["2024-01-01", "2024-01-02", "NaT", "2025-01-01"], dtype="datetime64[us]"),
        "code": np.array(["5", "6", "x", None], dtype=object),
    }
    assert answers(text, **table) == expected
    assert Rule.parse(text).condition
    rows = [{name: column[i] for name, column in table.items()} for i in range(4)]
    found = [Rule.parse(text).evaluate(row) for row in rows]
    assert found == expected


def test_values():
    rule = Rule.parse("a * 2 + 1 / b")
    assert not rule.condition
    assert answers(rule.text, a=np.array([1.0, 2.0, NAN]), b=np.array([1.0, 0.0, 1.0])) == pytest.approx(
        [3.0, NAN, NAN], nan_ok=True
    )
    assert rule.evaluate({"a": 1, "b": 4}) == 2.25
    assert answers("flag", flag=np.array([True, False])) == [1.0, 0.0]


def test_operators_bind_as_usual():
    one = np.array([1.0])
    assert answers("a or b and c", a=one, b=0 * one, c=0 * one) == [True]
    assert answers("not a and b", a=0 * one, b=0 * one) == [False]
    assert answers("a - 1 - 1 = 0 - 1", a=one) == [True]
    assert answers("8 / a / 2 = 4", a=one) == [True]


def test_frames_and_rows_of_a_service():
    frame = pl.DataFrame({"n": [1, None, 5], "s": ["x", None, "y"], "t": [date(2024, 1, 1), None, date(2024, 6, 1)]})
    rule = Rule.parse("n > 2 or s = 'x' or t > '2024-05-01'")
    assert rule.columns == ("n", "s", "t")
    assert rule.evaluate({c: frame[c] for c in rule.columns}).tolist() == [True, False, True]
    assert rule.evaluate({"n": None, "s": None, "t": datetime(2024, 7, 1, tzinfo=UTC)}) is True
    assert rule.evaluate({"n": 2.0, "s": "z", "t": None}) is False
    assert rule.evaluate({c: frame[c].head(0) for c in rule.columns}).tolist() == []


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("a >", 4, "it breaks off"),
        ("a > > b", 5, "must stand before '>'"),
        ("a > 1 b", 7, "'b' cannot stand here"),
        ("", 1, "it breaks off"),
        ("1 < a < 3", 7, "join two with 'and'"),
        ("a in [b]", 7, "numbers and texts in quotes only"),
        ("a in 3", 6, "'[' must stand here"),
        ("a # 2", 3, "'#' cannot stand here"),
        ("(a > 1", 7, "')' must stand here"),
        ("a is mising", 6, "'missing' must stand here"),
        ("a > 3x", 5, "'3' cannot stand here"),
        ("a = 'x", 5, "the quote is never closed"),
        ("and a", 1, "must stand before 'and'"),
        ("(" * 200 + "a" + ")" * 200, 61, "nested too deeply"),
    ],
)
def test_faults_name_their_column(text, column, says):
    with pytest.raises(BriefError) as caught:
        Rule.parse(text)
    assert f"column {column}:" in caught.value.what, caught.value.what
    assert says in caught.value.what


def test_long_rules_end_in_an_answer_or_an_error():
    assert Rule.parse("a" + " and a" * 149).evaluate({"a": 1.0}) is True
    assert Rule.parse("a" + " + a" * 149).evaluate({"a": 1.0}) == 150.0
    assert Rule.parse(f"a in [{', '.join(map(str, range(5000)))}]").evaluate({"a": 4999}) is True
    for text in ("a" + " and a" * 151, "not " * 5000 + "a", "-" * 5000 + "a"):
        with pytest.raises(BriefError, match="operations"):
            Rule.parse(text)


def test_a_rule_without_a_column_and_a_column_without_a_table():
    with pytest.raises(BriefError, match="must read a column"):
        Rule.parse("1 > 2")
    with pytest.raises(BriefError, match=r"column 'prior' that is not there[\s\S]*Did you mean 'priors'"):
        Rule.parse("prior > 1").evaluate({"priors": 2})
    with pytest.raises(BriefError, match="a column of"):
        Rule.parse("a > 1").evaluate({"a": np.array(["x", 1], dtype=object)})


NUMBERS = st.none() | st.integers(-3, 3) | st.just(NAN) | st.floats(-3, 3)
TEXTS = st.none() | st.sampled_from(["a", "b", "2", "-1", ""])
FLAGS = st.none() | st.booleans()
DATES = st.none() | st.dates(date(2024, 1, 1), date(2024, 1, 5)).map(lambda d: datetime(d.year, d.month, d.day))
COLUMNS = {"n": NUMBERS, "m": NUMBERS, "`a text`": TEXTS, "f": FLAGS, "d": DATES}
ATOMS = st.sampled_from([*COLUMNS, "1", "0.5", "'a'", "'2'", "'2024-01-02'", "true"])
SUMS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner) | st.builds("-{}".format, inner)
    ),
    max_leaves=3,
)
CONDITIONS = st.recursive(
    st.builds("{} {} {}".format, SUMS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), SUMS)
    | st.builds("{} is missing".format, SUMS)
    | st.builds("{} not in [1, 'a', -2]".format, SUMS)
    | ATOMS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=4,
)


@given(text=CONDITIONS, data=st.data(), n=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_a_table_and_its_rows_agree(text, data, n):
    try:
        rule = Rule.parse(text)
    except BriefError as error:
        assert "must read a column" in error.what  # noqa: PT017
        return
    rows = [{name.strip("`"): data.draw(values) for name, values in COLUMNS.items()} for _ in range(n)]
    table = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0]}
    found = rule.evaluate(table)
    assert found.shape == (n,)
    assert found.dtype == (np.bool_ if rule.condition else np.float64)
    alone = [rule.evaluate(row) for row in rows]
    np.testing.assert_array_equal(found, np.array(alone, dtype=found.dtype))


@given(st.text(max_size=30) | st.text("ab12<>=()+-*/[], 'notinsmg", max_size=30))
@settings(max_examples=300)
def test_any_text_is_a_rule_or_an_error(text):
    try:
        rule = Rule.parse(text)
    except BriefError as error:
        assert error.where is not None  # noqa: PT017
        return
    rule.evaluate(dict.fromkeys(rule.columns, 1.0))


@given(st.text(min_size=1, max_size=10).filter(lambda s: "`" not in s))
def test_any_name_can_stand_in_backticks(name):
    assert Rule.parse(f"`{name}` > 1").columns == (name,)
