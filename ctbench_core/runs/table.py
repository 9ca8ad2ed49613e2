"""The run table: one row a run, with what lists of runs show, choose and order by.

A row is made once until the files of its run change. Rows are kept in memory, and in an index of the store (`index`),
so that a process that has just started does not read every run.
"""

from __future__ import annotations

import json
import math
import operator
import os
import re
import threading
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctbench_core.config import KEYS, Config, changed_keys, effective_settings, get_key, recipe_values
from ctbench_core.declared import averaged_metrics, hidden_widths
from ctbench_core.errors import DamagedFile, InputError, RunError
from ctbench_core.label_leakage import encoder_name
from ctbench_core.names import last_name
from ctbench_core.runs.convergence import convergence
from ctbench_core.runs.damage import DamagedRun, check_files
from ctbench_core.runs.disclosures import is_stale
from ctbench_core.runs.identity import validation_set_id
from ctbench_core.runs.index import Entry, Stamps, read_index, write_index
from ctbench_core.runs.layout import PLAN, SEARCH
from ctbench_core.runs.naming import is_named
from ctbench_core.runs.provenance import read_provenance
from ctbench_core.runs.readers import read_cached
from ctbench_core.runs.results import read_metrics
from ctbench_core.runs.status import ENDED, stored_status
from ctbench_core.runs.store import MANY, RECHECK_S, Run, check_length, open_run, possible_folders, run_folders
from ctbench_core.runs.validation_sets import numbered_sets, validation_set_names

_AUPRC = re.compile(r'"val_metrics": (?:\{"auprc": ([^,}]+))?')
_FILES = (
    *("status.json", "config.yaml", "best_metrics.json", "metrics.jsonl", "annotations.json", "provenance.json"),
    f"validation{os.sep}tuning.json",
)
_RESULTS = ("evaluation", "alignment")
_TRACE_POINTS, _TRACE_LIMIT = 24, 64 * 2**20
_RETRY_S = 30.0  # until a refused index is written again
_BATCH = 500  # rows that are written to the index together

Row = dict[str, Any]


@dataclass
class _Store:
    """The rows of a run store in memory, by folder within it.

    Attributes:
        seen: when the folder of each run had last changed, as its files were compared with the row.
        unsaved: folders whose rows the index lacks. gone: folders whose rows it may hold in vain.
        checked_at: when the files of all runs were last compared; 0 before the first time.
        rows: of the last table, by folder. newest_first: the same rows in its order. training_runs: those of training runs.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    entries: dict[str, Entry] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    unsaved: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    checked_at: float = 0.0
    retry_at: float = 0.0
    rows: list[Row] = field(default_factory=list)
    newest_first: list[Row] = field(default_factory=list)
    training_runs: list[Row] = field(default_factory=list)


_stores: dict[str, _Store] = {}


@dataclass(frozen=True)
class RunTable:
    """The rows of a store, newest first, and the damaged runs that have none.

    Treat the lists of rows as read-only: while no row changes, each table has the same ones.
    """

    rows: list[Row]
    training_runs: list[Row]
    damaged: list[DamagedRun]


def read_table(outputs_root: Path | str) -> RunTable:
    """Return the run table of a store.

    Of up to `MANY` runs, all files are compared with their rows each time. Of more, where that would take 50 us a run at
    every click, only the folders are, whose time changes with every file that is written in the usual way; a thread
    compares the files afterwards, and the next table shows what it has seen.
    """
    root = str(outputs_root)
    store = _stores.setdefault(os.path.realpath(root), _Store())
    with store.lock:
        _load_index(store, root)
        folders = {folder[len(root) :].lstrip(os.sep): folder for folder in possible_folders(root)}
        is_quick = len(folders) > MANY and bool(store.checked_at)
        rows: list[Row] = []
        damaged: list[DamagedRun] = []
        for name, folder in folders.items():
            row = _row(store, name, folder, is_quick)
            if len(store.unsaved) >= _BATCH:  # the first reading of a large store may be stopped
                _save(store, Path(root))
            if isinstance(row, DamagedRun):
                damaged.append(row)
            elif row is not None:
                rows.append(row)
        _forget(store, set(folders))
        _save(store, Path(root))
        if not is_quick:
            store.checked_at = time.monotonic()
        elif time.monotonic() - store.checked_at > RECHECK_S:
            store.checked_at = time.monotonic()
            threading.Thread(target=_recheck, args=(store, folders), name="run table", daemon=True).start()
        if len(rows) != len(store.rows) or not all(map(operator.is_, rows, store.rows)):
            store.rows = rows
            _name_sets(rows)
            store.newest_first = sorted(rows, key=lambda row: (row["created"], row["run_id"]), reverse=True)
            store.training_runs = [row for row in store.newest_first if row["kind"] == "train"]
        return RunTable(store.newest_first, store.training_runs, damaged)


def count_unread(outputs_root: Path | str) -> int:
    """Return how many runs `read_table` is about to read for the first time; 0 once it has returned a table."""
    root = str(outputs_root)
    store = _stores.setdefault(os.path.realpath(root), _Store())
    if store.checked_at:
        return 0
    if store.lock.acquire(blocking=False):  # otherwise another thread is reading them
        try:
            _load_index(store, root)
        finally:
            store.lock.release()
    return max(0, len(run_folders(root)) - len(store.entries))


def _load_index(store: _Store, root: str) -> None:
    """Read the index once, before the first table."""
    if not (store.checked_at or store.entries):
        store.entries = read_index(Path(root))


def _name_sets(rows: list[Row]) -> None:
    """Write the names of their validation sets into the rows of training runs."""
    trained = [row for row in rows if row["kind"] == "train"]
    names, numbered = validation_set_names(trained), numbered_sets(trained)
    for row in trained:
        row["validation_name"] = names.get(row["validation_set"], "")
        row["validation_number"] = numbered.get(row["validation_set"], "")


def _recheck(store: _Store, folders: Mapping[str, str]) -> None:
    """Compare the files of all runs with their rows; those that differ are read again for the next table."""
    for name, folder in folders.items():
        entry = store.entries.get(name)
        if entry is not None and entry[0] != _stamps(folder):
            store.seen.pop(name, None)


def announce_change(run_dir: Path) -> None:
    """Let the time of a run's folder say that a file below one of its subfolders has changed."""
    with suppress(OSError):
        os.utime(run_dir)


