"""From a config to manifests: training, validation and test rows, whole or by fold, budget and selection.

The order is fixed: cohort, then the held-out fold, then the validation share, then the budget. A selection
file replaces the last three by the volumes and roles that another run used.

MERGED: Patients on both sides of given manifests: found, named, and marked or refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ctbench_core.config import DEFAULT_TESTS, Config, changed_keys
from ctbench_core.errors import LeakError, ManifestError, PathError, first_rows
from ctbench_core.features import check_allowed
from ctbench_core.manifest import (
    DrawingOrder,
    Manifest,
    Selection,
    assign_folds,
    choose_selection,
    draw_rows,
    hold_out,
    join_manifests,
    read_cohort,
    read_selections,
    select_volumes,
    shared_patients,
    split_by_group,
    take_volumes,
    uncovered,
    units_of,
)

FOLD_SEED = 42  # of data.kfold.seed=null: utils.seed would give each repeat folds of its own
_NONE = np.empty(0, dtype=object)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Splits:
    """What a config makes of its training and validation manifests.

    Attributes:
        train, val: the rows to learn from and to choose by.
        fold: the held-out rows of a K-fold config, named as in `fold_name`; else None.
        selection: the volumes of the three by name, where a budget, fold or selection chose them; else None.
        warnings: what may be wrong, one sentence each.
    """

    train: Manifest
    val: Manifest
    fold: Manifest | None
    selection: Selection | None
    warnings: list[str]


class Sources:
    """Manifests read, joined and divided once, for however many configs share them."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def memo(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what was made under this key before, else make it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def read(self, config: Config, name: str, labels: Sequence[str] | None = None) -> Manifest:
        """Read a manifest and apply the cohort; the findings are those given, else the config's, else inferred.

        Raises:
            ManifestError: it is missing, breaks the contract, or the cohort leaves no row.
        """
        path, data = manifest_path(config, name), config.data
        wanted = list(labels or config.training.target_labels or data.columns.labels or []) or None
        key = repr((str(path), data.columns, data.cohort, wanted))
        return self.memo(key, lambda: read_cohort(path, data.columns, data.cohort, wanted))

    def given(self, config: Config, labels: Sequence[str] | None = None) -> list[Manifest]:
        """Return the training manifest, and the validation manifest where it is used."""
        train = self.read(config, config.data.train_manifest, labels)
        if splits_off(config):
            return [train]
        return [train, self.read(config, config.data.val_manifest, train.labels)]

    def without_fold(self, config: Config, given: list[Manifest]) -> tuple[Manifest, Manifest]:
        """Pool the given manifests and hold out the config's fold."""
        options = config.data.kfold
        assert options.folds is not None
        folds, seed = options.folds, FOLD_SEED if options.seed is None else options.seed
        of = tuple(map(id, given))
        pool = self.memo(("pool", of), lambda: join_manifests(given))
        key = (of, folds, options.group, seed)
        assigned = self.memo(("folds", key), lambda: assign_folds(pool, folds, options.group, seed=seed))
        return self.memo(("held", key, options.fold), lambda: hold_out(pool, assigned, options.fold))

    def split(self, config: Config, manifest: Manifest) -> tuple[Manifest, Manifest]:
        """Split the validation rows off a manifest by the auto_split rules."""
        options, seed = config.data.auto_split, config.utils.seed
        key = ("split", id(manifest), repr(options), seed)
        return self.memo(key, lambda: split_by_group(manifest, options, seed))

    def order(self, config: Config, manifest: Manifest, at: int) -> DrawingOrder:
        """Return the order in which budgets take a side's units."""
        unit, seed = config.data.budget_unit, _budget_seed(config)
        key = ("order", id(manifest), unit, seed, at)  # it holds the manifest, so that no other gets its id
        return self.memo(key, lambda: DrawingOrder(manifest, unit, seed, at))


