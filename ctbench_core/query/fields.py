"""Fields: what a query can name, of which kind it is, and how the values of a row are read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ctbench_core.errors import InputError

Kind = Literal["number", "text", "flag", "time"]
Row = Mapping[str, Any]


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
        label: what a sentence calls it, where that is not the heading.
    """

    name: str
    title: str
    kind: Kind
    read: Callable[[Row], Sequence[Any]]
    help: str = ""
    aliases: tuple[str, ...] = ()
    empty: str = ""
    label: str = ""

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

    def nearest(self, name: str, cutoff: float = 0.6) -> str:
        """Return the known name that is most like another; empty where none is."""
        near = difflib.get_close_matches(_key(name), self._names, n=1, cutoff=cutoff)
        return self._names[near[0]].name if near else ""


def _key(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())
