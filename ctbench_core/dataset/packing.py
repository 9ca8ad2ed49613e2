"""Pack and audit the feature files of a config, and list packed stores with the runs that use them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.config import Config
from ctbench_core.dataset.load import load_inputs, pack_folders
from ctbench_core.dataset.splits import read_test_manifests, read_training_manifests
from ctbench_core.errors import InputError, Interrupted
from ctbench_core.features import (
    FeatureMatrix,
    PackedStore,
    RunShards,
    audit,
    changed_files,
    local_place,
    packed_stores,
)
from ctbench_core.formatting import plural
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import Run

_COUNTS = ("missing", "unreadable", "wrong_dim", "non_finite", "zero_norm", "duplicates")


def pack_features(
    config: Config,
    progress: Progress = silent,
    cancel: threading.Event | None = None,
    run_shards: RunShards | None = None,
) -> dict[str, Any]:
    """Build or update the packed stores of a config and return the `pack` JSON of the contracts.

    Unusable files do not stop it: they are counted and named in ``warnings``.

    Args:
        run_shards: reads many files in other processes; by default this one reads all.

    Raises:
        InputError: a manifest is invalid, or no feature file is usable.
        Interrupted: ``cancel`` was set; earlier packed stores stay valid.
        RunError: the store cannot be written.
    """
    started = time.perf_counter()

    def report(phase: str, done: int, total: int) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted("Packing stopped. The packed store is unchanged.")
        progress(phase, done, total)

    manifests, _ = read_training_manifests(config)
    manifests |= read_test_manifests(config, manifests["train"].labels)
    has_text = all(manifest.text_paths is not None for manifest in manifests.values())
    packed: dict[str, FeatureMatrix] = {}
    for kind in ["visual", "text"] if has_text else ["visual"]:
        packed |= load_inputs(config, manifests, report, kinds=[kind], mode="always", run_shards=run_shards)
    return _summary(manifests, packed, time.perf_counter() - started)


def _summary(manifests: dict[str, Manifest], packed: dict[str, FeatureMatrix], total: float) -> dict[str, Any]:
    patients = np.concatenate([manifest.patients for manifest in manifests.values()])
    audits = {kind: audit(features, patients) for kind, features in packed.items()}
    parts: dict[str, dict[str, Any]] = {
        kind: {
            "files": features.files,
            "files_read": features.files_read,
            "dim": features.dim,
            "path": None if features.path is None else str(features.path),
            "audit": audits[kind].to_json(),
        }
        for kind, features in packed.items()
    }
    seconds = {name: _seconds(packed, name) for name in ("open", "verify", "read")}
    first = next(iter(packed))
    return {
        "volumes": sum(len(manifest) for manifest in manifests.values()),
        "files": sum(features.files for features in packed.values()),
        "files_read": sum(features.files_read for features in packed.values()),
        "dim": packed[first].dim,
        "path": parts[first]["path"],
        "audit": {name: sum(part["audit"][name] for part in parts.values()) for name in _COUNTS},
        "seconds": seconds | {"total": total},
        "parts": parts,
        "warnings": _unusable(packed) + [text for result in audits.values() for text in result.warnings()],
    }


def _seconds(inputs: dict[str, FeatureMatrix], step: str) -> float:
    return sum(features.seconds.get(step, 0.0) for features in inputs.values())


def _unusable(packed: dict[str, FeatureMatrix]) -> list[str]:
    """Name the first unusable files of each kind."""
    texts = []
    for kind, features in packed.items():
        texts += [f"{kind}: {problem.message}" for problem in features.problems[:5]]
        if len(features.problems) > 5:
            texts.append(f"{kind}: ... and {plural(len(features.problems) - 5, 'more unusable file')}.")
    return texts


@dataclass(frozen=True)
class StoreUsage:
    """A packed store and the runs that use it.

    Attributes:
        root: its feature root; empty when no run or data set uses it.
        runs: number of runs that read it.
        chosen: whether a saved data set or the present form reads it.
        busy: whether a queued or running run reads it.
        changed: number of its files that are missing or changed.
    """

    store: PackedStore
    root: str = ""
    runs: int = 0
    chosen: bool = False
    busy: bool = False
    changed: int = 0

    @property
    def state(self) -> str:
        """Return in use, damaged, unused, outdated or up to date."""
        if self.busy:
            return "in use"
        if not self.store.files:
            return "damaged"
        if not self.root:
            return "unused"
        return "outdated" if self.changed else "up to date"


def store_usage(cache: Path, runs: Sequence[Run], choices: Sequence[Config]) -> list[StoreUsage]:
    """Return the packed stores of a cache folder, the largest first.

    Args:
        runs: the runs of the run store.
        choices: configs of saved data sets and of the present form.
    """
    return [_usage(store, runs, choices) for store in packed_stores(cache)]


def _usage(store: PackedStore, runs: Sequence[Run], configs: Sequence[Config]) -> StoreUsage:
    cache = store.folder.parent
    users = [run for run in runs if _reads(run.config, store.folder, cache)]
    choices = [config for config in configs if _reads(config, store.folder, cache)]
    reader = next(iter([*choices, *(run.config for run in users)]), None)
    return StoreUsage(
        store,
        "" if reader is None else reader.paths.data_root,
        len(users),
        bool(choices),
        any(run.status.active for run in users),
        0 if reader is None else _changed(store, reader),
    )


_FOLDERS: dict[tuple[str, str, str | None, str, str], frozenset[str]] = {}


def _reads(config: Config, folder: Path, cache: Path) -> bool:
    """Return whether a config reads the store of this name; computed once for each root and way of reading."""
    key = (str(Path.cwd()), config.paths.data_root, config.data.feature_key, config.data.pool, config.data.store_dtype)
    if key not in _FOLDERS:
        _FOLDERS[key] = frozenset(path.name for path in pack_folders(config, cache))
    return folder.name in _FOLDERS[key]


def _changed(store: PackedStore, config: Config) -> int:
    root = local_place(config.paths.data_root, store.folder.parent)
    try:
        return changed_files(store.folder, root, config.data.feature_key, config.data.pool)
    except InputError:
        return store.files  # its root is not allowed any more: none of its files can be read
