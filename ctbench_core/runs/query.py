"""Choose rows by a query in plain words, such as ``head = mlp and budget < 100 and tag = paper``.

A query is conditions joined by ``and``, ``or`` and ``not``, with parentheses. A condition is a field, ``= != < <= > >=``,
``~`` (contains), ``in (a, b)`` or ``is empty``, and a value; values with other than letters and digits stand in quotes
where they could be read otherwise. Words without a field are searched in the texts of a row. Case does not matter.

This module knows fields by their kind and how their values are read, and nothing of runs.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from ctbench_core.errors import InputError

Kind = Literal["number", "text", "flag", "time"]
Row = Mapping[str, Any]

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>==|!=|<=|>=|[=<>~≤≥≠(),])|(?P<word>[^\s=<>~≤≥≠(),!]+|!))"""
)
_SAME = {"==": "=", "≤": "<=", "≥": ">=", "≠": "!="}
_SIGNS = ("=", "!=", "<", "<=", ">", ">=", "~")
_JOINS = ("and", "or", "not")
_PLAIN = re.compile(r"[\w.+-]+")  # what needs no quotes
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


class QueryError(InputError):
    """A query that cannot be read.

    Attributes:
        word: the word at fault. suggestion: the whole query with the nearest known word in its place; empty without one.
    """

    def __init__(self, text: str, word: str = "", suggestion: str = "") -> None:
        super().__init__(text)
        self.word, self.suggestion = word, suggestion


@dataclass(frozen=True)
class Field:
    """What a query can name, a column can show, and rows can be ordered and grouped by.

    Attributes:
        name: as a query writes it. title: the heading of its column. help: one line.
        read: the values that a row has of it: none, one, or several of which any may match.
        aliases: other names. empty: the word of a query for no value, such as ``all`` for a budget.
    """

    name: str
    title: str
    kind: Kind
    read: Callable[[Row], Sequence[Any]]
    help: str = ""
    aliases: tuple[str, ...] = ()
    empty: str = ""

    def value(self, row: Row) -> Any:
        """Return what a column shows of a row: its first value; None without one."""
        return next(iter(self.read(row)), None)


class Fields(dict[str, Field]):
    """Fields by name; `find` also knows their aliases, in any case, with blanks or underscores."""

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__({field.name: field for field in fields})
        self._names: dict[str, Field] = {}
        for field in fields:  # a name comes before any alias
            self._names.setdefault(_key(field.name), field)
        for field in fields:
            for alias in field.aliases:
                self._names.setdefault(_key(alias), field)

    def find(self, name: str) -> Field | None:
        """Return the field of a name or alias; None where there is none."""
        return self._names.get(_key(name))

    def nearest(self, name: str) -> str:
        """Return the known name that is most like another; empty where none is."""
        near = difflib.get_close_matches(_key(name), self._names, n=1, cutoff=0.6)
        return self._names[near[0]].name if near else ""


