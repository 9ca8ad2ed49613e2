"""Read the metrics of an alignment result (``alignment/<name>/metrics.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required, TypedDict

import pandas as pd

from ctbench_core.runs.readers import read_if_there
from ctbench_core.stored import Count, Number, number, parse_json


class _File(TypedDict, total=False):
    """The fields of an alignment's ``metrics.json`` that are no numbers."""

    samples_analyzed: Required[Count]
    interval_rule: str
    intervals: dict[str, list[Number | None] | None]
    no_interval: dict[str, str]
    interval_marks: dict[str, str]
    undefined: dict[str, str]
    n: dict[str, Count]
    warnings: list[str]


def read_alignment(folder: Path) -> dict[str, Any] | None:
    """Return the metrics of an alignment result, shared between readers; None where it is not complete.

    Raises:
        DamagedFile: they cannot be read.
    """
    return read_if_there(folder / "metrics.json", _parse, None)


def _parse(text: str) -> dict[str, Any]:
    content: dict[str, Any] = parse_json(text, _File)
    for name, value in content.items():
        if name not in _File.__annotations__:
            number(value)
    return content


def alignment_frame(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return every metric of an alignment with its interval, or why there is none."""
    bounds, reasons, rows = metrics.get("intervals", {}), metrics.get("no_interval", {}), []
    for name, value in metrics.items():
        if isinstance(value, (int, float)):
            lower, upper = bounds.get(name, (None, None))
            row = {"figure": name, "value": value, "lower": lower, "upper": upper, "no_interval": reasons.get(name)}
            rows.append(row)
    return pd.DataFrame(rows)