def make_splits(config: Config, labels: Sequence[str] | None = None, sources: Sources | None = None) -> Splits:
    """Read, pool and divide the training and validation manifests as a config says.

    Args:
        labels: the findings, in their order; by default those of the config or of the training manifest.
        sources: what other configs have read already.

    Raises:
        ManifestError: a manifest or selection is missing, breaks its contract, or lacks a volume.
        ConfigError: there is no such fold, or the budget is not possible.
    """
    sources = sources or Sources()
    given = sources.given(config, labels)
    if config.data.reference is not None:
        return _as_drawn(make_splits(reference_config(config), given[0].labels, sources), given)
    warnings = [text for manifest in given for text in manifest.warnings] + _absent_validation(config, given[0])
    chosen = _imported(config)
    rows, fold = _held_out(config, given, chosen, sources)
    if chosen is not None:
        train, val = select_volumes(chosen, rows)
    else:
        train, val = rows if len(rows) == 2 else sources.split(config, rows[0])
        train, val, note = _budgeted(config, train, val, sources)
        warnings += note
    return Splits(train, val, fold, _selection(config, train, val, fold), warnings)


def reference_config(config: Config) -> Config:
    """Return the config whose manifests draw and judge: the reference's where there is one, else the same."""
    if config.data.reference is None:
        return config
    reference = config.copy()
    reference.paths.manifest_dir, reference.data.reference = config.data.reference, None
    return reference


def _as_drawn(drawn: Splits, given: list[Manifest]) -> Splits:
    """Take the volumes that a reference drew out of a label source; a held-out fold keeps the reference's labels.

    Raises:
        ManifestError: the source lacks some of them.
    """
    pool = join_manifests(given)
    train, val = (take_volumes(pool, side.volumes) for side in (drawn.train, drawn.val))
    return dataclasses.replace(drawn, train=train, val=val)


def _absent_validation(config: Config, train: Manifest) -> list[str]:
    options = config.data.auto_split
    if options.enabled is not None or not splits_off(config) or config.data.kfold.folds is not None:
        return []
    return [
        f"Validation manifest {config.data.val_manifest} does not exist: {options.val_fraction:g} of the "
        f"{options.group}s of {train.name} were split off instead."
    ]


def _imported(config: Config) -> Selection | None:
    if config.data.selection is None:
        return None
    path = check_allowed(config.data.selection)
    return choose_selection(path, read_selections(path), config.data.budget, _budget_seed(config))


def _budget_seed(config: Config) -> int:
    return config.utils.seed if config.data.budget_seed is None else config.data.budget_seed


def _held_out(
    config: Config, given: list[Manifest], chosen: Selection | None, sources: Sources
) -> tuple[list[Manifest], Manifest | None]:
    """Part the given manifests into what may be learned from and the held-out fold, as the selection has it."""
    if config.data.kfold.folds is None:
        return given, None
    if chosen is not None and len(chosen.test):
        pool = join_manifests(given)
        rest, fold = pool, take_volumes(pool, chosen.test)
    else:
        rest, fold = sources.without_fold(config, given)
    return [rest], dataclasses.replace(fold, name=fold_name(config))


def _budgeted(config: Config, train: Manifest, val: Manifest, sources: Sources) -> tuple[Manifest, Manifest, list[str]]:
    budget, unit = config.data.budget, config.data.budget_unit
    if budget is None:
        return train, val, []
    rows = draw_rows(sources.order(config, train, 0), sources.order(config, val, 1), budget)
    train, val = train.select(rows[0]), val.select(rows[1])
    bare = uncovered(train)
    if not bare:
        return train, val, []
    return train, val, [f"A budget of {budget} {unit}s shows one class only of {', '.join(bare)} in training."]


def _selection(config: Config, train: Manifest, val: Manifest, fold: Manifest | None) -> Selection | None:
    data = config.data
    if data.budget is None and data.selection is None and fold is None:
        return None
    units = len(set(units_of(train, data.budget_unit)) | set(units_of(val, data.budget_unit)))
    held = _NONE if fold is None else fold.volumes
    return Selection(data.budget or units, _budget_seed(config), train.volumes, val.volumes, held)


