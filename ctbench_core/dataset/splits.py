"""Read a config's manifests and divide them: training, validation and test rows, by fold, budget and selection.

The order is fixed: cohort, held-out fold, validation share, budget. A selection file replaces the last three by the
volumes and roles of another run. Patients that are in more than one split are found and reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ctbench_core.config import DEFAULT_TESTS, KEYS, Config, changed_keys, is_url
from ctbench_core.dataset.per_finding import is_root
from ctbench_core.errors import Fix, LeakError, ManifestError, first_rows
from ctbench_core.features import check_allowed, check_place, check_url, copy_manifest, read_copy
from ctbench_core.manifest import (
    TEST_ROWS,
    DrawingOrder,
    Manifest,
    Selection,
    apply_selection,
    assign_folds,
    choose_selection,
    divide_by_column,
    draw_rows,
    join_manifests,
    read_cohort,
    read_roles,
    read_selections,
    select_volumes,
    shared_patients,
    split_by_fold,
    split_by_group,
    units_of,
    unused_split,
)
from ctbench_core.names import require_distinct, safe_name

FOLD_SEED = 42  # of data.kfold.seed=null: utils.seed would give each repeat folds of its own
_T = TypeVar("_T")


@dataclass(frozen=True)
class Splits:
    """The training and validation manifests of a config, divided.

    Attributes:
        train, val: the training rows, and the rows that choose the best epoch.
        fold: the held-out rows of a K-fold config, named as in `fold_name`; else None.
        selection: the volumes of the three by name, where a budget, fold or selection chooses them; else None.
        warnings: what may be wrong, one sentence each.
        fixes: of warnings that a change of settings answers.
    """

    train: Manifest
    val: Manifest
    fold: Manifest | None
    selection: Selection | None
    warnings: list[str]
    fixes: dict[str, list[Fix]] = field(default_factory=dict)


class ManifestCache:
    """Manifests read, joined and divided once for all configs that share them."""

    def __init__(self) -> None:
        self._results: dict[Hashable, Any] = {}

    def memo(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return the result stored under this key, or make and store it."""
        if key not in self._results:
            self._results[key] = make()
        return self._results[key]

    def read(self, config: Config, name: str, labels: Sequence[str] | None = None) -> Manifest:
        """Read a manifest and apply the cohort; without ``labels`` the findings are the config's, or inferred."""
        if config.data.columns.split is not None and name == TEST_ROWS:
            return self._divided(config, labels)["test"]
        path, data = manifest_path(config, name), config.data
        _check_folder(config, path)
        key = repr((str(path), data.columns, data.labels, data.cohort, labels, config.training.target_labels))
        return self.memo(key, lambda: read_copy(path, lambda: read_cohort(path, config, labels)))

    def training(self, config: Config, labels: Sequence[str] | None = None) -> list[Manifest]:
        """Return the training manifest, and the validation manifest if it is used."""
        if config.data.columns.split is not None:
            parts, options = self._divided(config, labels), config.data.auto_split
            return [
                parts[role] for role in ("train", "val") if role in parts and (role == "train" or not options.enabled)
            ]
        train = self.read(config, config.data.train_manifest, labels)
        if uses_auto_split(config):
            return [train]
        return [train, self.read(config, config.data.val_manifest, train.labels)]

    def roles(self, config: Config, labels: Sequence[str] | None = None) -> list[str]:
        """List the splits that a config's split column names; none where its table cannot be read."""
        try:
            return list(self._divided(reference_config(config), labels))
        except ManifestError:
            return []

    def _divided(self, config: Config, labels: Sequence[str] | None) -> dict[str, Manifest]:
        """Return the rows of the training manifest by the split column."""
        column, table = config.data.columns.split, self.read(config, config.data.train_manifest, labels)
        assert column is not None
        return self.memo(("divided", id(table), column), lambda: divide_by_column(table, column))

    def split_fold(self, config: Config, manifests: list[Manifest]) -> tuple[Manifest, Manifest]:
        """Join manifests and return the rows outside and inside the config's fold."""
        options = config.data.kfold
        assert options.folds is not None
        count, seed = options.folds, FOLD_SEED if options.seed is None else options.seed
        ids = tuple(map(id, manifests))
        pool = self.memo(("pool", ids), lambda: join_manifests(manifests))
        key = (ids, count, options.group, seed)
        folds = self.memo(("folds", key), lambda: assign_folds(pool, count, options.group, seed=seed))
        return self.memo(("fold", key, options.fold), lambda: split_by_fold(pool, folds, options.fold))

    def auto_split(self, config: Config, manifest: Manifest) -> tuple[Manifest, Manifest]:
        """Split a validation share off a manifest by the auto_split rules."""
        options, seed = config.data.auto_split, config.utils.seed
        key = ("split", id(manifest), repr(options), seed)
        return self.memo(key, lambda: split_by_group(manifest, options, seed))

    def order(self, config: Config, manifest: Manifest, side: int) -> DrawingOrder:
        """Return the order in which budgets take the units of a side (0 training, 1 validation)."""
        unit, seed, draw = config.data.budget_unit, _budget_seed(config), config.data.budget_draw
        key = ("order", id(manifest), unit, seed, side, draw)  # the order holds the manifest, so no other gets its id
        return self.memo(key, lambda: DrawingOrder(manifest, unit, seed, side, draw))


