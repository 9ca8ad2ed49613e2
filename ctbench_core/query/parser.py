"""Read a query in plain words as an expression."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ctbench_core.query.expressions import EVERY, JOINS, Condition, Expression, Joined, Word
from ctbench_core.query.fields import Field, Fields, QueryError
from ctbench_core.query.matching import check

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>==|!=|<=|>=|[=<>~≤≥≠(),])|(?P<word>[^\s=<>~≤≥≠(),!]+|!))"""
)
_SAME = {"==": "=", "≤": "<=", "≥": ">=", "≠": "!="}
_ALIKE = 0.85  # of a word and a field that are rather a misspelt longer name
_SIGNS = ("=", "!=", "<", "<=", ">", ">=", "~")


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
        return place < len(self.tokens) and self.tokens[place].kind == "word" and self.peek(ahead) not in JOINS

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
        self._refuse_misspelt(start, first, field)
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

    def _refuse_misspelt(self, start: int, first: int, field: Field) -> None:
        """Refuse a word before a field that is nearly part of a longer name: ``tset auprc`` is no word and ``auprc``."""
        if first == start:
            return
        name = " ".join(token.text for token in self.tokens[first - 1 : self.place])
        near = self.fields.nearest(name, _ALIKE)
        if near and (near != field.name or len(near.split()) > self.place - first):
            before, after = self.tokens[first - 1].start, self.tokens[self.place - 1].end
            suggestion = self.text[:before] + near + self.text[after:]
            raise QueryError(f"Unknown field “{name}”. Did you mean “{near}”?", name, suggestion)

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
            return QueryError(f"Unknown field “{word}”. Fields are {known} …, and every config key and metric.", word)
        suggestion = self.text[: first.start] + near + self.text[token.end :]
        return QueryError(f"Unknown field “{word}”. Did you mean “{near}”?", word, suggestion)

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
