"""Read what was chosen on a run's validation set: thresholds and calibration (``validation/tuning.json``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from ctbench_core.runs.readers import read_if_there
from ctbench_core.runs.results import File, Metrics
from ctbench_core.stored import Count, Number, parse_json

_ByFinding = dict[str, Number | None]


class _Tuning(TypedDict, total=False):
    """The fields that readers use."""

    n: dict[str, Count]
    folds: Count
    labels: list[str]
    thresholds: dict[str, _ByFinding]
    calibration: dict[str, dict[str, _ByFinding]]
    reasons: dict[str, str | None]
    validation: File
    best_epoch: Count | None


def read_tuning(path: Path) -> dict[str, Any] | None:
    """Return a run's ``tuning.json``, shared between readers; None if there is none.

    Raises:
        DamagedFile: it cannot be read.
    """
    return read_if_there(path, _parse, None)


def _parse(text: str) -> dict[str, Any]:
    content: dict[str, Any] = parse_json(text, _Tuning)
    Metrics.from_json(content.get("validation", {}))
    return content