def make_splits(config: Config, labels: Sequence[str] | None = None, cache: ManifestCache | None = None) -> Splits:
    """Read, join and divide the training and validation manifests of a config.

    Args:
        labels: the findings, in their order; by default those of the config or of the training manifest.
        cache: manifests that other configs have read already.

    Raises:
        ManifestError: a manifest or selection is missing, breaks its contract, or lacks a volume.
        ConfigError: there is no such fold, or the budget is not possible.
    """
    cache = cache or ManifestCache()
    manifests = cache.training(config, labels)
    if config.data.reference is not None:
        reference = make_splits(reference_config(config), manifests[0].labels, cache)
        pool = join_manifests(manifests)
        train, val = (select_volumes(pool, side.volumes) for side in (reference.train, reference.val))
        return dataclasses.replace(reference, train=train, val=val)  # a held-out fold keeps the reference's labels
    warnings = [text for manifest in manifests for text in manifest.warnings]
    warnings += _warn_missing_validation(config, len(manifests) == 1, manifests[0])
    fixes = unused_split(manifests) if config.data.columns.split is None else {}
    warnings += fixes
    selection = _read_selection(config)
    rest, fold = _split_fold(config, manifests, selection, cache)
    if selection is not None:
        train, val = apply_selection(selection, rest)
    else:
        train, val = rest if len(rest) == 2 else cache.auto_split(config, rest[0])
        train, val, budget_warnings = _apply_budget(config, train, val, cache)
        warnings += budget_warnings
    return Splits(train, val, fold, _selection(config, train, val, fold), warnings, fixes)


def reference_config(config: Config) -> Config:
    """Return the config of ``data.reference``, whose volumes and test labels are used; without one, the same."""
    if config.data.reference is None:
        return config
    reference = config.copy()
    reference.paths.manifest_dir, reference.data.reference = config.data.reference, None
    return reference


def _warn_missing_validation(config: Config, is_missing: bool, train: Manifest) -> list[str]:
    options, column = config.data.auto_split, config.data.columns.split
    if options.enabled is not None or not is_missing or config.data.kfold.folds is not None:
        return []
    what = f"Validation manifest {config.data.val_manifest} does not exist"
    if column is not None:
        what = f"Column {column!r} of {train.path.name} has no validation rows"
    return [
        f"{what}: {options.val_fraction:g} of the {options.group}s of {train.name} are used for validation instead."
    ]


def _read_selection(config: Config) -> Selection | None:
    if config.data.selection is None:
        return None
    path = check_allowed(config.data.selection)
    return choose_selection(path, read_selections(path), config.data.budget, _budget_seed(config))


def _budget_seed(config: Config) -> int:
    return config.utils.seed if config.data.budget_seed is None else config.data.budget_seed


