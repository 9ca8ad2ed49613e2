"""Files that pages read, cached until they change.

Keys are (path, mtime_ns, size) and plain values.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pandas as pd
import streamlit as st

from ctbench_core import runs
from ctbench_core.config import ColumnsConfig, Config, LabelsConfig
from ctbench_core.dataset import feature_kinds, manifest_path
from ctbench_core.errors import CtbenchError
from ctbench_core.evaluate import counts_frame
from ctbench_core.features import find_file, read_vector
from ctbench_core.formatting import plural
from ctbench_core.manifest import apply_cohort, divide_by_column, read_manifest
from ctbench_core.runs import read_frame, run_row, trace
from ctbench_core.stored import is_there
from ctbench_core.tables import read_header
from ctbench_ui.shared.bounded_cache import remember

__all__ = [
    "remember",
    "run_row",
    "trace",
]  # the rest of the run table, as it is

_MANY = 200  # runs that take a second to read

Stamp = tuple[str, int, int]
P = ParamSpec("P")
T = TypeVar("T")


def read_table(outputs_root: Path | str) -> runs.RunTable:
    """Return the run table of a store, as `runs.read_table`; it has a cache of its own."""
    with _first_reading(outputs_root):
        return runs.read_table(outputs_root)


def run_rows(outputs_root: Path | str, kind: str | None = "train") -> list[dict[str, Any]]:
    """Return one row a run of a store, newest first, as `runs.run_rows`."""
    with _first_reading(outputs_root):
        return runs.run_rows(outputs_root, kind)


def damaged_rows(outputs_root: Path | str) -> list[runs.DamagedRun]:
    """Return the runs of a store that `run_rows` leaves out, as `runs.damaged_rows`."""
    with _first_reading(outputs_root):
        return runs.damaged_rows(outputs_root)


# Made of the last lists of rows: of 5,000 runs each takes some tens of milliseconds.
_LISTS = 4  # of training runs and of all runs, in two stores
_frames: dict[int, tuple[Any, pd.DataFrame]] = {}
_named: dict[int, tuple[Any, list[dict[str, Any]]]] = {}


def frame_of(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of the run table as a frame."""
    return _made(_frames, rows, pd.DataFrame).copy(deep=False)