def _key(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


@dataclass(frozen=True)
class Condition:
    """A field compared with values; several mean any of them.

    Attributes:
        sign: one of ``= != < <= > >= ~``; "empty" and "filled" have no values.
    """

    field: str
    sign: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Word:
    """A word that is searched in the texts of a row."""

    text: str


@dataclass(frozen=True)
class Joined:
    """Parts joined by "and" or "or"; "not" has one part."""

    join: str
    parts: tuple[Expression, ...]


Expression = Condition | Word | Joined
EVERY: Expression = Joined("and", ())


def parse(text: str, fields: Fields) -> Expression:
    """Return the expression of a query; an empty one matches every row.

    Raises:
        QueryError: it cannot be read; the message names the word and the nearest that is known.
    """
    parser = _Parser(text, fields)
    expression = parser.read_or()
    if parser.peek():
        raise QueryError(f"“{parser.peek()}” is not expected here. Remove it, or put it in quotes.", parser.peek())
    check(expression, fields)
    return expression


@dataclass(frozen=True)
class _Token:
    text: str
    kind: str
    start: int
    end: int


class _Parser:
    def __init__(self, text: str, fields: Fields) -> None:
        self.text, self.fields, self.place = text, fields, 0
        self.tokens = list(_tokens(text))

    def peek(self, ahead: int = 0) -> str:
        """Return a token as joins and signs are compared; a quoted text is none of them."""
        place = self.place + ahead
        if place >= len(self.tokens):
            return ""
        token = self.tokens[place]
        return f'"{token.text}"' if token.kind == "quoted" else token.text.lower()

    def is_word(self, ahead: int = 0) -> bool:
        place = self.place + ahead
        return place < len(self.tokens) and self.tokens[place].kind == "word" and self.peek(ahead) not in _JOINS

    def read_or(self) -> Expression:
        parts = [self.read_and()]
        while self.peek() == "or":
            self.place += 1
            parts.append(self.read_and())
        if len(parts) > 1 and EVERY in parts:
            raise QueryError("A condition is missing beside “or”.", "or")
        return parts[0] if len(parts) == 1 else Joined("or", tuple(parts))

    def read_and(self) -> Expression:
        parts: list[Expression] = []
        while self.peek() not in ("", "or", ")"):
            if self.peek() == "and":
                self.place += 1
                if not parts or self.peek() in ("", "or", ")", "and"):
                    raise QueryError("A condition is missing beside “and”.", "and")
                continue
            parts += self.read_part()
        return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))

    def read_part(self) -> list[Expression]:
        if self.peek() == "not":
            self.place += 1
            if self.peek() in ("", "and", "or", ")"):
                raise QueryError("A condition is missing after “not”.", "not")
            first, *rest = self.read_part()
            return [Joined("not", (first,)), *rest]
        if self.peek() == "(":
            self.place += 1
            inner = self.read_or()
            if self.peek() != ")":
                raise QueryError("“(” has no “)”. Close it.", "(")
            self.place += 1
            return [inner]
        return self.read_words()

    def read_words(self) -> list[Expression]:
        """Read words to search, up to a condition whose field they may end with."""
        if self.place < len(self.tokens) and self.tokens[self.place].kind == "quoted":
            self.place += 1
            return [Word(self.tokens[self.place - 1].text)]
        start = self.place
        while self.is_word() and not (self.place > start and self._sign_length() and self._field(start, self.place)):
            self.place += 1
        if not self._sign_length():
            if self.place == start:
                raise QueryError(f"“{self.peek()}” is not expected here. Remove it, or put it in quotes.", self.peek())
            return [Word(token.text) for token in self.tokens[start : self.place]]
        match = self._field(start, self.place)
        if match is None:
            raise self._unknown_field(start)
        first, field = match
        words: list[Expression] = [Word(token.text) for token in self.tokens[start:first]]
        return [*words, self._condition(field)]

    def _sign_length(self) -> int:
        """Return how many tokens make the sign that comes next; 0 where none does."""
        if self.peek() in _SIGNS:
            return 1
        if self.peek() == "in" and self.peek(1) == "(":
            return 1
        if self.peek() == "not" and self.peek(1) == "in" and self.peek(2) == "(":
            return 2
        if self.peek() == "is":
            return 2 if self.peek(1) == "not" else 1
        return 1 if self.peek() == "contains" else 0

    def _field(self, start: int, end: int) -> tuple[int, Field] | None:
        """Return the longest field that ends at a token, and where it begins."""
        for first in range(start, end):
            if field := self.fields.find(" ".join(token.text for token in self.tokens[first:end])):
                return first, field
        return None

    def _unknown_field(self, start: int) -> QueryError:
        if self.place == start:
            return QueryError(f"A field is missing before “{self.peek()}”, such as state or budget.", self.peek())
        token = self.tokens[self.place - 1]
        every = " ".join(one.text for one in self.tokens[start : self.place])
        near = self.fields.nearest(every) or self.fields.nearest(token.text)
        first = self.tokens[start] if near and near == self.fields.nearest(every) else token
        word = self.text[first.start : token.end]
        if not near:
            known = ", ".join(list(self.fields)[:6])
            return QueryError(f"“{word}” is no field. Fields are {known} …, and every config key and metric.", word)
        suggestion = self.text[: first.start] + near + self.text[token.end :]
        return QueryError(f"“{word}” is no field. Did you mean {near}?", word, suggestion)

    def _condition(self, field: Field) -> Condition:
        length = self._sign_length()
        sign = " ".join(self.peek(ahead) for ahead in range(length))
        self.place += length
        if sign in ("is", "is not"):
            if self.peek() == "empty":
                self.place += 1
                return Condition(field.name, "empty" if sign == "is" else "filled")
            sign = "=" if sign == "is" else "!="
        if sign in ("in", "not in"):
            return Condition(field.name, "=" if sign == "in" else "!=", self._list(field))
        return Condition(field.name, "~" if sign == "contains" else sign, (self._value(field, sign),))

    def _list(self, field: Field) -> tuple[str, ...]:
        self.place += 1
        values = [self._value(field, "in")]
        while self.peek() == ",":
            self.place += 1
            values.append(self._value(field, "in"))
        if self.peek() != ")":
            raise QueryError(f"The values of {field.name} have no “)”. Close them.", "(")
        self.place += 1
        return tuple(values)

    def _value(self, field: Field, sign: str) -> str:
        """Read a value: a quoted text, or all words up to a join or to the field of the next condition."""
        if self.place < len(self.tokens) and self.tokens[self.place].kind == "quoted":
            self.place += 1
            return self.tokens[self.place - 1].text
        start = self.place
        while self.is_word():
            self.place += 1
            ahead = self._sign_length()
            if ahead and (match := self._field(start + 1, self.place)):
                self.place = match[0]
                break
        words = [token.text for token in self.tokens[start : self.place]]
        if not words:
            raise QueryError(f"A value is missing after “{field.name} {sign}”.", field.name)
        return " ".join(words)


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text.rstrip()):
        match = _TOKEN.match(text, place)
        if match is None or match.lastgroup is None:  # no character is left out
            raise QueryError(f"“{text[place:].strip()}” cannot be read.", text[place:].strip())
        kind = match.lastgroup
        written = match[kind]
        content = written[1:-1] if kind == "quoted" else _SAME.get(written, written)
        yield _Token(content, kind, match.start(kind), match.end(kind))
        place = match.end()


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