def _split_fold(
    config: Config, manifests: list[Manifest], selection: Selection | None, cache: ManifestCache
) -> tuple[list[Manifest], Manifest | None]:
    """Return the manifests to divide further, and the held-out fold, as in the selection if it has one."""
    if config.data.kfold.folds is None:
        return manifests, None
    if selection is not None and len(selection.test):
        rest = join_manifests(manifests)
        fold = select_volumes(rest, selection.test)
    else:
        rest, fold = cache.split_fold(config, manifests)
    return [rest], dataclasses.replace(fold, name=fold_name(config))


def _apply_budget(
    config: Config, train: Manifest, val: Manifest, cache: ManifestCache
) -> tuple[Manifest, Manifest, list[str]]:
    if config.data.budget is None:
        return train, val, []
    rows = draw_rows(cache.order(config, train, 0), cache.order(config, val, 1), config.data.budget)
    train, val = train.select(rows[0]), val.select(rows[1])
    return train, val, _warn_one_class(config, train)


def _warn_one_class(config: Config, train: Manifest) -> list[str]:
    """Name the findings that a budget's training rows cannot teach, and the ways out."""
    drawn = f"the budget of {config.data.budget} {config.data.budget_unit}s"
    advice = "Raise data.budget" + (
        ", or set data.budget_draw=covering, which shifts prevalence." if config.data.budget_draw == "random" else "."
    )
    texts = []
    for kind, absent in (("positive", 0.0), ("negative", 1.0)):
        names = [label for label, share in train.prevalence().items() if share == absent]
        if names:
            texts.append(
                f"No {kind} in training, in {drawn}: {', '.join(names)}; their scores are not learned. {advice}"
            )
    return texts


def _selection(config: Config, train: Manifest, val: Manifest, fold: Manifest | None) -> Selection | None:
    data = config.data
    if data.budget is None and data.selection is None and fold is None:
        return None
    units = len(set(units_of(train, data.budget_unit)) | set(units_of(val, data.budget_unit)))
    test = [] if fold is None else [fold.volumes]
    return Selection(data.budget or units, _budget_seed(config), train.volumes, val.volumes, *test)


def uses_auto_split(config: Config) -> bool:
    """Return whether the validation rows are split off the training manifest."""
    enabled = config.data.auto_split.enabled
    return not manifest_path(config, config.data.val_manifest).is_file() if enabled is None else enabled


def fold_name(config: Config) -> str:
    """Return the name of a K-fold config's held-out rows as a test set: fold_0, fold_1 ..."""
    return f"fold_{config.data.kfold.fold}"


def read_training_manifests(config: Config) -> tuple[dict[str, Manifest], list[str]]:
    """Return the training and validation rows of a config by split name, and warnings; errors as `make_splits`."""
    splits = make_splits(config)
    return {"train": splits.train, "val": splits.val}, splits.warnings


def list_test_sets(
    config: Config, files_only: bool = False, cache: ManifestCache | None = None, labels: Sequence[str] | None = None
) -> list[str]:
    """List a config's test sets: data.test_manifests, or else its fold, or else its split column, or else the usual files that exist.

    Args:
        cache, labels: where the test sets are read afterwards, as `read_test_manifests`: a table is then read once for both.
    """
    folds = config.data.kfold.folds is not None
    if config.data.test_manifests is not None:
        return [name for name in config.data.test_manifests if not (files_only and folds and name == fold_name(config))]
    if folds:
        return [] if files_only else [fold_name(config)]
    if config.data.columns.split is not None:
        if cache is not None:
            roles = cache.roles(config, labels)
        else:
            table = manifest_path(reference_config(config), config.data.train_manifest)
            roles = read_roles(table, config.data.columns.split)
        return [TEST_ROWS] if "test" in roles else []
    return [name for name in DEFAULT_TESTS if manifest_path(reference_config(config), name).is_file()]


def read_test_manifests(
    config: Config, labels: Sequence[str], names: Sequence[str] | None = None, cache: ManifestCache | None = None
) -> dict[str, Manifest]:
    """Read test sets by name, by default those of `list_test_sets`.

    Raises:
        ManifestError: a manifest is missing, or two have the same file name.
    """
    cache = cache or ManifestCache()
    names = names if names is not None else list_test_sets(config)
    stems = [Path(name).stem for name in names]
    repeated = sorted({name for name, stem in zip(names, stems) if stems.count(stem) > 1})
    if repeated:
        raise ManifestError(
            f"Test manifests {', '.join(repeated)} would overwrite each other's results. Rename one of them."
        )
    return {Path(name).name: _read_test(config, name, labels, cache) for name in names}


