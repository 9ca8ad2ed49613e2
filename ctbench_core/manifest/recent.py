"""The last few manifests, read once while their files stay the same: hundreds of runs of a study share their test."""

from __future__ import annotations

from pathlib import Path

from ctbench_core.config import CohortConfig, ColumnsConfig
from ctbench_core.manifest.cohort import apply_cohort
from ctbench_core.manifest.manifest import Manifest
from ctbench_core.manifest.read import read_manifest

_LIMIT = 8
_recent: dict[tuple[str, int, int, int], Manifest] = {}


def read_cohort(path: Path, columns: ColumnsConfig, cohort: CohortConfig, labels: list[str] | None) -> Manifest:
    """Read a manifest and apply the cohort; the result is shared between callers, so treat it as read-only.

    Raises:
        ManifestError: it is missing, breaks the contract, or the cohort leaves no row.
    """
    if cohort.exclude is not None or not path.is_file():  # the file of excluded volumes may change by itself
        return apply_cohort(read_manifest(path, columns, labels), cohort)
    facts = path.stat()
    mark = (repr((str(path), columns, cohort, labels)), facts.st_mtime_ns, facts.st_size, facts.st_ino)
    if mark not in _recent:
        found = apply_cohort(read_manifest(path, columns, labels), cohort)
        if len(_recent) >= _LIMIT:
            _recent.clear()
        _recent[mark] = found
        return found
    return _recent[mark]
