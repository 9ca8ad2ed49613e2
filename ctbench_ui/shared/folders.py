"""Folders and manifests that fields offer: those on disk near by, and those of saved data sets."""

from __future__ import annotations

import contextlib
import os
import string
from collections.abc import Callable, Sequence
from pathlib import Path

from ctbench_core.config import DEFAULT_TESTS, Config
from ctbench_core.dataset import manifest_path
from ctbench_core.errors import CtbenchError
from ctbench_core.features import allowed_roots, check_allowed
from ctbench_ui.shared import cache, datasets

MANIFEST_SUFFIXES = (".csv", ".parquet", ".pq")  # of those written here
_TABLE_ENDINGS = (*MANIFEST_SUFFIXES, ".tsv", ".csv.gz", ".tsv.gz")
UPLOAD_TYPES = ("csv", "tsv", "gz", "parquet", "pq")


def feature_roots(outputs_root: Path) -> list[str]:
    """Offer the feature roots of saved data sets and the folders of data/features."""
    near = [str(folder) for folder in sorted(Path("data/features").glob("*")) if folder.is_dir()]
    return list(dict.fromkeys([*_saved(outputs_root, lambda config: config.paths.data_root), *near]))


def manifest_folders(outputs_root: Path) -> list[str]:
    """Offer the manifest folders of saved data sets and data/manifests."""
    near = [str(folder) for folder in [Path("data/manifests")] if folder.is_dir()]
    return list(dict.fromkeys([*_saved(outputs_root, lambda config: config.paths.manifest_dir), *near]))


def list_manifests(folder: Path) -> list[str]:
    """List the manifest files of a folder; empty where there is none or it is not allowed."""
    try:
        files = sorted(check_allowed(folder).iterdir())
    except (CtbenchError, OSError):
        return []
    return [file.name for file in files if file.name.lower().endswith(_TABLE_ENDINGS)]


def guess_roles(files: Sequence[str]) -> dict[str, str | list[str] | None]:
    """Guess from their names which manifests are for training, validation and tests, as config keys.

    Test manifests with default names need no key: None.
    """
    train = _named(files, "train.csv", "train") or _named(files, "labels.csv", "label") or next(iter(files), None)
    val = _named([file for file in files if file != train], "valid.csv", "val")
    tests = [file for file in files if "test" in file.lower() and file not in (train, val)]
    return {
        "data.test_manifests": None if set(tests) <= set(DEFAULT_TESTS) else tests,
        **({"data.train_manifest": train} if train else {}),
        "data.val_manifest": val or "valid.csv",  # without one, the training manifest is split
    }


def _named(files: Sequence[str], usual: str, part: str) -> str | None:
    return usual if usual in files else next((file for file in files if part in file.lower()), None)


def find_manifests(root: Path) -> Path | None:
    """Return the folder with tables that a feature root most likely belongs to: itself, or the one above."""
    return next((folder for folder in (root, root.parent) if list_manifests(folder)), None)


def list_subfolders(folder: Path) -> list[str]:
    """List the allowed subfolders of a folder, without hidden ones.

    Raises:
        PathError: the folder is outside CTBENCH_ROOTS.
    """
    check_allowed(folder)
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    except OSError:
        return []
    return sorted((name for name in names if is_allowed(folder / name)), key=str.casefold)


def is_allowed(folder: Path) -> bool:
    """Whether a folder is inside CTBENCH_ROOTS."""
    try:
        check_allowed(folder)
    except CtbenchError:
        return False
    return True


def other_drives(folder: Path) -> list[Path]:
    """List the allowed drives of a Windows machine other than the folder's; empty elsewhere."""
    drives = [Path(f"{letter}:\\") for letter in string.ascii_uppercase] if os.name == "nt" else []
    return [drive for drive in drives if drive.drive != folder.drive and drive.is_dir() and is_allowed(drive)]


def nearest_folder(written: str) -> Path:
    """Return the folder where browsing begins: the typed one, or its nearest parent that exists and is allowed."""
    start = Path(written or ".").expanduser().absolute()
    usable = (folder for folder in (start, *start.parents) if folder.is_dir() and is_allowed(folder))
    return next(usable, None) or next((root for root in allowed_roots() if isinstance(root, Path)), Path.cwd())


def list_columns(config: Callable[[], Config]) -> list[str]:
    """List the columns of the chosen training manifest; empty while it cannot be read."""
    try:
        return cache.column_names(manifest_path(config(), config().data.train_manifest))
    except CtbenchError:
        return []


def _saved(outputs_root: Path, part: Callable[[Config], str]) -> list[str]:
    values = []
    for name in datasets.names(outputs_root):
        with contextlib.suppress(CtbenchError):
            values.append(part(datasets.load(outputs_root, name)))
    return values