def named(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of the run table under the names that `runs.named_rows` gives them; treat them as read-only.

    Pages name all runs of a store beside one another, so that a run has one name everywhere.
    """
    return _made(_named, rows, runs.named_rows)


def _made(kept: dict[int, tuple[Any, T]], rows: Sequence[dict[str, Any]], make: Callable[[Any], T]) -> T:
    """Return what is made of a list, once until the run table has another list."""
    found = kept.get(id(rows))
    if found is None or found[0] is not rows:
        while len(kept) >= _LISTS:
            kept.pop(next(iter(kept)), None)
        found = kept[id(rows)] = (rows, make(rows))
    return found[1]


def _first_reading(outputs_root: Path | str) -> AbstractContextManager[None]:
    """Say on the page what takes so long where many runs are read that the store's index lacks."""
    unread = runs.count_unread(outputs_root)
    if unread < _MANY:
        return nullcontext()
    return st.spinner(
        f"Reading {plural(unread, 'run')} for the first time; later visits take a second.", show_time=True
    )


def stamp(path: Path | str) -> Stamp:
    """Return (path, mtime_ns, size), which changes with the file; (path, 0, 0) when there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


def per_file(
    max_entries: int,
) -> Callable[[Callable[Concatenate[Path, P], T]], Callable[Concatenate[Path | str, P], T]]:
    """Keep what a function reads from its first argument, a file, until that file changes; see `remember`."""

    def decorate(read: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path | str, P], T]:
        @functools.wraps(read)
        def read_at(at: Stamp, *args: P.args, **kwargs: P.kwargs) -> T:
            return read(Path(at[0]), *args, **kwargs)

        vars(read_at).pop("__wrapped__")  # whose first argument is another
        cached = remember(max_entries)(read_at)

        @functools.wraps(read)
        def reader(path: Path | str, *args: P.args, **kwargs: P.kwargs) -> T:
            return cached(stamp(path), *args, **kwargs)

        return reader

    return decorate


def manifest_summary(config: Config) -> dict[str, Any]:
    """Return the findings and counts of the training manifest, and the dimension of its features.

    Raises:
        InputError: the manifest or its first feature file is unusable.
    """
    path = manifest_path(config, config.data.train_manifest)
    columns = json.dumps(dataclasses.asdict(config.data.columns))
    labels = config.training.target_labels or config.data.columns.labels or []
    cohort = json.dumps(dataclasses.asdict(config.data.cohort))
    rules = json.dumps(dataclasses.asdict(config.data.labels))
    summary = _summary(path, columns, tuple(labels), cohort, rules)
    widths = [_width(config, summary[f"first_{kind}"]) for kind in feature_kinds(config)]
    return summary | {"dim": sum(widths) if all(widths) else 0}


@per_file(max_entries=32)
def _summary(path: Path, columns: str, labels: tuple[str, ...], cohort: str, rules: str) -> dict[str, Any]:
    config = Config()
    config.data.columns = ColumnsConfig(**json.loads(columns))
    config.data.cohort = dataclasses.replace(config.data.cohort, **json.loads(cohort))
    every = read_manifest(path, config.data.columns, rules=LabelsConfig(**json.loads(rules)))
    manifest = apply_cohort(every, config.data.cohort)
    if config.data.columns.split:
        manifest = divide_by_column(manifest, config.data.columns.split)["train"]
    texts = manifest.text_paths
    return {
        "name": every.name,
        "all_labels": every.labels,
        "labels": list(labels) or every.labels,
        "counts": manifest.counts(),
        "first_visual": str(manifest.visual_paths[0]),
        "first_text": None if texts is None else str(texts[0]),
    }


def _width(config: Config, written: str | None) -> int:
    """Return the dimension of a feature file; 0 when it is unknown."""
    file = find_file(Path(config.paths.data_root), written) if written else None
    return _vector_width(file, config.data.feature_key, config.data.pool) if file else 0


@per_file(max_entries=32)
def _vector_width(path: Path, key: str | None, pool: str) -> int:
    try:
        return len(read_vector(path, key, pool))
    except CtbenchError:
        return 0  # the check names the file and what is wrong with it


@per_file(max_entries=32)
def column_names(path: Path) -> list[str]:
    """Return the columns of a manifest.

    Raises:
        ManifestError: it cannot be read.
    """
    return read_header(path)


@per_file(max_entries=32)
def load_table(path: Path) -> pd.DataFrame:
    """Return a CSV or Parquet file of the run store."""
    frame: pd.DataFrame = read_frame(path)
    return frame


@per_file(max_entries=64)
def load_columns(path: Path, names: tuple[str, ...]) -> pd.DataFrame:
    """Return some columns of a Parquet file: a page that shows one finding reads no other."""
    frame: pd.DataFrame = read_frame(path, columns=names)
    return frame


def load_counts(path: Path, scores: Path, label: str) -> pd.DataFrame:
    """Return the counts of a finding by threshold; older results store none, and theirs are counted from the scores."""
    return _stored_counts(path, label) if is_there(path) else _count_scores(scores, label)


@per_file(max_entries=128)
def _stored_counts(path: Path, label: str) -> pd.DataFrame:
    frame: pd.DataFrame = read_frame(path, filters=[("label", "==", label)])
    return frame


@per_file(max_entries=128)
def _count_scores(path: Path, label: str) -> pd.DataFrame:
    frame = read_frame(path, columns=[f"target_{label}", f"prob_{label}"]).astype("float64")
    values = frame.to_numpy(dtype="float64", na_value=float("nan"))
    return counts_frame(values[:, :1], values[:, 1:], [label])
