"""Dates in the graph: from moments to their parts, to the last bit those the models were trained on.

The Gregorian calendar repeats itself every 400 years, which are 146,097 days and whole weeks. A moment is divided into
the cycles before it and the rest; the rest's day looks up year, month, day and weekday in a table of the cycle's days.
Nodes without an input compute the table from the 4,800 firsts of months; ONNX Runtime folds them into a constant when
it loads the graph, whose file is larger by 20 kilobytes and not by millions. All parts of all dates share every node.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelyard.core.optional import need
from modelyard.encoding.encoding import NO_MOMENT, Encoding, NumberInput, Part
from modelyard.families.tabular.draft import Draft

_HOUR = 3_600_000_000
DAY = 24 * _HOUR
"""Microseconds."""
_DAYS = 146_097
"""Days of a cycle; the first is that of 1970-01-01."""
_CYCLE = _DAYS * DAY
_PARTS: dict[Part, tuple[int, int, float]] = {
    "days": (1, 1, DAY),
    "year": (_CYCLE, DAY, _CYCLE / 400),
    "month": (_CYCLE, DAY, np.inf),
    "day": (_CYCLE, DAY, np.inf),
    "weekday": (_CYCLE, DAY, np.inf),
    "hour": (DAY, _HOUR, np.inf),
}
"""For each part, in microseconds: what the rest is of, the unit of the rest that is a row of the table, and the unit of
what comes before the rest. Nothing before the rest counts where that is infinite."""


def add_dates(draft: Draft, encoding: Encoding) -> str:
    """Add the parts of dates to the numbers given; return the name of the whole matrix of numbers, [n, p].

    Parameters
    ----------
    draft : Draft
        A graph with the inputs ``moments`` (int64 [n, d]) and, where there are other numbers, ``numbers``.
    encoding : Encoding
        With at least one date.
    """
    kinds = need("onnx", "train", "The ONNX export").TensorProto
    wanted = {n.part for n in encoding.numbers}
    parts = [part for part in _PARTS if part in wanted]
    rest_of, row_of, unit = zip(*(_PARTS[part] for part in parts), strict=True)
    moments, several = "moments", len(encoding.dates) > 1
    if several:
        moments = draft.add("Reshape", [moments, _whole(draft, "one_a_row", [-1, 1])], "moments_one_a_row")
    # A remainder has the sign of its divisor, so that what comes before the rest is rounded down before 1970 too.
    draft.add("Mod", [moments, _whole(draft, "rest_of", rest_of)], "rest")
    draft.add("Div", ["rest", _whole(draft, "row_of", row_of)], "calendar_row")
    draft.add("GatherElements", [_calendar(draft, parts), "calendar_row"], "in_cycle", axis=0)
    # A missing moment overflows here, and is made NaN below.
    draft.add("Sub", [moments, "rest"], "before_rest")
    draft.add("Cast", ["before_rest"], "before_exact", to=kinds.DOUBLE)
    draft.add("Div", ["before_exact", draft.constant("before_unit", np.array(unit, dtype=np.float64))], "before_double")
    draft.add("Cast", ["before_double"], "before", to=kinds.FLOAT)
    gap = {"keys_int64s": [NO_MOMENT], "values_floats": [float("nan")], "default_float": 0.0}
    draft.add("LabelEncoder", [moments], "no_moment", domain="ai.onnx.ml", **gap)
    draft.add("Sum", ["in_cycle", "before", "no_moment"], "parts")
    if several:
        draft.add(
            "Reshape", ["parts", _whole(draft, "one_row", [-1, len(encoding.dates) * len(parts)])], "parts_of_row"
        )
    made = ["parts_of_row" if several else "parts"]
    spans = [number for number in encoding.numbers if number.part == "since"]
    if spans:
        made.append(_add_spans(draft, encoding, spans, moments))
    if encoding.given:
        made = ["numbers", *made]
    if len(made) > 1:
        made = [draft.add("Concat", made, "numbers_and_parts", axis=1)]
    held = [*encoding.given, *(NumberInput(date, part) for date in encoding.dates for part in parts), *spans]
    order = [held.index(number) for number in encoding.numbers]
    if order == list(range(len(held))):
        return made[0]
    return draft.add("Gather", [*made, _whole(draft, "order_of_numbers", order)], "all_numbers", axis=1)


def _add_spans(draft: Draft, encoding: Encoding, spans: Sequence[NumberInput], moments: str) -> str:
    """Add the days between two dates of a row, [n, spans]; NaN where one is missing."""
    kinds = need("onnx", "train", "The ONNX export").TensorProto
    draft.add("Cast", [moments], "moments_exact", to=kinds.DOUBLE)
    draft.add("Cast", ["no_moment"], "no_moment_exact", to=kinds.DOUBLE)
    draft.add("Add", ["moments_exact", "no_moment_exact"], "known_moments")
    draft.add("Reshape", ["known_moments", _whole(draft, "dates_of_row", [-1, len(encoding.dates)])], "moments_of_row")
    ends = []
    for end, names in (("to", [s.column for s in spans]), ("from", [s.other for s in spans])):
        places = _whole(draft, f"span_{end}_of", [encoding.dates.index(name) for name in names])
        ends.append(draft.add("Gather", ["moments_of_row", places], f"span_{end}", axis=1))
    draft.add("Sub", ends, "span_micros")
    draft.add("Div", ["span_micros", draft.constant("micros_of_a_day", np.array(DAY, dtype=np.float64))], "span_exact")
    return draft.add("Cast", ["span_exact"], "spans", to=kinds.FLOAT)


def _calendar(draft: Draft, parts: list[Part]) -> str:
    """Add the table [days of a cycle, parts] of what each day, or for the hour each hour, adds to a part."""
    kinds = need("onnx", "train", "The ONNX export").TensorProto
    months = np.arange("1970-01", "2370-01", dtype="datetime64[M]").astype("datetime64[D]")
    firsts = draft.constant("firsts_of_months", months.astype(np.int32))
    ends = [
        draft.constant(f"{end}_day", np.array(v, np.int32)) for end, v in (("first", 0), ("no", _DAYS), ("next", 1))
    ]
    days = draft.add("Range", ends, "day_of_cycle")
    nothing = draft.add("Sub", [days, days], "nothing_by_day")
    # One at each first of a month but the very first, summed up: the number of the month.
    marks = draft.add("ScatterElements", [nothing, firsts, draft.add("Sign", [firsts], "one_a_month")], "marks", axis=0)
    month = draft.add("CumSum", [marks, draft.constant("days_axis", np.array(0, np.int32))], "month_of_cycle")
    twelve, seven = (draft.constant(f"of_{v}", np.array(v, np.int32)) for v in (12, 7))
    from_monday = draft.add("Add", [days, draft.constant("thursday", np.array(3, np.int32))], "day_from_monday")
    columns = {
        "days": nothing,
        "month": draft.add("Mod", [month, twelve], "month_of_year"),
        "day": draft.add("Sub", [days, draft.add("Gather", [firsts, month], "first_of_month")], "day_of_month"),
        "weekday": draft.add("Mod", [from_monday, seven], "day_of_week"),
        "hour": days,
    }
    if "year" in parts:
        columns["year"] = draft.add("Div", [month, twelve], "year_of_cycle")
    axis = _whole(draft, "part_axis", [1])
    counted = draft.add(
        "Concat", [draft.add("Unsqueeze", [columns[part], axis], f"{part}_by_day") for part in parts], "counted", axis=1
    )
    first = {"year": 1970, "month": 1, "day": 1, "weekday": 1}
    start = draft.constant("first_of_parts", np.array([first.get(part, 0) for part in parts], dtype=np.int32))
    return draft.add("Cast", [draft.add("Add", [counted, start], "parts_by_day")], "calendar", to=kinds.FLOAT)


def _whole(draft: Draft, name: str, values: Sequence[int]) -> str:
    return draft.constant(name, np.array(values, dtype=np.int64))
