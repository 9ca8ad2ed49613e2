"""Which packed stores of a cache folder are used, by whom, and whether they still match their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.features.stores import Store, changed_files, packed_stores
from ctbench_core.runs import Run
from ctbench_core.train.data import pack_folders


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
