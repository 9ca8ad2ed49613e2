"""Files that pages read, cached until they change.

Keys are (path, mtime_ns, size) and plain values: never an array, which Streamlit hashes by a sample of its cells.
Values are plain dicts, lists and frames, which survive a hot reload.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pandas as pd
import streamlit as st

from ctbench_core.config import KEYS, ColumnsConfig, Config, LabelsConfig, get_key, recipe_values
from ctbench_core.dataset import feature_kinds, manifest_path
from ctbench_core.declared import averaged_metrics, hidden_widths
from ctbench_core.errors import CtbenchError, InputError, RunError
from ctbench_core.evaluate import counts_frame
from ctbench_core.features import find_file, read_vector
from ctbench_core.label_leakage import encoder_name
from ctbench_core.manifest import apply_cohort, divide_by_column, read_manifest
from ctbench_core.runs import (
    DamagedRun,
    Run,
    check_files,
    check_length,
    convergence,
    is_stale,
    open_run,
    read_cached,
    read_frame,
    read_metrics,
    read_provenance,
    run_folders,
    validation_set_id,
)
from ctbench_core.stored import is_there
from ctbench_core.tables import read_header

Stamp = tuple[str, int, int]
P = ParamSpec("P")
T = TypeVar("T")

_AUPRC = re.compile(r'"val_metrics": (?:\{"auprc": ([^,}]+))?')
_FILES = (
    *("status.json", "config.yaml", "best_metrics.json", "metrics.jsonl", "annotations.json", "provenance.json"),
    f"validation{os.sep}tuning.json",
)
_RESULTS = ("evaluation", "alignment")
_recipes: dict[str, tuple[Config, str]] = {}
_rows: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
_TRACE_POINTS, _TRACE_LIMIT = 24, 64 * 2**20


def stamp(path: Path | str) -> Stamp:
    """Return (path, mtime_ns, size), which changes with the file; (path, 0, 0) when there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


def per_file(
    max_entries: int, read_only: bool = False
) -> Callable[[Callable[Concatenate[Path, P], T]], Callable[Concatenate[Path | str, P], T]]:
    """Cache what a function reads from its first argument, a file, until that file changes.

    Args:
        read_only: hand out the cached value itself, not a copy: for values that no caller changes.
    """
    remember: Any = st.cache_resource if read_only else st.cache_data

    def decorate(read: Callable[Concatenate[Path, P], T]) -> Callable[Concatenate[Path | str, P], T]:
        @remember(max_entries=max_entries, show_spinner=False)
        @functools.wraps(read)  # Streamlit distinguishes caches by module, name and source
        def cached(at: Stamp, *args: P.args, **kwargs: P.kwargs) -> T:
            return read(Path(at[0]), *args, **kwargs)

        @functools.wraps(read)
        def reader(path: Path | str, *args: P.args, **kwargs: P.kwargs) -> T:
            return cached(stamp(path), *args, **kwargs)

        vars(reader)["clear"] = cached.clear  # as Streamlit's own caches have it
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


def run_rows(outputs_root: str, kind: str | None = "train") -> list[dict[str, Any]]:
    """Return one row a run of the store, newest first. Treat the rows as read-only."""
    rows = [row for folder in run_folders(outputs_root) if isinstance(row := _row(folder), dict)]
    chosen = [row for row in rows if kind in (None, row["kind"])]
    return sorted(chosen, key=lambda row: (row["created"], row["run_id"]), reverse=True)


def damaged_rows(outputs_root: str) -> list[DamagedRun]:
    """Return the runs of the store that `run_rows` leaves out, because a file cannot be read."""
    return [row for folder in run_folders(outputs_root) if isinstance(row := _row(folder), DamagedRun)]


def _row(folder: str) -> dict[str, Any] | DamagedRun:
    """Return the row of a run, made once until its files change, or what is damaged."""
    stamps = _stamps(folder)
    entry = _rows.get(folder)
    if entry is not None and entry[0] == stamps:
        return entry[1]
    try:
        run = open_run(folder)
        check_files(run)
        row = run_row(run)
    except (InputError, RunError) as error:
        return DamagedRun(Path(folder), str(error))
    if not run.status.active:  # an active run may end without a change of its files, when its process dies
        _rows[folder] = (stamps, row)
    return row


