"""Read and write what people note on a run: a name, a star, tags and text, kept beside its results and apart from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ctbench_core.atomic import write_json
from ctbench_core.errors import InputError
from ctbench_core.runs.readers import read_if_there

FILE = "annotations.json"
LONGEST_NAME = 120


@dataclass(frozen=True)
class Annotations:
    """A star, tags, free notes and a name; of an empty name the run has its automatic one."""

    pinned: bool = False
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    name: str = ""


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


def rename_run(run_dir: Path, name: str) -> Annotations:
    """Give a run a name, on one line and without outer blanks; an empty one gives it the automatic name back.

    Raises:
        InputError: it is longer than `LONGEST_NAME` characters. DamagedFile: as `annotate`.
    """
    line = " ".join(name.split())
    if len(line) > LONGEST_NAME:
        raise InputError(f"The name has {len(line)} characters, at most {LONGEST_NAME} fit. Shorten it.")
    return annotate(run_dir, name=line)
