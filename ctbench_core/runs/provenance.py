"""Read what a run was made from (``provenance.json``)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.readers import read_cached


@dataclass(frozen=True)
class Provenance:
    """What later steps need of a run's origin; empty where the run does not say.

    Attributes:
        inputs: the digests of its inputs by name; empty for runs from before digests.
        counts: volumes, exams and patients by split: train, val.
        prevalence: share of positives by split and finding, as the run's budget drew them; None where unknown.
        leaks: by split, patients that are also in another.
        imported_from: the folder that an imported run came from.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    prevalence: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    leaks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    imported_from: str = ""

    def count(self, unit: str, *splits: str) -> int | None:
        """Return the number of volumes, exams or patients in some splits; None where one is unknown."""
        counts = [self.counts.get(split, {}).get(unit) for split in splits]
        return None if None in counts else sum(filter(None, counts))


def read_provenance(paths: RunPaths) -> Provenance:
    """Return a run's provenance; empty where the file is missing or damaged."""
    try:
        return read_cached(paths.provenance, _parse)
    except (OSError, ValueError, AttributeError):
        return Provenance()


def _parse(text: str) -> Provenance:
    content = json.loads(text)
    manifests = content.get("manifests") or {}
    return Provenance(
        inputs=content.get("inputs") or {},
        counts=manifests,
        prevalence={split: facts["prevalence"] for split, facts in manifests.items() if "prevalence" in facts},
        leaks=content.get("leaks") or {},
        imported_from=content.get("imported_from") or "",
    )
