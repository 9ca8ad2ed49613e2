"""From a config to tensors: manifests read, split and checked, features loaded, bad rows dropped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctbench_core.config import DEFAULT_TESTS, Config, changed_keys
from ctbench_core.errors import ConfigError, FeatureError, LeakError, ManifestError, PathError, first_rows
from ctbench_core.features import Features, check_allowed, load_features, require_usable
from ctbench_core.manifest import Manifest, apply_cohort, read_manifest, shared_patients, split_by_group

Progress = Callable[[str, int, int], None]


@dataclass
class Dataset:
    """Splits that share one feature matrix.

    Attributes:
        manifests: by split name: train, val, or a test manifest's file name.
        matrix: float32, shape (M, D), distinct inputs.
        rows: by split name, int64 of shape (N,): positions in ``matrix``.
        dropped: by split name, the volumes left out for unusable features.
        leaks: by split name, patients that also stand in another given manifest.
        warnings: what may be wrong, one sentence each.
    """

    manifests: dict[str, Manifest]
    matrix: np.ndarray
    rows: dict[str, np.ndarray]
    digest: str
    dropped: dict[str, list[str]] = field(default_factory=dict)
    leaks: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What was decided for the user: inferred findings, visual-only."""
        return self.manifests["train"].notes if "train" in self.manifests else []

    def inputs(self, split: str) -> np.ndarray:
        """Return the input vectors of a split, float32 of shape (N, D)."""
        return self.matrix[self.rows[split]]


def read_training_manifests(config: Config) -> tuple[dict[str, Manifest], list[str]]:
    """Read (or split off) the training and validation manifests.

    Returns:
        The manifests by split name, and warnings.

    Raises:
        ManifestError: a manifest is missing or breaks the contract.
    """
    data = config.data
    train = _read(config, data.train_manifest, None)
    warnings = list(train.warnings)
    wants_split = data.auto_split.enabled
    if wants_split is None and not manifest_path(config, data.val_manifest).is_file():
        warnings.append(
            f"Validation manifest {data.val_manifest} does not exist: {data.auto_split.val_fraction:g} of the "
            f"{data.auto_split.group}s of {train.name} were split off instead."
        )
        wants_split = True
    if wants_split:
        train, val = split_by_group(train, data.auto_split, config.utils.seed)
        return {"train": train, "val": val}, warnings
    val = _read(config, data.val_manifest, train.labels)
    return {"train": train, "val": val}, warnings + val.warnings


def read_test_manifests(
    config: Config, labels: Sequence[str], names: Sequence[str] | None = None
) -> dict[str, Manifest]:
    """Read the test manifests: the named ones, else those of the usual names that exist.

    Raises:
        ManifestError: a named manifest is missing.
    """
    names = names if names is not None else config.data.test_manifests
    if names is None:
        names = [name for name in DEFAULT_TESTS if manifest_path(config, name).is_file()]
    stems = [Path(name).stem for name in names]
    twice = sorted({name for name, stem in zip(names, stems) if stems.count(stem) > 1})
    if twice:
        raise ManifestError(
            f"Test manifests {', '.join(twice)} would overwrite each other's results. Give them different names."
        )
    return {Path(name).name: _read(config, name, list(labels)) for name in names}


def check_places(config: Config) -> None:
    """Refuse folders and files outside CTBENCH_ROOTS that a config names; defaults are the machine's own.

    Raises:
        PathError: one lies outside, or a name climbs out of its folder.
    """
    for name, value in changed_keys(config).items():
        if value and (name.startswith("paths.") or name == "data.cohort.exclude"):
            check_allowed(value)
    for name in (config.job_name, config.evaluation.checkpoint_name):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise PathError(
                f"{name!r} leads out of its folder; give a plain name as job_name or evaluation.checkpoint_name."
            )


def manifest_path(config: Config, name: str) -> Path:
    """Return where a manifest lies: in paths.manifest_dir, or at its own absolute path."""
    return check_allowed(Path(config.paths.manifest_dir) / name)


def _read(config: Config, name: str, labels: list[str] | None) -> Manifest:
    wanted = labels or config.training.target_labels or config.data.columns.labels
    return apply_cohort(read_manifest(manifest_path(config, name), config.data.columns, wanted), config.data.cohort)


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


