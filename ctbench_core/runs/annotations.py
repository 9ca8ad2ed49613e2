"""Read and write what people note on a run: a star, tags and text, kept beside its results and apart from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ctbench_core.atomic import write_json
from ctbench_core.runs.readers import read_if_there

FILE = "annotations.json"


@dataclass(frozen=True)
class Annotations:
    """A star, tags and free notes."""

    pinned: bool = False
    tags: list[str] = field(default_factory=list)
    notes: str = ""


def read_annotations(run_dir: Path) -> Annotations:
    """Return a run's annotations, empty before the first.

    Raises:
        DamagedFile: they cannot be read.
    """
    return read_if_there(run_dir / FILE, _parse, Annotations())


def _parse(text: str) -> Annotations:
    return msgspec.json.decode(text, type=Annotations)


def annotate(run_dir: Path, **changes: Any) -> Annotations:
    """Change some of a run's annotations and return them all.

    Raises:
        DamagedFile: the present ones cannot be read; they are left as they are.
    """
    annotations = dataclasses.replace(read_annotations(run_dir), **changes)
    write_json(run_dir / FILE, dataclasses.asdict(annotations))
    return annotations
