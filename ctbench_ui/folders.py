"""Folders and files that fields offer: those on disk near by, and those of saved data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import CtbenchError
from ctbench_core.features import check_allowed
from ctbench_core.train.data import manifest_path
from ctbench_ui import cache, datasets

_SUFFIXES = (".csv", ".parquet", ".pq")


def feature_roots(outputs_root: Path) -> list[str]:
    """Offer the feature roots of saved data sets and the folders of data/features."""
    near = [str(folder) for folder in sorted(Path("data/features").glob("*")) if folder.is_dir()]
    return _distinct([*_saved(outputs_root, lambda config: config.paths.data_root), *near])


def manifest_folders(outputs_root: Path) -> list[str]:
    """Offer the manifest folders of saved data sets and data/manifests."""
    near = [str(folder) for folder in [Path("data/manifests")] if folder.is_dir()]
    return _distinct([*_saved(outputs_root, lambda config: config.paths.manifest_dir), *near])


def manifests(folder: Path) -> list[str]:
    """List the manifest files of a folder; empty where there is none or it is not allowed."""
    try:
        files = sorted(check_allowed(folder).iterdir())
    except (CtbenchError, OSError):
        return []
    return [file.name for file in files if file.suffix in _SUFFIXES]


def columns(config: Callable[[], Config]) -> list[str]:
    """List the columns of the chosen training manifest; empty while it cannot be read."""
    try:
        chosen = config()
        return cache.columns(cache.stamp(manifest_path(chosen, chosen.data.train_manifest)))
    except CtbenchError:
        return []


def _saved(outputs_root: Path, part: Callable[[Config], str]) -> list[str]:
    found = []
    for name in datasets.names(outputs_root):
        try:
            found.append(part(datasets.load(outputs_root, name)))
        except CtbenchError:
            continue
    return found


def _distinct(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))