def _read_test(config: Config, name: str, labels: Sequence[str], cache: ManifestCache) -> Manifest:
    if config.data.kfold.folds is not None and name == fold_name(config):
        fold = make_splits(config, labels, cache).fold
        assert fold is not None
        return fold
    return cache.read(reference_config(config), name, labels)


def pack_cache(config: Config) -> Path:
    """Return the folder of the packed stores, and of copies of URLs."""
    return Path(config.paths.cache_dir or Path(config.paths.outputs_root) / ".packed")


def manifest_path(config: Config, name: str) -> Path:
    """Return the path of a manifest: in paths.manifest_dir, or its own absolute path; that of a URL is its copy."""
    folder = config.paths.manifest_dir
    if not is_url(name) and (not is_url(folder) or Path(name).is_absolute()):
        return check_allowed(Path(folder) / name)
    url = name if is_url(name) else f"{folder.rstrip('/')}/{name}"
    return copy_manifest(check_url(url), check_allowed(pack_cache(config)))


def _check_folder(config: Config, path: Path) -> None:
    """Name the folder of the manifests as what is wrong, where a manifest in it is missing because it is none.

    Raises:
        ManifestError: it is not a folder.
    """
    folder = config.paths.manifest_dir
    if not is_url(folder) and path.is_relative_to(own := check_allowed(Path(folder))) and not own.is_dir():
        raise ManifestError(
            f"{path} does not exist: paths.manifest_dir is {folder!r}, which is not a folder. Correct its name, or choose "
            "the folder of the manifests."
        )


def check_paths(config: Config) -> None:
    """Refuse folders, files and URLs of a config that lie outside CTBENCH_ROOTS, and URLs with passwords; defaults are not checked.

    Raises:
        PathError: one lies outside, or a name cannot be that of a file or folder on every system.
    """
    for name, value in changed_keys(config).items():
        if value and KEYS[name].raw and not name.endswith("_manifest"):  # those are names in paths.manifest_dir
            check_place(value)
    if isinstance(rename := config.data.labels.rename, str) and not rename.startswith("@"):
        check_allowed(rename)
    for source in filter(is_root, config.data.per_finding.values()):
        check_place(source)
    if not config.paths.job_base_dir:
        safe_name(config.job_name, "job_name", Path(config.paths.outputs_root))
    safe_name(config.evaluation.checkpoint_name, "evaluation.checkpoint_name")
    tests = [Path(name).stem for name in config.data.test_manifests or ()]  # each names a folder of results
    for name in tests:
        safe_name(name, "A name in data.test_manifests")
    require_distinct(tests, "data.test_manifests")


def find_leaks(config: Config, manifests: dict[str, Manifest]) -> tuple[dict[str, list[str]], list[str]]:
    """Find shared patients, of validation with training and of tests with both: by split, and as warnings.

    Raises:
        LeakError: there are any, and ``data.on_leak`` is refuse.
    """
    leaks, warnings = {}, []
    for name, manifest in manifests.items():
        earlier = {"train": [], "val": ["train"]}.get(name, ["train", "val"])
        others = [manifests[other] for other in earlier if other in manifests]
        shared = shared_patients(manifest, others)
        if shared:
            leaks[name] = shared
            warnings.append(
                f"Leak: patients of {manifest.name} are also in {' or '.join(other.name for other in others)}: "
                f"{first_rows(shared, 'patient')}. Its metrics carry a mark."
            )
    if leaks and config.data.on_leak == "refuse":
        fixes = [Fix("Mark the results instead", {"data.on_leak": "mark"})]
        if "val" in leaks:
            fixes.insert(0, Fix("Split training by patient", {"data.auto_split.enabled": True}))
        raise LeakError(
            f"{' '.join(warnings)} data.on_leak=refuse forbids this: split by patient, or set data.on_leak=mark.",
            fixes=fixes,
        )
    return leaks, warnings
