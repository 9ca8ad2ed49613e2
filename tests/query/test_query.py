"""Queries: what they keep, against pandas' own filtering; how they are written again; and what is said of wrong ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctbench_core.query import (
    Condition,
    Expression,
    Field,
    Fields,
    Joined,
    QueryError,
    Word,
    choice,
    describe,
    matches,
    parse,
    with_choice,
    without,
    write,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
FIELDS = Fields(
    [
        Field("head", "Head", "text", lambda row: (row["head"], row["head"].partition(" ")[0])),
        Field("budget", "Budget", "number", lambda row: () if row["budget"] is None else (row["budget"],), empty="all"),
        Field("val auprc", "Val. AUPRC", "number", lambda row: (row["auprc"],), aliases=("auprc",)),
        Field("tag", "Tags", "text", lambda row: row["tags"]),
        Field("star", "Star", "flag", lambda row: (row["star"],)),
        Field("created", "Created", "time", lambda row: (row["created"],)),
        Field("training.learning_rate", "Learning rate", "number", lambda row: (1e-3,), aliases=("learning_rate",)),
    ]
)
HEADS, TAGS, BUDGETS = ("mlp 8", "mlp 1024-512", "linear"), ("paper", "old one", "or"), (None, 20, 50, 100)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "head": st.sampled_from(HEADS),
            "budget": st.sampled_from(BUDGETS),
            "auprc": st.sampled_from((0.1, 0.25, 0.5, 0.8)),
            "tags": st.lists(st.sampled_from(TAGS), unique=True),
            "star": st.booleans(),
            "created": st.sampled_from(
                ("2026-11-28T23:59:59+00:00", "2026-11-29T00:00:00+00:00", "2025-01-01T00:00:00+00:00")
            ),
        }
    ),
    min_size=1,
    max_size=8,
)
SIGNS = {"=": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def kept(text: str, rows: list[dict[str, Any]]) -> list[bool]:
    return matches(parse(text, FIELDS), rows, FIELDS, lambda row: f"{row['head']} {' '.join(row['tags'])}".lower(), NOW)


@st.composite
def queries(draw: st.DrawFn, depth: int = 3) -> tuple[str, Any]:
    """Draw a query, and the function that gives pandas' mask of a frame for it."""
    kind = draw(
        st.sampled_from(["budget", "auprc", "head", "tag", "star", "word"] + ["and", "or", "not"] * (depth > 0))
    )
    if kind in ("and", "or"):
        (left, first), (right, second) = draw(queries(depth - 1)), draw(queries(depth - 1))
        if kind == "and":
            return f"({left}) and ({right})", lambda frame: first(frame) & second(frame)
        return (
            f"({left}) or {right}" if " and " not in right else f"({left}) or ({right})",
            lambda frame: first(frame) | second(frame),
        )
    if kind == "not":
        inner, mask = draw(queries(depth - 1))
        return f"not ({inner})", lambda frame: ~mask(frame)
    if kind in ("budget", "auprc"):
        sign, value = draw(st.sampled_from(list(SIGNS))), draw(st.sampled_from((20, 50, 0.25, 0.8)))
        name = {"budget": "Budget", "auprc": draw(st.sampled_from(("val auprc", "AUPRC", "val_auprc")))}[kind]
        return f"{name}{sign}{value}", lambda frame: frame.eval(f"{kind} {SIGNS[sign]} {value}")
    if kind == "head":
        value = draw(st.sampled_from(("mlp", "MLP 8", "linear")))
        return f"head = {value}", lambda frame: frame["head"].str.lower().str.match(rf"{value.lower()}( |$)")
    if kind == "tag":
        chosen = draw(st.lists(st.sampled_from(TAGS), min_size=1, unique=True))
        quoted = ", ".join(f'"{tag}"' for tag in chosen)
        return (
            f"tag in ({quoted})",
            lambda frame: frame["tags"].map(lambda own: bool(set(own) & set(chosen))).astype(bool),
        )
    if kind == "star":
        return "star = yes", lambda frame: frame["star"].astype(bool)
    word = draw(st.sampled_from(("1024", "paper", "lin")))
    return word, lambda frame: (frame["head"] + " " + frame["tags"].str.join(" ")).str.contains(word)


@given(ROWS, queries())
@settings(max_examples=150, deadline=None)
def test_a_query_keeps_the_rows_that_pandas_keeps(rows: list[dict[str, Any]], query: tuple[str, Any]) -> None:
    text, mask = query
    frame = pd.DataFrame(rows).astype({"budget": float})
    assert kept(text, rows) == mask(frame).tolist(), text


