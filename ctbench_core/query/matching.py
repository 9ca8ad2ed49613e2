"""Say which rows an expression matches."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ctbench_core.query.expressions import Condition, Expression, Joined, Word
from ctbench_core.query.fields import Field, Fields, QueryError, Row

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_AGO = re.compile(r"(\d+) (minute|hour|day|week|month|year)s? ago")
_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}
_EXAMPLES = {
    "number": "a number, such as {} < 100",
    "flag": "yes or no, such as {} = yes",
    "time": "a date or an age, such as {0} > 2026-03-31 or {0} > 7 days ago",
}


def check(expression: Expression, fields: Fields, now: datetime | None = None) -> None:
    """Refuse conditions whose sign or value does not fit their field.

    Raises:
        QueryError: one does not.
    """
    if isinstance(expression, Joined):
        for part in expression.parts:
            check(part, fields, now)
    elif isinstance(expression, Condition):
        _test_of(expression, fields[expression.field], now or datetime.now().astimezone())


def matches(
    expression: Expression,
    rows: Sequence[Row],
    fields: Fields,
    text_of: Callable[[Row], str],
    now: datetime | None = None,
) -> list[bool]:
    """Return for each row whether it matches.

    Args:
        text_of: the texts of a row in which words are searched, in small letters.
        now: the time from which ages are counted; dates without a zone are in its zone.
    """
    return _matches(expression, rows, fields, text_of, now or datetime.now().astimezone())


def _matches(
    expression: Expression, rows: Sequence[Row], fields: Fields, text_of: Callable[[Row], str], now: datetime
) -> list[bool]:
    if isinstance(expression, Word):
        word = expression.text.casefold()
        return [word in text_of(row) for row in rows]
    if isinstance(expression, Condition):
        field = fields[expression.field]
        test, read = _test_of(expression, field, now), field.read
        return [test(read(row)) for row in rows]
    parts = [_matches(part, rows, fields, text_of, now) for part in expression.parts]
    if expression.join == "not":
        return [not match for match in parts[0]]
    combine = any if expression.join == "or" else all
    return list(map(combine, zip(*parts))) if parts else [True] * len(rows)


Test = Callable[[Sequence[Any]], bool]


def _test_of(condition: Condition, field: Field, now: datetime) -> Test:
    """Return the function that says whether the values of a row meet a condition.

    Raises:
        QueryError: the sign or a value does not fit the field.
    """
    if condition.sign == "empty":
        return lambda values: not values
    if condition.sign == "filled":
        return bool
    if condition.sign == "!=":
        same = _test_of(Condition(field.name, "=", condition.values), field, now)
        return lambda values: not same(values)
    tests = [_value_test(field, condition.sign, value, now) for value in condition.values]
    return tests[0] if len(tests) == 1 else lambda values: any(test(values) for test in tests)


def _value_test(field: Field, sign: str, text: str, now: datetime) -> Test:
    if field.empty and text.casefold() == field.empty and sign == "=":
        return lambda values: not values
    if field.kind == "text":
        return _text_test(field, sign, text)
    if sign == "~" or (field.kind == "flag" and sign != "="):
        raise QueryError(f"“{sign}” does not fit {field.name}, which takes {_example(field)}.", sign)
    if field.kind == "time":
        return _time_test(field, sign, text, now)
    wanted = _FLAGS.get(text.casefold()) if field.kind == "flag" else _number(text)
    if wanted is None:
        raise QueryError(f"“{text}” does not fit {field.name}, which takes {_example(field)}.", text)
    compare = _COMPARE[sign]
    return lambda values: any(compare(value, wanted) for value in values)


def _example(field: Field) -> str:
    return _EXAMPLES[field.kind].format(field.name) + (f", or {field.empty}" if field.empty else "")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text_test(field: Field, sign: str, text: str) -> Test:
    wanted = text.casefold()
    if sign == "~":
        return lambda values: any(wanted in str(value).casefold() for value in values)
    if sign != "=":
        raise QueryError(f"“{sign}” does not fit {field.name}, which is text: use = or ~ (contains).", sign)
    return lambda values: any(str(value).casefold() == wanted for value in values)


def _time_test(field: Field, sign: str, text: str, now: datetime) -> Test:
    start, end = _period(field, text, now)
    tests: dict[str, Callable[[datetime], bool]] = {
        "=": lambda at: start <= at < end,
        "<": lambda at: at < start,
        "<=": lambda at: at < end,
        ">": lambda at: at >= end,
        ">=": lambda at: at >= start,
    }
    test = tests[sign]
    return lambda values: any(test(datetime.fromisoformat(value)) for value in values)


def _period(field: Field, text: str, now: datetime) -> tuple[datetime, datetime]:
    """Return when a written time begins and ends: a day for a date, an instant for an age."""
    word = " ".join(text.casefold().split())
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "yesterday"):
        start = midnight - timedelta(days=word == "yesterday")
        return start, start + timedelta(days=1)
    if ago := _AGO.fullmatch(word):
        moment = now - int(ago[1]) * _UNITS[ago[2]]
        return moment, moment
    try:
        moment = datetime.fromisoformat(f"{text}-01" if re.fullmatch(r"\d{4}-\d\d", text) else text)
    except ValueError:
        raise QueryError(f"“{text}” does not fit {field.name}, which takes {_example(field)}.", text) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    if re.fullmatch(r"\d{4}-\d\d", text):
        return moment, (moment + timedelta(days=32)).replace(day=1)
    return moment, moment + (
        timedelta(days=1) if re.fullmatch(r"\d{4}-\d\d-\d\d|\d{8}", text) else timedelta(seconds=1)
    )