def run_rows(outputs_root: Path | str, kind: str | None = "train") -> list[Row]:
    """Return one row a run of the store, newest first. Treat the rows as read-only."""
    table = read_table(outputs_root)
    whole = {None: table.rows, "train": table.training_runs}
    return whole[kind] if kind in whole else [row for row in table.rows if row["kind"] == kind]


def damaged_rows(outputs_root: Path | str) -> list[DamagedRun]:
    """Return the runs of the store that `run_rows` leaves out, because a file cannot be read."""
    return read_table(outputs_root).damaged


def _forget(store: _Store, present: set[str]) -> None:
    """Drop the rows of runs that are not there any more."""
    for name in store.entries.keys() - present:
        del store.entries[name]
        store.seen.pop(name, None)
        store.unsaved.discard(name)
        store.gone.add(name)


def _save(store: _Store, root: Path) -> None:
    if not (store.unsaved or store.gone) or time.monotonic() < store.retry_at:
        return
    if write_index(root, {name: store.entries[name] for name in store.unsaved}, store.gone):
        store.unsaved, store.gone = set(), set()
    else:
        store.retry_at = time.monotonic() + _RETRY_S


def _row(store: _Store, name: str, folder: str, is_quick: bool) -> Row | DamagedRun | None:
    """Return the row of a run, made once until its files change, or what is damaged; None where the folder is no run.

    Args:
        is_quick: trust the time of its folder.
    """
    entries, changed_at = store.entries, _changed_at(folder)
    entry = entries.get(name)
    if is_quick and entry is not None and store.seen.get(name) == changed_at and entry[1]["run_dir"] == folder:
        return entry[1]
    if not os.path.lexists(f"{folder}{os.sep}status.json"):
        if entries.pop(name, None):
            store.gone.add(name)
        return None
    stamps = _stamps(folder)
    store.seen[name] = changed_at
    if entry is not None and entry[0] == stamps:
        if entry[1]["run_dir"] != folder:  # the store was moved, or is named in another way
            entries[name] = entry = (stamps, entry[1] | {"run_dir": folder})
        return entry[1]
    try:
        run = open_run(folder)
        check_files(run)
        row = run_row(run)
    except (InputError, RunError) as error:
        return DamagedRun(Path(folder), str(error))
    if not run.status.active:  # an active run may end without a change of its files, when its process dies
        entries[name] = (stamps, row)
        if _has_ended(run):
            store.unsaved.add(name)
    return row


