"""The record beside a manifest that `prepare dataset=` wrote: where its labels come from and what was mapped.

The manifest holds 0, 1 and blanks only. Its record, ``<manifest>.prepare.json``, keeps the convention of the source,
so that every run says it as if ``data.labels`` had mapped the labels while reading.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ctbench_core.errors import ManifestError
from ctbench_core.manifest.manifest import Manifest

_SUFFIX = ".prepare.json"
_FORMAT = 1


def record_path(path: Path) -> Path:
    """Return where the record of a manifest lies."""
    return path.with_name(path.name + _SUFFIX)


def is_prepared(path: Path) -> bool:
    """Whether a file is a manifest with a record, or a record."""
    return path.name.endswith(_SUFFIX) or record_path(path).is_file()


def read_record(path: Path, digest: str) -> tuple[dict[str, Any], list[str]]:
    """Return the record of a manifest, empty without one, and a warning where it is of other bytes.

    Raises:
        ManifestError: the record cannot be read.
    """
    place = record_path(path)
    if not place.is_file():
        return {}, []
    try:
        record = json.loads(place.read_text(encoding="utf-8"))
        if record["format"] == _FORMAT and record["sha256"] == digest:
            return record, []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{place} is no record of a prepared manifest ({error}). Delete it.") from error
    return {}, [
        f"{path.name} was changed after it was prepared, so {place.name} does not describe it. Prepare it again, or "
        "delete that file."
    ]


def apply_record(manifest: Manifest, record: dict[str, Any]) -> Manifest:
    """Return a manifest that states the label convention of its record."""
    if not record:
        return manifest
    return dataclasses.replace(
        manifest,
        label_mapping=record["label_mapping"] | manifest.label_mapping,
        warnings=manifest.warnings + record["warnings"],
        notes=manifest.notes + record["notes"],
    )


def record_of(digest: str, **content: Any) -> dict[str, Any]:
    """Return the content of a record of a manifest with this SHA-256."""
    return {"format": _FORMAT, "sha256": digest, **content}