def load_dataset(
    config: Config,
    manifests: dict[str, Manifest],
    progress: Progress | None = None,
    inputs: dict[str, Features] | None = None,
) -> Dataset:
    """Load the features of all given splits into one matrix, and drop or refuse unusable rows.

    ``inputs``: what `load_inputs` gave for these manifests, where the caller has it.

    Raises:
        FeatureError: unusable feature files under ``data.on_bad_feature=fail``, or a split left empty.
    """
    inputs = inputs if inputs is not None else load_inputs(config, manifests, progress)
    if config.data.on_bad_feature == "fail":
        _require_usable(config, manifests, inputs)
    parts = list(inputs.values())
    rows, matrix = _joined(parts)
    if config.data.standardise == "l2":
        norms = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
        matrix = (matrix / np.where(norms == 0, 1, norms)).astype(np.float32)
    expected = config.model.params.in_features
    if expected is not None and expected != matrix.shape[1]:
        raise ConfigError(
            f"model.params.in_features is {expected}, but the features are {matrix.shape[1]} wide. "
            "Correct it, or leave it out to infer it."
        )
    digest = hashlib.sha256("".join(part.digest for part in parts).encode()).hexdigest()
    dataset = Dataset({}, matrix, {}, digest)
    starts = np.cumsum([0, *(len(m) for m in manifests.values())])
    for start, (name, manifest) in zip(starts, manifests.items()):
        _add_split(dataset, name, manifest, rows[start : start + len(manifest)])
    return dataset


def pack_cache(config: Config) -> Path:
    """Return the folder of the packed stores."""
    return Path(config.paths.cache_dir or Path(config.paths.outputs_root) / ".packed")


def feature_kinds(config: Config) -> list[str]:
    """Name the kinds of vectors that the head reads."""
    return {"visual": ["visual"], "text": ["text"], "concat": ["visual", "text"]}[config.model.inputs]


def load_inputs(
    config: Config,
    manifests: dict[str, Manifest],
    progress: Progress | None = None,
    *,
    kinds: Sequence[str] | None = None,
    mode: str = "auto",
) -> dict[str, Features]:
    """Load the features of all given splits, end to end, by kind: visual, text; unusable ones are only listed.

    Args:
        kinds: by default those that the head reads.
        mode: what becomes of the packed store, as in `load_features`.

    Raises:
        ManifestError: a manifest has no text column where text is read.
        FeatureError: not one file is usable.
    """
    return {kind: _load(config, manifests, kind, progress, mode) for kind in kinds or feature_kinds(config)}


def _load(config: Config, manifests: dict[str, Manifest], kind: str, progress: Progress | None, mode: str) -> Features:
    written = []
    for manifest in manifests.values():
        paths = manifest.visual_paths if kind == "visual" else manifest.text_paths
        if paths is None:
            raise ManifestError(
                f"{manifest.path} has no column {config.data.columns.text_feature!r}, which model.inputs={config.model.inputs} "
                "needs. Add it, or set model.inputs=visual."
            )
        written.append(paths)
    return load_features(
        config.paths.data_root,
        np.concatenate(written).tolist(),
        ids=np.concatenate([manifest.volumes for manifest in manifests.values()]).tolist(),
        key=config.data.feature_key,
        pool=config.data.pool,
        workers=config.training.num_workers,
        cache=pack_cache(config),
        name=kind,
        mode=mode,
        progress=None if progress is None else lambda done, total: progress(f"reading {kind} features", done, total),
    )


def _require_usable(config: Config, manifests: dict[str, Manifest], inputs: dict[str, Features]) -> None:
    for features in inputs.values():
        if features.problems:
            lines = [f"{manifest.name} line {line}" for manifest in manifests.values() for line in manifest.lines]
            require_usable(features, f"Feature root {config.paths.data_root}", lines)


def _joined(parts: list[Features]) -> tuple[np.ndarray, np.ndarray]:
    """Join the inputs side by side: rows (N,), -1 where any part is unusable, and matrix (M, D)."""
    if len(parts) == 1:
        return parts[0].rows, parts[0].matrix
    usable = np.all([part.rows >= 0 for part in parts], axis=0)
    rows = np.full(len(usable), -1, dtype=np.int64)
    pairs, rows[usable] = np.unique(np.stack([part.rows[usable] for part in parts]), axis=1, return_inverse=True)
    return rows, np.concatenate([part.matrix[index] for part, index in zip(parts, pairs)], axis=1)


def _add_split(dataset: Dataset, name: str, manifest: Manifest, rows: np.ndarray) -> None:
    usable = rows >= 0
    if not usable.any():
        raise FeatureError(f"{manifest.path}: no row has usable features.")
    if not usable.all():
        dropped = manifest.volumes[~usable].tolist()
        dataset.dropped[name] = dropped
        dataset.warnings.append(f"{manifest.name}: {first_rows(dropped, len(dropped))} left out for unusable features.")
    dataset.manifests[name] = manifest.select(usable)
    dataset.rows[name] = rows[usable]
