"""Pack all feature files of a config's manifests, visual and text, and audit them.

MERGED: Which packed stores of a cache folder are used, by whom, and whether they still match their files.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.config import Config
from ctbench_core.dataset.load import load_inputs, pack_folders
from ctbench_core.dataset.splits import read_test_manifests, read_training_manifests
from ctbench_core.errors import InputError, Interrupted
from ctbench_core.features import Features, Store, audit, changed_files, packed_stores
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress
from ctbench_core.runs import Run

_COUNTS = ("missing", "unreadable", "wrong_dim", "non_finite", "zero_norm", "duplicates")


def pack_features(
    config: Config,
    progress: Progress = lambda phase, done, total: None,
    cancel: threading.Event | None = None,
) -> dict[str, Any]:
    """Build or renew the packed stores of a config and return the `pack` JSON of the contracts.

    Unusable files are named in ``warnings`` and counted; they stop nothing.

    Raises:
        InputError: a manifest is at fault, or not one feature file is usable.
        Interrupted: ``cancel`` was set; what was packed before stays valid.
        RunError: the store cannot be written.
    """
    started = time.perf_counter()

    def watched(phase: str, done: int, total: int) -> None:
        if cancel is not None and cancel.is_set():
            raise Interrupted("Packing stopped; the packed store is as it was before.")
        progress(phase, done, total)

    manifests = _manifests(config)
    with_text = [manifest for manifest in manifests.values() if manifest.text_paths is not None]
    kinds = ["visual", "text"] if len(with_text) == len(manifests) else ["visual"]
    packed: dict[str, Features] = {}
    opened: dict[str, Features] = {}
    for kind in kinds:
        packed |= load_inputs(config, manifests, watched, kinds=[kind], mode="always")
        # A second look measures what every later use will take.
        opened |= load_inputs(config, manifests, None, kinds=[kind], mode="read") if packed[kind].path else {}
    return _summary(manifests, packed, opened, time.perf_counter() - started)


def _manifests(config: Config) -> dict[str, Manifest]:
    manifests, _ = read_training_manifests(config)
    return manifests | read_test_manifests(config, manifests["train"].labels)


def _summary(
    manifests: dict[str, Manifest], packed: dict[str, Features], opened: dict[str, Features], total: float
) -> dict[str, Any]:
    patients = np.concatenate([manifest.patients for manifest in manifests.values()])
    audits = {kind: audit(features, patients) for kind, features in packed.items()}
    parts = {
        kind: {
            "files": features.files,
            "files_read": features.files_read,
            "dim": features.dim,
            "path": _text(features.path),
            "audit": audits[kind].to_json(),
        }
        for kind, features in packed.items()
    }
    counts: Counter[str] = Counter()
    for found in audits.values():
        counts.update({name: found.to_json()[name] for name in _COUNTS})
    seconds = {
        name: sum(features.seconds.get(name, 0.0) for features in opened.values()) for name in ("open", "verify")
    }
    seconds |= {"read": sum(features.seconds.get("read", 0.0) for features in packed.values()), "total": total}
    return {
        "volumes": sum(len(manifest) for manifest in manifests.values()),
        "files": sum(features.files for features in packed.values()),
        "files_read": sum(features.files_read for features in packed.values()),
        "dim": packed["visual"].dim,
        "path": parts["visual"]["path"],
        "audit": {name: counts[name] for name in _COUNTS},
        "seconds": seconds,
        "parts": parts,
        "warnings": _warnings(packed) + [text for found in audits.values() for text in found.warnings()],
    }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _warnings(packed: dict[str, Features]) -> list[str]:
    """Name the first unusable files of each kind."""
    found = []
    for kind, features in packed.items():
        found += [f"{kind}: {problem.message}" for problem in features.problems[:5]]
        if len(features.problems) > 5:
            found.append(f"{kind}: ... and {len(features.problems) - 5} more unusable files.")
    return found


@dataclass(frozen=True)
class KnownPack:
    """A packed store and who uses it.

    Attributes:
        root: its feature root, empty where no run or data set is known to use it.
        runs: how many runs read it. chosen: whether a data set or the present choice does.
        busy: whether a run that waits or is at work does.
        changed: how many of its files are gone or changed.
    """

    store: Store
    root: str = ""
    runs: int = 0
    chosen: bool = False
    busy: bool = False
    changed: int = 0

    @property
    def state(self) -> str:
        """In use, unused, damaged, outdated or up to date: what a person decides by."""
        if self.busy:
            return "in use"
        if not self.store.files:
            return "damaged"
        if not self.root:
            return "unused"
        return "outdated" if self.changed else "up to date"


def known_packs(cache: Path, runs: Sequence[Run], choices: Sequence[Config]) -> list[KnownPack]:
    """Return the packed stores of a cache folder, the largest first.

    Args:
        runs: the runs of the store. choices: saved data sets, and the present choice.
    """
    return [_known(store, runs, choices) for store in packed_stores(cache)]


def _known(store: Store, runs: Sequence[Run], chosen: Sequence[Config]) -> KnownPack:
    cache = store.folder.parent
    users = [run for run in runs if _reads(run.config, store.folder, cache)]
    choices = [config for config in chosen if _reads(config, store.folder, cache)]
    reader = next(iter([*choices, *(run.config for run in users)]), None)
    return KnownPack(
        store,
        "" if reader is None else reader.paths.data_root,
        len(users),
        bool(choices),
        any(run.status.active for run in users),
        0 if reader is None else _changed(store, reader),
    )


_FOLDERS: dict[tuple[str, str, str | None, str], frozenset[str]] = {}


def _reads(config: Config, folder: Path, cache: Path) -> bool:
    """Whether a config reads the store of this name; worked out once for each root and way of reading."""
    key = (str(Path.cwd()), config.paths.data_root, config.data.feature_key, config.data.pool)
    if key not in _FOLDERS:
        _FOLDERS[key] = frozenset(place.name for place in pack_folders(config, cache))
    return folder.name in _FOLDERS[key]


def _changed(store: Store, config: Config) -> int:
    try:
        return changed_files(store.folder, Path(config.paths.data_root), config.data.feature_key, config.data.pool)
    except InputError:
        return store.files  # its root may not be followed any more: none of its files can be read