def write(expression: Expression, fields: Fields) -> str:
    """Return an expression as a query that `parse` reads as the same."""
    if isinstance(expression, Word):
        return _quote(expression.text, fields, is_word=True)
    if isinstance(expression, Condition):
        if not expression.values:
            return f"{expression.field} is {'not ' if expression.sign == 'filled' else ''}empty"
        values = [_quote(value, fields) for value in expression.values]
        if len(values) == 1:
            return f"{expression.field} {expression.sign} {values[0]}"
        return f"{expression.field} {'not ' if expression.sign == '!=' else ''}in ({', '.join(values)})"
    if expression.join == "not":
        return f"not {_nested(expression.parts[0], fields)}"
    return f" {expression.join} ".join(_nested(part, fields) for part in expression.parts)


def _nested(part: Expression, fields: Fields) -> str:
    text = write(part, fields)
    return f"({text})" if isinstance(part, Joined) and part.join != "not" else text


def _quote(text: str, fields: Fields, is_word: bool = False) -> str:
    reserved = (*_JOINS, "is", "in", "contains", "empty")
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in reserved
    if is_plain and not (is_word and fields.find(text)):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def terms(expression: Expression) -> list[Expression]:
    """Return the parts that all must match."""
    return list(expression.parts) if isinstance(expression, Joined) and expression.join == "and" else [expression]


def without(expression: Expression, term: Expression) -> Expression:
    """Return an expression without one of its `terms`."""
    return _all_of([part for part in terms(expression) if part != term])


def choice(expression: Expression, field: str) -> tuple[str, ...]:
    """Return the values that an expression asks of a field by ``=`` or ``in``; none where it does not."""
    chosen = [part for part in terms(expression) if _is_choice(part, field)]
    return chosen[0].values if chosen and isinstance(chosen[0], Condition) else ()


def with_choice(expression: Expression, field: str, values: Sequence[str]) -> Expression:
    """Return an expression that asks some values of a field in place of those it asked; none asks nothing."""
    chosen = Condition(field, "=", tuple(values))
    parts = [chosen if _is_choice(part, field) else part for part in terms(expression)]
    if chosen not in parts:
        parts.append(chosen)
    return _all_of([part for part in dict.fromkeys(parts) if part != chosen or values])


def with_term(expression: Expression, term: Expression) -> Expression:
    """Return an expression with one condition more."""
    return _all_of(list(dict.fromkeys([*terms(expression), term])))


def _is_choice(part: Expression, field: str) -> bool:
    return isinstance(part, Condition) and part.field == field and part.sign == "="


def _all_of(parts: Sequence[Expression]) -> Expression:
    return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))
