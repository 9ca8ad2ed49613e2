"""Choose rows by a query in plain words, such as ``head = mlp and budget < 100 and tag = paper``.

A query is conditions joined by ``and``, ``or`` and ``not``, with parentheses. A condition is a field, ``= != < <= > >=``,
``~`` (contains), ``in (a, b)`` or ``is empty``, and a value; values with other than letters and digits stand in quotes
where they could be read otherwise. Words without a field are searched in the texts of a row. Case does not matter.

This room knows fields by their kind and how their values are read, and nothing of runs.
"""

from ctbench_core.query.expressions import (
    EVERY,
    Condition,
    Expression,
    Joined,
    Word,
    choice,
    describe,
    terms,
    with_choice,
    with_term,
    without,
    write,
)
from ctbench_core.query.fields import Field, Fields, Kind, QueryError, Row
from ctbench_core.query.matching import check, matches
from ctbench_core.query.parser import parse
