"""Expressions of a query: conditions, words, and how they are joined; written as text, and changed by their terms."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ctbench_core.query.fields import Fields

JOINS = ("and", "or", "not")
_PLAIN = re.compile(r"[\w.+-]+")  # what needs no quotes


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


def write(expression: Expression, fields: Fields) -> str:
    """Return an expression as a query that `parse` reads as the same."""
    return _write(expression, fields, lambda name: name)


def describe(expression: Expression, fields: Fields) -> str:
    """Return an expression as `write` does, with the labels of its fields, as forms and tables call them."""
    return _write(expression, fields, lambda name: fields[name].label or fields[name].title)


def _write(expression: Expression, fields: Fields, name_of: Callable[[str], str]) -> str:
    if isinstance(expression, Word):
        return _quote(expression.text, fields, is_word=True)
    if isinstance(expression, Condition):
        name = name_of(expression.field)
        if not expression.values:
            return f"{name} is {'not ' if expression.sign == 'filled' else ''}empty"
        values = [_quote(value, fields) for value in expression.values]
        if len(values) == 1:
            return f"{name} {expression.sign} {values[0]}"
        return f"{name} {'not ' if expression.sign == '!=' else ''}in ({', '.join(values)})"
    if expression.join == "not":
        return f"not {_nested(expression.parts[0], fields, name_of)}"
    return f" {expression.join} ".join(_nested(part, fields, name_of) for part in expression.parts)


def _nested(part: Expression, fields: Fields, name_of: Callable[[str], str]) -> str:
    text = _write(part, fields, name_of)
    return f"({text})" if isinstance(part, Joined) and part.join != "not" else text


def _quote(text: str, fields: Fields, is_word: bool = False) -> str:
    reserved = (*JOINS, "is", "in", "contains", "empty")
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
