"""Write the query that finds the runs of one recipe among others, by as few settings as do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ctbench_core.query import EVERY, Condition, Expression, QueryError, matches, parse, with_term, write
from ctbench_core.runs.fields import run_fields, text_of

_FIRST = ("head", "encoder", "inputs", "budget")  # of settings that exclude as many runs


def recipe_query(rows: Sequence[Mapping[str, Any]], recipe: str) -> Expression:
    """Return a query that matches exactly the runs of a recipe: by settings, or by their ids where no settings do.

    Args:
        rows: all rows that the query is asked of. recipe: the cell of that name.
    """
    own = [row for row in rows if row["recipe"] == recipe]
    rest = [row for row in rows if row["recipe"] != recipe]
    expression, candidates = EVERY, _conditions(own, rest)
    while rest and candidates:
        left = {term: _matching(term, rest) for term in candidates}
        best = min(candidates, key=lambda term: len(left[term]))
        if len(left[best]) == len(rest):
            break
        rest, expression = left[best], with_term(expression, best)
        candidates.remove(best)
    if rest or not _is_readable(expression):
        return Condition("id", "=", tuple(row["run_id"] for row in own))
    return expression


def _conditions(own: Sequence[Mapping[str, Any]], rest: Sequence[Mapping[str, Any]]) -> list[Condition]:
    """Return a condition for each setting in which other recipes differ from one, as far as all its runs meet it."""
    settings, others = json.loads(own[0]["recipe"]), [json.loads(text) for text in {row["recipe"] for row in rest}]
    keys = [key for key, value in settings.items() if any(other[key] != value for other in others)]
    fields = dict.fromkeys(field.name for key in keys if (field := run_fields().find(key)))
    names = [name for name in _FIRST if name in fields or name in ("head", "encoder")]
    conditions = [_condition(own[0], name) for name in dict.fromkeys([*names, *fields])]
    return [term for term in conditions if len(_matching(term, own)) == len(own)]


def _condition(row: Mapping[str, Any], name: str) -> Condition:
    field = run_fields()[name]
    value = field.value(row)
    if value is None:
        return Condition(name, "=", (field.empty,)) if field.empty else Condition(name, "empty")
    return Condition(name, "=", (("yes" if value else "no") if isinstance(value, bool) else str(value),))


def _matching(expression: Expression, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [row for row, is_match in zip(rows, matches(expression, rows, run_fields(), text_of)) if is_match]


def _is_readable(expression: Expression) -> bool:
    """Whether a query is read as it was meant: a value with both kinds of quotes is not."""
    try:
        return parse(write(expression, run_fields()), run_fields()) == expression
    except QueryError:
        return False