VALUES = st.text("ab \"'(=,)<Ä", min_size=1, max_size=6).filter(
    lambda text: text == " ".join(text.split()) and not ('"' in text and "'" in text)
)
PARTS: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(
        st.builds(Condition, st.just("head"), st.sampled_from(("=", "!=", "~")), st.tuples(VALUES)),
        st.builds(
            Condition, st.just("tag"), st.sampled_from(("=", "!=")), st.lists(VALUES, min_size=2, max_size=3).map(tuple)
        ),
        st.just(Condition("budget", "empty")),
        st.just(Condition("budget", "<=", ("1e-3",))),
        st.builds(Word, st.one_of(VALUES, st.sampled_from(("and", "is", "budget")))),
    ),
    lambda inner: st.one_of(
        st.builds(lambda part: Joined("not", (part,)), inner),
        st.builds(
            lambda join, parts: Joined(join, tuple(parts)),
            st.sampled_from(("and", "or")),
            st.lists(inner, min_size=2, max_size=3),
        ),
    ),
    max_leaves=6,
)


@given(PARTS)
@settings(max_examples=200, deadline=None)
def test_a_written_query_reads_as_the_same(expression: Expression) -> None:
    assert parse(write(expression, FIELDS), FIELDS) == expression


@pytest.mark.parametrize(
    ("text", "word", "suggestion"),
    [
        ("hed = mlp", "Unknown field “hed”. Did you mean “head”?", "head = mlp"),
        ("paper budgte<100 and head = mlp", "Unknown field “budgte”", "paper budget<100 and head = mlp"),
        ("vall auprc > .8", "Did you mean “val auprc”?", "val auprc > .8"),
        ("budget < many", "“many” does not fit budget, which takes a number, such as budget < 100, or all", ""),
        ("head < 3", "“<” does not fit head, which is text: use = or ~", ""),
        ("created > soon", "“soon” does not fit created, which takes a date or an age", ""),
        ("star = maybe", "“maybe” does not fit star, which takes yes or no", ""),
        ("(head = mlp", "“(” has no “)”", ""),
        ("head =", "A value is missing after “head =”", ""),
        ("= 3", "A field is missing before “=”", ""),
        ("head = mlp and", "A condition is missing beside “and”", ""),
        ("zzz = 1", "Unknown field “zzz”. Fields are head, budget", ""),
    ],
)
def test_an_error_names_the_word_and_the_nearest_field(text: str, word: str, suggestion: str) -> None:
    with pytest.raises(QueryError) as error:
        parse(text, FIELDS)
    assert word in str(error.value)
    assert error.value.suggestion == suggestion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("created = today", [False, True, False]),
        ("created = yesterday", [True, False, False]),
        ("created < 2026-11-29", [True, False, True]),
        ("created > 2026-11-28", [False, True, False]),
        ("created >= 2026-11", [True, True, False]),
        ("created <= 2025-01-01", [False, False, True]),
        ("created > 13 hours ago", [True, True, False]),
        ("created < 2 weeks ago", [False, False, True]),
    ],
)
def test_dates_are_periods_and_ages_are_moments(text: str, expected: list[bool]) -> None:
    times = ("2026-11-28T23:59:59+00:00", "2026-11-29T00:00:00+00:00", "2025-01-01T00:00:00+00:00")
    rows = [{"head": "mlp", "tags": [], "created": moment} for moment in times]
    assert kept(text, rows) == expected


def test_plain_words_need_no_joins_and_values_may_have_several_words() -> None:
    rows = [
        {"head": "mlp 8", "budget": 20, "auprc": 0.5, "tags": ["old one"]},
        {"head": "mlp 9", "budget": None, "auprc": np.nan, "tags": []},
    ]
    assert kept("head = mlp 8 budget < 100", rows) == [True, False]
    assert kept("budget = all", rows) == kept("budget is empty", rows) == [False, True]
    assert kept("old mlp", rows) == kept("tag = old one", rows) == [True, False]
    assert kept("auprc < 1", rows) == [True, False]
    assert kept("learning rate = 0.001 and tag is not empty", rows) == [True, False]
    assert kept("", rows) == [True, True]


def test_a_choice_replaces_the_values_of_its_field_alone() -> None:
    expression = parse("head = mlp and budget < 100", FIELDS)
    several = with_choice(expression, "head", ["linear", "mlp"])
    assert write(several, FIELDS) == "head in (linear, mlp) and budget < 100"
    assert choice(several, "head") == ("linear", "mlp")
    assert write(with_choice(several, "head", []), FIELDS) == "budget < 100"
    assert write(with_choice(parse("", FIELDS), "tag", ["old one"]), FIELDS) == 'tag = "old one"'
    assert write(without(expression, Condition("budget", "<", ("100",))), FIELDS) == "head = mlp"
    either = parse("head = mlp or tag = paper", FIELDS)
    assert write(with_choice(either, "head", ["linear"]), FIELDS) == "(head = mlp or tag = paper) and head = linear"


def test_a_query_is_described_by_the_labels_of_its_fields() -> None:
    fields = Fields([Field("training.rate", "training.rate", "number", tuple, label="Learning rate"), FIELDS["head"]])
    text = "training.rate > 0.1 and not (head = mlp or training.rate is empty)"
    expression = parse(text, fields)
    described = "Learning rate > 0.1 and not (Head = mlp or Learning rate is empty)"
    assert (write(expression, fields), describe(expression, fields)) == (text, described)
