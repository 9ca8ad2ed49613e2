"""What pages read from disk, kept between reruns.

Keys are (path, mtime_ns, size) and plain values: never an array, whose hash Streamlit takes from a
sample of its cells. Values are plain dicts, lists and frames, which survive a hot reload.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.config import ColumnsConfig, Config
from ctbench_core.dataset import feature_kinds, manifest_path
from ctbench_core.errors import CtbenchError, InputError, RunError
from ctbench_core.evaluate import counts_frame
from ctbench_core.features import find_file, read_vector
from ctbench_core.label_leakage import encoder_name
from ctbench_core.manifest import apply_cohort, read_manifest
from ctbench_core.runs import Run, is_stale, open_run, parsed, read_json, recipe_of, run_folders
from ctbench_core.tables import read_table

Stamp = tuple[str, int, int]

_AUPRC = re.compile(r'"val_metrics": \{"auprc": (null|[-+.\deE]+)')
_FILES = ("status.json", "config.yaml", "best_metrics.json", "metrics.jsonl", "annotations.json")
_RESULTS = ("evaluation", "alignment")
_recipes: dict[str, tuple[Config, str]] = {}
_rows: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
_TRACE_POINTS, _TRACE_LIMIT = 24, 64 * 2**20


def stamp(path: Path | str) -> Stamp:
    """Return what tells whether a file has changed; (path, 0, 0) when there is none."""
    try:
        stat = Path(path).stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


def manifest_summary(config: Config) -> dict[str, Any]:
    """Look at the training manifest: its findings, counts, and the width of its features.

    Raises:
        InputError: the manifest or its first feature file is unusable.
    """
    path = manifest_path(config, config.data.train_manifest)
    columns = json.dumps(dataclasses.asdict(config.data.columns))
    labels = config.training.target_labels or config.data.columns.labels or []
    cohort = json.dumps(dataclasses.asdict(config.data.cohort))
    found = _peek_manifest(stamp(path), columns, tuple(labels), cohort)
    widths = [_width(config, found[f"first_{kind}"]) for kind in feature_kinds(config)]
    return found | {"dim": sum(widths) if all(widths) else 0}


@st.cache_data(max_entries=32, show_spinner=False)
def _peek_manifest(at: Stamp, columns: str, labels: tuple[str, ...], cohort: str) -> dict[str, Any]:
    config = Config()
    config.data.columns = ColumnsConfig(**json.loads(columns))
    config.data.cohort = dataclasses.replace(config.data.cohort, **json.loads(cohort))
    every = read_manifest(Path(at[0]), config.data.columns)
    manifest = apply_cohort(every, config.data.cohort)
    texts = manifest.text_paths
    return {
        "name": manifest.name,
        "all_labels": every.labels,
        "labels": list(labels) or every.labels,
        "counts": manifest.counts(),
        "first_visual": str(manifest.visual_paths[0]),
        "first_text": None if texts is None else str(texts[0]),
    }


@st.cache_data(max_entries=32, show_spinner=False)
def columns(at: Stamp) -> list[str]:
    """Return the columns of a manifest.

    Raises:
        ManifestError: it cannot be read.
    """
    return list(read_table(Path(at[0]))[0].columns)


def _width(config: Config, written: str | None) -> int:
    """Return the width of one feature file; 0 when it cannot be told."""
    if not written:
        return 0
    file = find_file(Path(config.paths.data_root), written)
    return _read_width(stamp(file), config.data.feature_key, config.data.pool) if file else 0


@st.cache_data(max_entries=32, show_spinner=False)
def _read_width(at: Stamp, key: str | None, pool: str) -> int:
    try:
        return len(read_vector(Path(at[0]), key, pool))
    except CtbenchError:
        return 0  # the check names the file and what is wrong with it


@st.cache_data(max_entries=64, show_spinner=False)
def metrics(at: Stamp) -> dict[str, Any]:
    """Return a ``metrics.json``; empty when there is none."""
    return read_json(Path(at[0])) or {}


@st.cache_data(max_entries=32, show_spinner=False)
def table(at: Stamp) -> pd.DataFrame:
    """Return a CSV or Parquet file of the run store."""
    path = Path(at[0])
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


@st.cache_data(max_entries=64, show_spinner=False)
def part(at: Stamp, names: tuple[str, ...]) -> pd.DataFrame:
    """Return some columns of a Parquet file: a page that shows one finding reads no other."""
    return pd.read_parquet(Path(at[0]), columns=list(names))


@st.cache_data(max_entries=128, show_spinner=False)
def counts(at: Stamp, scores: Stamp, label: str) -> pd.DataFrame:
    """Return the stored counts of a finding; a bundle from before they were kept has them counted from its scores."""
    if at[1]:
        return pd.read_parquet(Path(at[0]), filters=[("label", "==", label)])
    frame = pd.read_parquet(Path(scores[0]), columns=[f"target_{label}", f"prob_{label}"]).astype("float64")
    values = frame.to_numpy(dtype="float64", na_value=float("nan"))
    return counts_frame(values[:, :1], values[:, 1:], [label])


def run_rows(outputs_root: str, kind: str | None = "train") -> list[dict[str, Any]]:
    """Return one row a run of the store, newest first. Treat the rows as read-only."""
    found = [row for folder in run_folders(outputs_root) if (row := _row(folder)) and kind in (None, row["kind"])]
    return sorted(found, key=lambda row: (row["created"], row["run_id"]), reverse=True)


def _row(folder: str) -> dict[str, Any] | None:
    """Return the row of a run, made once while its files stay as they are; None for a damaged folder."""
    mark = _mark(folder)
    known = _rows.get(folder)
    if known is not None and known[0] == mark:
        return known[1]
    try:
        run = open_run(folder)
    except (InputError, RunError):
        return None
    row = run_row(run)
    if not run.status.active:  # a run at work may end without a word, when its process dies
        _rows[folder] = (mark, row)
    return row


def _mark(folder: str) -> tuple[Any, ...]:
    """Return what tells whether anything that a row shows has changed."""
    files = [f"{folder}{os.sep}{name}" for name in _FILES]
    for part in _RESULTS:
        try:
            with os.scandir(f"{folder}{os.sep}{part}") as entries:
                files += [f"{entry.path}{os.sep}metrics.json" for entry in entries]
        except OSError:
            continue  # nothing was evaluated or aligned
    return tuple((file, _facts(file)) for file in files)


def _facts(file: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(file)  # noqa: PTH116  five times as fast as a path object's
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino


def run_row(run: Run) -> dict[str, Any]:
    """Return what tables show of a run; test figures only of test sets that were opened."""
    best, config, status, written = run.best(), run.config, run.status, run.annotations()
    figures = best.get("val_metrics", {})
    widths = "-".join(map(str, config.model.params.hidden_dims)) if config.model._target_ == "mlp" else ""
    tests = {name: metrics_of(run.paths.evaluation(name).metrics) for name in run.evaluations()}
    epoch = best.get("epoch")
    trained_on = metrics_of(run.paths.provenance).get("manifests", {}).get("train", {})
    return {
        "run_dir": str(run.paths.root),
        "run_id": run.run_id,
        "kind": status.kind,
        "name": run.name,
        "state": status.state,
        "encoder": encoder_name(config),
        "label_origin": config.data.label_origin,
        "head": " ".join(part for part in (config.model.model_name, widths) if part),
        "inputs": config.model.inputs,
        "volumes": trained_on.get("volumes"),
        "seed": config.utils.seed,
        "fold": config.data.kfold.fold,
        "recipe": _recipe(run),
        "epoch": status.epoch,
        "max_epochs": status.max_epochs,
        "best_epoch": epoch,
        "val_auprc": figures.get("auprc"),
        "val_auroc": figures.get("auroc"),
        "val_f1": figures.get("f1_macro"),
        "trace": trace(run.paths.metrics),
        "tests": {name: found.get("auprc") for name, found in tests.items()},
        "test_intervals": {name: found.get("auprc_ci") for name, found in tests.items()},
        "leaks": {name: found.get("leak", {}).get("patients", 0) for name, found in tests.items()},
        "stale": [name for name, found in tests.items() if is_stale(found.get("best_epoch"), epoch)],
        "seconds": status.seconds.get("total"),
        "created": status.created,
        "updated": status.updated,
        "error": status.error,
        "alignments": run.alignments(),
        "pinned": written.pinned,
        "tags": written.tags,
        "notes": written.notes,
    }


def _recipe(run: Run) -> str:
    """Return a run's recipe as JSON, made once for a config."""
    place = str(run.paths.config)
    known = _recipes.get(place)
    if known is None or known[0] is not run.config:
        known = _recipes[place] = (run.config, json.dumps(recipe_of(run.config), sort_keys=True))
    return known[1]


def metrics_of(path: Path) -> dict[str, Any]:
    """Return a JSON file such as ``metrics.json``, parsed once; empty when there is none. Treat it as read-only."""
    try:
        return parsed(path, json.loads)
    except (OSError, ValueError):
        return {}


def trace(path: Path) -> list[float | None]:
    """Return the validation AUPRC of a ``metrics.jsonl`` by epoch, thinned to a few points."""
    try:
        return parsed(path, _trace) if path.stat().st_size < _TRACE_LIMIT else []
    except OSError:
        return []


def _trace(text: str) -> list[float | None]:
    found = _AUPRC.findall(text)  # a hundred times faster than parsing every finding of every epoch
    step = max(1, len(found) // _TRACE_POINTS)
    return [None if value == "null" else float(value) for value in found[::step]]
