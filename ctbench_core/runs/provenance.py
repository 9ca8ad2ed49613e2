"""Read what a run was made from (``provenance.json``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from ctbench_core.runs.layout import RunPaths
from ctbench_core.runs.readers import read_if_there
from ctbench_core.stored import Count, Number, parse_json


@dataclass(frozen=True)
class Provenance:
    """What later steps need of a run's origin; empty where the run does not say.

    Attributes:
        inputs: the digests of its inputs by name; empty for runs from before digests.
        files: the manifest of each split.
        counts: volumes, exams and patients by split: train, val.
        prevalence: share of positives by split and finding, as the run's budget drew them; None where unknown.
        leaks: by split, patients that are also in another.
        imported_from: the folder that an imported run came from.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    prevalence: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    leaks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    imported_from: str = ""

    def count(self, unit: str, *splits: str) -> int | None:
        """Return the number of volumes, exams or patients in some splits; None where one is unknown."""
        counts = [self.counts.get(split, {}).get(unit) for split in splits]
        return None if None in counts else sum(filter(None, counts))


def read_provenance(paths: RunPaths) -> Provenance:
    """Return a run's provenance, empty where it has none.

    Raises:
        DamagedFile: it cannot be read.
    """
    return read_if_there(paths.provenance, _parse, Provenance())


class _Split(TypedDict, total=False):
    file: str | None
    volumes: Count | None
    exams: Count | None
    patients: Count | None
    prevalence: dict[str, Number | None]


class Segment(TypedDict):
    """A part of a run that was trained with the same settings and data: its first epoch, and what changed there."""

    epoch: Count
    when: str
    changes: dict[str, list[Any]]
    digests: dict[str, str]


class ProvenanceFile(TypedDict, total=False):
    """The fields of ``provenance.json`` that readers use."""

    inputs: dict[str, str] | None
    manifests: dict[str, _Split] | None
    leaks: dict[str, list[str]] | None
    imported_from: str | None
    segments: list[Segment]


def _parse(text: str) -> Provenance:
    content = parse_json(text, ProvenanceFile)
    manifests = content.get("manifests") or {}
    return Provenance(
        inputs=content.get("inputs") or {},
        files={split: file for split, facts in manifests.items() if (file := facts.get("file"))},
        counts=manifests,
        prevalence={split: facts["prevalence"] for split, facts in manifests.items() if "prevalence" in facts},
        leaks=content.get("leaks") or {},
        imported_from=content.get("imported_from") or "",
    )