def _stamps(folder: str) -> tuple[Any, ...]:
    """Return the stamps of all files that a row shows."""
    files = [f"{folder}{os.sep}{name}" for name in _FILES]
    for results in _RESULTS:
        try:
            with os.scandir(f"{folder}{os.sep}{results}") as entries:
                files += [f"{entry.path}{os.sep}metrics.json" for entry in entries]
        except OSError:
            continue  # nothing was evaluated or aligned
    return tuple((file, _quick_stamp(file)) for file in files)


def _quick_stamp(file: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(file)  # noqa: PTH116  five times as fast as a path object's
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def run_row(run: Run) -> dict[str, Any]:
    """Return what tables show of a run; test metrics only of test sets that were evaluated."""
    best, status, annotations = run.best(), run.status, run.annotations()
    val_metrics, epoch = best.get("val_metrics", {}), best.get("epoch")
    return {
        "run_dir": str(run.paths.root),
        "run_id": run.run_id,
        "kind": status.kind,
        "name": run.name,
        "state": status.state,
        **_settings(run),
        "epoch": status.epoch,
        "max_epochs": status.max_epochs,
        "best_epoch": epoch,
        "convergence": record.mark if (record := convergence(run)) else "",
        **{f"val_{metric.name}": val_metrics.get(metric.macro) for metric in averaged_metrics()},
        "trace": trace(run),
        **_test_results(run, epoch),
        "seconds": status.seconds.get("total"),
        "created": status.created,
        "updated": status.updated,
        "error": status.error,
        "alignments": run.alignments(),
        "pinned": annotations.pinned,
        "tags": annotations.tags,
        "notes": annotations.notes,
    }


def _settings(run: Run) -> dict[str, Any]:
    """Return the cells of a run's row that its config decides."""
    config = run.config
    return {
        "encoder": encoder_name(config),
        "label_origin": config.data.label_origin,
        "head": " ".join(filter(None, (config.model.model_name, hidden_widths(config.model)))),
        "inputs": config.model.inputs,
        "volumes": read_provenance(run.paths).count("volumes", "train"),
        "validation_set": validation_set_id(run) or _configured_set(config),
        "seed": config.utils.seed,
        "fold": config.data.kfold.fold,
        "recipe": _recipe(run),
    }


def _configured_set(config: Config) -> str:
    """Name the validation set of a run from before identities were stored, by the settings that choose it."""
    chosen = [get_key(config, key) for key, info in KEYS.items() if info.scope == "data"]
    data = config.data
    is_drawn = data.budget or data.kfold.folds or data.auto_split.enabled
    text = json.dumps([chosen, config.utils.seed if is_drawn else None], default=str)
    return f"settings-{zlib.crc32(text.encode()):08x}"


def _test_results(run: Run, best_epoch: int | None) -> dict[str, Any]:
    """Return the cells of a run's row that its evaluations decide, each by test set."""
    stored = {name: read_metrics(run.paths.evaluation(name).metrics) for name in run.evaluations()}
    tests = {name: metrics for name, metrics in stored.items() if metrics is not None}
    auprc = {name: metrics.macro["auprc"] for name, metrics in tests.items() if "auprc" in metrics.macro}
    return {
        "tests": {name: None if math.isnan(one.value) else one.value for name, one in auprc.items()},
        "test_intervals": {name: one.interval.to_list() if one.interval else None for name, one in auprc.items()},
        "leaks": {name: metrics.leak_patients for name, metrics in tests.items()},
        "stale": [name for name, metrics in tests.items() if is_stale(metrics.best_epoch, best_epoch)],
    }


def _recipe(run: Run) -> str:
    """Return a run's recipe as JSON, made once for a config."""
    path = str(run.paths.config)
    entry = _recipes.get(path)
    if entry is None or entry[0] is not run.config:
        entry = _recipes[path] = (run.config, json.dumps(recipe_values(run.config)))
    return entry[1]


def trace(run: Run) -> list[float | None]:
    """Return the validation AUPRC of a run's history by epoch, thinned to a few points.

    Raises:
        DamagedFile: an epoch has none, or epochs are missing.
    """
    path = run.paths.metrics
    try:
        if path.stat().st_size >= _TRACE_LIMIT:
            return []
        values = read_cached(path, _trace)
    except FileNotFoundError:
        values = []
    check_length(run, len(values))
    return values[:: max(1, len(values) // _TRACE_POINTS)]


def _trace(text: str) -> list[float | None]:
    # A hundred times faster than parsing every finding of every epoch.
    return [None if value == "null" else float(value) for value in _AUPRC.findall(text)]
