"""Say which values of label columns have no meaning, and offer what they may mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ctbench_core.config import ColumnsConfig
from ctbench_core.errors import Fix, ManifestError, first_rows
from ctbench_core.manifest.columns import IdColumns

MEANINGS: dict[str, Any] = {"unknown": "unknown", "negative": 0, "positive": 1}
# Words whose meaning no table leaves open.
_WORDS: dict[str, Any] = {
    **dict.fromkeys(["yes", "y", "positive", "pos", "present", "abnormal"], 1),
    **dict.fromkeys(["no", "n", "negative", "neg", "absent", "normal"], 0),
    **dict.fromkeys(
        ["maybe", "possible", "equivocal", "unclear", "unknown", "censored", "indeterminate", "?"], "unknown"
    ),
}
_SEPARATORS = ("|", ";", ",", "/")
_SHOWN = 3  # values in a message, and values with buttons


@dataclass(frozen=True)
class LabelProblem:
    """Values of a label column that are no labels.

    Attributes:
        values: each value with its number of cells, most frequent first.
        lines: the lines of the file, in order.
        kind: ``uncertain`` when all of them mean uncertain (-1, u), else ``text``.
    """

    column: str
    values: dict[str, int]
    lines: list[int]
    kind: Literal["uncertain", "text"]


def refusal(path: Path, problems: Sequence[LabelProblem]) -> ManifestError:
    """Build the error for columns with the same values that are no labels."""
    columns = [problem.column for problem in problems]
    values = list(dict.fromkeys(value for problem in problems for value in problem.values))
    lines = sorted({line for problem in problems for line in problem.lines})
    subject = f"label column {columns[0]!r} has"
    if len(columns) > 1:
        subject = f"label columns {first_rows([repr(name) for name in columns], 'column')} have"
    map_as = "data.labels.uncertain=unknown, negative or positive"
    if problems[0].kind == "text":
        map_as = f"data.labels.values={{{values[0]}: unknown}}"
    which = "the column" if len(columns) == 1 else "the columns"
    return ManifestError(
        f"{path}: {subject} {', '.join(map(repr, values[:_SHOWN]))} on line {first_rows(lines)}; expected 0, 1 or "
        f"blank (unknown). Correct the values, map them with {map_as}, or leave {which} out with "
        "data.columns.metadata or training.target_labels.",
        fixes=_fixes(problems[0].kind, values, columns),
    )


def _fixes(kind: str, values: Sequence[str], columns: Sequence[str]) -> list[Fix]:
    """Offer the meanings of values, the harmless one first, and to leave their columns out."""
    if kind == "uncertain":
        meanings = [
            Fix(f"Read -1 as {name}", {"data.labels.uncertain": name}, sure=name == "unknown") for name in MEANINGS
        ]
    elif all(value.casefold() in _WORDS for value in values):
        known = {value: _WORDS[value.casefold()] for value in values}
        names = {meaning: name for name, meaning in MEANINGS.items()}
        text = ", ".join(f"{value} as {names[meaning]}" for value, meaning in known.items())
        meanings = [Fix(f"Read {text}", {"data.labels.values": known}, sure=True)]
    else:
        shown = values[:_SHOWN]
        every = {"data.labels.values": dict.fromkeys(values, "unknown")}
        meanings = [Fix(f"Read all {len(values)} values as unknown", every)] if len(values) > 1 else []
        meanings += [
            Fix(f"Read {value} as {name}", {"data.labels.values": {value: meaning}})
            for value in shown
            for name, meaning in MEANINGS.items()
        ]
    title = columns[0] if len(columns) == 1 else f"{len(columns)} columns"
    return [*meanings, Fix(f"Not a finding: {title}", {"data.columns.metadata": list(columns)})]


def no_findings(path: Path, frame: pd.DataFrame, columns: ColumnsConfig, ids: IdColumns) -> ManifestError:
    """Build the error for a table without a label column; a column that may list findings is offered."""
    used = {*ids.names, *columns.metadata, columns.visual_feature, columns.text_feature, columns.split}
    fixes = [
        Fix(
            f"Findings are listed in {name}, separated by {separator}",
            {"data.labels.list_column": name, "data.labels.separator": separator},
            sure=True,
        )
        for name in frame
        if name not in used and (separator := _separator_of(frame[name]))
    ]
    hint = f" Column {next(iter(fixes[0].values.values()))!r} may list them: data.labels.list_column." if fixes else ""
    return ManifestError(
        f"{path} has no label column: expected columns of 0, 1 or blank beside {ids.volume!r}.{hint} "
        "Add one, or name the label columns in training.target_labels.",
        fixes=fixes,
    )


def _separator_of(column: pd.Series) -> str:
    """Return the separator of a column that lists findings; empty for any other column.

    A list has few different items, each in several rows.
    """
    texts = column.str.strip()
    texts = texts[texts != ""]
    for separator in _SEPARATORS:
        items = texts.str.split(separator, regex=False).explode().str.strip()
        counts = items.value_counts()
        if len(items) > len(texts) and counts.median() > 1 and not items.str.fullmatch(r"[\d.\s]*").any():
            return separator
    return ""
