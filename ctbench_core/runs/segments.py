"""Record the segments of a run that was resumed with other settings or data: where each begins, and what changed.

``provenance.json`` lists them under ``segments``, the first from epoch 1; the first line of each later segment in
``metrics.jsonl`` carries its number and its changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctbench_core.atomic import write_json
from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.provenance import ProvenanceFile
from ctbench_core.runs.readers import read_json
from ctbench_core.runs.status import now, read_status


def record_segment(
    paths: RunPaths, changes: Mapping[str, Any], epoch: int, before: Mapping[str, str], digests: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Write a new segment into a run's provenance where something has changed; return all segments.

    Args:
        changes: stored and new value by key, and sentences about changed data under ``data``.
        epoch: the first epoch of the segment.
        before, digests: of the inputs before and after the change.
    """
    content = read_json(paths.provenance, ProvenanceFile) or {}
    segments: list[dict[str, Any]] = content.get("segments", [])
    if not changes:
        return segments
    first = {"epoch": 1, "when": read_status(paths.status).created, "changes": {}, "digests": dict(before)}
    kept = [segment for segment in segments if segment["epoch"] < epoch] or [first]
    merged = dict(changes)
    for lost in segments[len(kept) :]:  # its epochs came after the last checkpoint: its changes begin here
        merged |= {key: [lost["changes"][key][0], merged.get(key, lost["changes"][key])[1]] for key in _keys(lost)}
    segments = [*kept, {"epoch": epoch, "when": now(), "changes": merged, "digests": dict(digests)}]
    write_json(paths.provenance, content | {"segments": segments})
    return segments


def _keys(segment: Mapping[str, Any]) -> list[str]:
    return [key for key in segment["changes"] if key != "data"]


def segment_start(segments: list[dict[str, Any]], epoch: int) -> dict[str, Any]:
    """Return what the line of an epoch in ``metrics.jsonl`` says where a later segment begins; else nothing."""
    for number, segment in enumerate(segments[1:], start=2):
        if segment["epoch"] == epoch:
            return {"segment": number, "changes": segment["changes"]}
    return {}


def describe_changes(changes: Mapping[str, Any], epoch: int) -> list[str]:
    """Return the warning of a run that continues with changes; empty for none."""
    settings = [f"{key} ({value[0]} before, {value[1]} now)" for key, value in changes.items() if key != "data"]
    texts = [f"Resumed from epoch {epoch} on with other settings: {', '.join(settings)}."] if settings else []
    return [*texts, *(f"Resumed from epoch {epoch} on with other data. {text}" for text in changes.get("data", []))]