def _has_ended(run: Run) -> bool:
    """Whether the files themselves say that a run has ended; otherwise this process has judged it by another's absence."""
    with suppress(DamagedFile, OSError):
        return stored_status(run.paths.status).state in ENDED
    return False


def _stamps(folder: str) -> Stamps:
    """Return the stamps of all files that a row shows, by their names."""
    stamps = [(name, _stamp(f"{folder}{os.sep}{name}")) for name in _FILES]
    for results in _RESULTS:
        with suppress(OSError), os.scandir(f"{folder}{os.sep}{results}") as entries:  # refused: nothing was evaluated
            stamps += [(f"{results}/{one.name}", _stamp(f"{one.path}{os.sep}metrics.json")) for one in entries]
    return tuple(stamps)


def _changed_at(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(file)  # noqa: PTH116  five times as fast as a path object's
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def run_row(run: Run) -> Row:
    """Return what tables show of a run; test metrics only of test sets that were evaluated."""
    best, status, annotations = run.best(), run.status, run.annotations()
    val_metrics, epoch = best.get("val_metrics", {}), best.get("epoch")
    return {
        "run_dir": str(run.paths.root),
        "run_id": run.run_id,
        "kind": status.kind,
        "name": run.name,
        "is_named": is_named(run),
        "state": status.state,
        "study": _study(run),
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
        "changed": (changed := changed_keys(run.config)),
        "settings": effective_settings(changed),
    }


def _study(run: Run) -> str:
    """Return the study or search whose folder holds the run; empty for none."""
    folder = run.paths.root.parent
    return run.job if any(os.path.lexists(folder / name) for name in (PLAN, SEARCH)) else ""


def _settings(run: Run) -> Row:
    """Return the cells of a run's row that its config decides."""
    config = run.config
    return {
        "encoder": encoder_name(config),
        "label_origin": config.data.label_origin,
        "head": " ".join(filter(None, (config.model.model_name, hidden_widths(config.model)))),
        "model_name": config.model.model_name,
        "inputs": config.model.inputs,
        "volumes": read_provenance(run.paths).count("volumes", "train"),
        "validation_set": validation_set_id(run) or _configured_set(config),
        "validation_file": last_name(read_provenance(run.paths).files.get("val") or config.data.val_manifest),
        "validation_name": "",  # what the table calls the set, beside those of other runs
        "validation_number": "",  # the same by its number, as queries may name it
        "budget": config.data.budget,
        "seed": config.utils.seed,
        "fold": config.data.kfold.fold,
        "recipe": json.dumps(recipe_values(config)),
    }


def _configured_set(config: Config) -> str:
    """Name the validation set of a run from before identities were stored, by the settings that choose it."""
    chosen = [get_key(config, key) for key, info in KEYS.items() if info.scope == "data"]
    data = config.data
    is_drawn = data.budget or data.kfold.folds or data.auto_split.enabled
    text = json.dumps([chosen, config.utils.seed if is_drawn else None], default=str)
    return f"settings-{zlib.crc32(text.encode()):08x}"


def _test_results(run: Run, best_epoch: int | None) -> Row:
    """Return the cells of a run's row that its evaluations decide, each by test set."""
    stored = {name: read_metrics(run.paths.evaluation(name).metrics) for name in run.evaluations()}
    tests = {name: metrics for name, metrics in stored.items() if metrics is not None}
    auprc = {name: metrics.macro["auprc"] for name, metrics in tests.items() if "auprc" in metrics.macro}
    return {
        "tests": {name: None if math.isnan(one.value) else one.value for name, one in auprc.items()},
        "test_intervals": {name: one.interval.to_list() if one.interval else None for name, one in auprc.items()},
        "test_no_interval": {
            name: reason for name, metrics in tests.items() if (reason := metrics.no_interval("auprc"))
        },
        "test_metrics": {
            name: {key: one.value for key, one in metrics.macro.items() if not math.isnan(one.value)}
            for name, metrics in tests.items()
        },
        "leaks": {name: metrics.leak_patients for name, metrics in tests.items()},
        "stale": [name for name, metrics in tests.items() if is_stale(metrics.best_epoch, best_epoch)],
    }


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