def splits_off(config: Config) -> bool:
    """Whether the validation rows come out of the training manifest."""
    enabled = config.data.auto_split.enabled
    return not manifest_path(config, config.data.val_manifest).is_file() if enabled is None else enabled


def fold_name(config: Config) -> str:
    """Return the name of a K-fold config's held-out rows as a test set: fold_0, fold_1 ..."""
    return f"fold_{config.data.kfold.fold}"


def read_training_manifests(config: Config) -> tuple[dict[str, Manifest], list[str]]:
    """Return the training and validation rows of a config by split name, and warnings; errors as `make_splits`."""
    splits = make_splits(config)
    return {"train": splits.train, "val": splits.val}, splits.warnings


def names_of_tests(config: Config, files_only: bool = False) -> list[str]:
    """Name a config's test sets: those it names, else its held-out fold, else the usual manifests that exist."""
    folds = config.data.kfold.folds is not None
    if config.data.test_manifests is not None:
        return [name for name in config.data.test_manifests if not (files_only and folds and name == fold_name(config))]
    if folds:
        return [] if files_only else [fold_name(config)]
    return [name for name in DEFAULT_TESTS if manifest_path(reference_config(config), name).is_file()]


def read_test_manifests(
    config: Config, labels: Sequence[str], names: Sequence[str] | None = None, sources: Sources | None = None
) -> dict[str, Manifest]:
    """Read the test sets: the named ones, else those of `names_of_tests`.

    Raises:
        ManifestError: a named manifest is missing.
    """
    sources = sources or Sources()
    names = names if names is not None else names_of_tests(config)
    stems = [Path(name).stem for name in names]
    twice = sorted({name for name, stem in zip(names, stems) if stems.count(stem) > 1})
    if twice:
        raise ManifestError(
            f"Test manifests {', '.join(twice)} would overwrite each other's results. Give them different names."
        )
    return {Path(name).name: _test(config, name, labels, sources) for name in names}


def _test(config: Config, name: str, labels: Sequence[str], sources: Sources) -> Manifest:
    if config.data.kfold.folds is not None and name == fold_name(config):
        fold = make_splits(config, labels, sources).fold
        assert fold is not None
        return fold
    return sources.read(reference_config(config), name, labels)


def check_places(config: Config) -> None:
    """Refuse folders and files outside CTBENCH_ROOTS that a config names; defaults are the machine's own.

    Raises:
        PathError: one lies outside, or a name climbs out of its folder.
    """
    for name, value in changed_keys(config).items():
        if value and (name.startswith("paths.") or name in ("data.cohort.exclude", "data.selection", "data.reference")):
            check_allowed(value)
    for name in (config.job_name, config.evaluation.checkpoint_name):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise PathError(
                f"{name!r} leads out of its folder; give a plain name as job_name or evaluation.checkpoint_name."
            )


def manifest_path(config: Config, name: str) -> Path:
    """Return where a manifest lies: in paths.manifest_dir, or at its own absolute path."""
    return check_allowed(Path(config.paths.manifest_dir) / name)


def mark_leaks(config: Config, manifests: dict[str, Manifest]) -> tuple[dict[str, list[str]], list[str]]:
    """Find patients on both sides: validation against training, tests against both.

    Raises:
        LeakError: there are any, and ``data.on_leak`` is refuse.
    """
    leaks, warnings = {}, []
    for name, manifest in manifests.items():
        others = [
            manifests[o] for o in ("train", "val") if o in manifests and o != name and (o, name) != ("val", "train")
        ]
        shared = shared_patients(manifest, others) if name != "train" else []
        if shared:
            leaks[name] = shared
            warnings.append(
                f"Leak: {first_rows(shared, len(shared)).replace('row', 'patient')} of {manifest.name} also stand in "
                f"{' or '.join(o.name for o in others)}; its figures carry a mark."
            )
    if leaks and config.data.on_leak == "refuse":
        raise LeakError(
            " ".join(warnings) + " data.on_leak=refuse forbids this: split by patient, or set data.on_leak=mark."
        )
    return leaks, warnings
