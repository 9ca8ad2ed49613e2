"""Load the features of manifests as one matrix, without the rows of unusable files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ctbench_core.config import Config
from ctbench_core.dataset.digests import digest_inputs
from ctbench_core.dataset.per_finding import finding_sources
from ctbench_core.dataset.splits import pack_cache
from ctbench_core.errors import ConfigError, FeatureError, ManifestError, first_rows
from ctbench_core.features import (
    FeatureMatrix,
    RunShards,
    load_features,
    local_place,
    pack_folder,
    reading_fixes,
    require_usable,
)
from ctbench_core.manifest import Manifest, Selection
from ctbench_core.progress import Progress

_CHUNK_ROWS = 8192


@dataclass
class Dataset:
    """Splits that share one feature matrix.

    Attributes:
        manifests: by split name: train, val, or a test manifest's file name.
        matrix: float32, shape (M, D), the distinct inputs.
        rows: by split name, int64 of shape (N,): positions in ``matrix``.
        prints: by kind (visual, text) and split name, uint64 of shape (N,): fingerprints of the vectors as read.
        dropped: by split name, the volumes skipped for unusable features.
        leaks: by split name, patients that are also in another manifest.
        warnings: what may be wrong, one sentence each.
        widths: of the inputs concatenated in a row of ``matrix``, visual first.
        selection: the volumes by role, where a budget, fold or selection file chooses them.
    """

    manifests: dict[str, Manifest]
    matrix: np.ndarray
    rows: dict[str, np.ndarray]
    prints: dict[str, dict[str, np.ndarray]]
    dropped: dict[str, list[str]] = field(default_factory=dict)
    leaks: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    selection: Selection | None = None
    widths: list[int] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """Return the defaults applied: inferred findings, visual-only."""
        return self.manifests["train"].notes if "train" in self.manifests else []

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digests of the inputs by what they are of: ``train.volumes``, ``train.labels``, ``findings``, ``features.visual``."""
        return digest_inputs(self.manifests, self.prints)

    def inputs(self, split: str) -> np.ndarray:
        """Return the input vectors of a split, float32 of shape (N, D)."""
        return self.matrix[self.rows[split]]

    def only(self, split: str) -> Dataset:
        """Return one split with its own vectors, so that a device need not hold those of the others."""
        rows = {split: np.arange(len(self.rows[split]))}
        return Dataset({split: self.manifests[split]}, self.inputs(split), rows, {}, widths=self.widths)


def load_dataset(
    config: Config,
    manifests: dict[str, Manifest],
    progress: Progress | None = None,
    inputs: dict[str, FeatureMatrix] | None = None,
) -> Dataset:
    """Load the features of all splits as one matrix, and skip or refuse unusable rows.

    Args:
        inputs: the result of `load_inputs` for these manifests, where the caller has it.

    Raises:
        FeatureError: unusable feature files under ``data.on_bad_feature=fail``, or a split without usable rows.
    """
    inputs = inputs if inputs is not None else load_inputs(config, manifests, progress)
    if config.data.on_bad_feature == "fail":
        refuse_unusable(config, manifests, inputs)
    matrix, rows = join_inputs(config, inputs)
    dataset = Dataset({}, matrix, {}, {kind: {} for kind in inputs}, widths=[part.dim for part in inputs.values()])
    starts = np.cumsum([0, *(len(m) for m in manifests.values())])
    for start, (name, manifest) in zip(starts, manifests.items()):
        add_split(dataset, name, manifest, np.arange(start, start + len(manifest)), rows, inputs)
    return dataset


def join_inputs(config: Config, inputs: dict[str, FeatureMatrix]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate and scale the inputs: matrix (M, D), and each sample's row (N,), -1 where unusable."""
    parts = list(inputs.values())
    rows, matrix = _concatenate(parts)
    if config.data.standardise == "l2":
        if config.data.per_finding:  # each vector by itself, as where it is read alone
            ends = np.cumsum([part.dim for part in parts])[:-1]
            matrix = np.concatenate([_unit(part) for part in np.split(matrix, ends, axis=1)], axis=1)
        else:
            matrix = _unit(matrix)
    check_width(config, matrix)
    return matrix, rows


def _unit(vectors: np.ndarray) -> np.ndarray:
    unit = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _CHUNK_ROWS):
        part = vectors[start : start + _CHUNK_ROWS].astype(np.float64)
        norms = np.linalg.norm(part, axis=1, keepdims=True)
        unit[start : start + _CHUNK_ROWS] = part / np.where(norms == 0, 1, norms)
    return unit


def check_width(config: Config, matrix: np.ndarray) -> None:
    """Refuse features of another width than ``model.params.in_features``."""
    expected = config.model.params.in_features
    if expected is not None and expected != matrix.shape[1]:
        raise ConfigError(
            f"model.params.in_features is {expected}, but the features have {matrix.shape[1]} dimensions. "
            "Correct it, or leave it empty to infer it."
        )


def pack_folders(config: Config, cache: Path | None = None) -> list[Path]:
    """Return the folders, present or not, of the packed stores of a config's features: visual, text."""
    cache = pack_cache(config) if cache is None else cache
    return [
        pack_folder(
            cache,
            local_place(own.paths.data_root, cache),
            kind,
            own.data.feature_key,
            own.data.pool,
            own.data.store_dtype,
        )
        for own in finding_sources(config).values()
        for kind in ("visual", "text")
    ]


def feature_kinds(config: Config) -> list[str]:
    """Name the kinds of vectors that the head reads."""
    return ["visual", "text"] if config.model.inputs in ("concat", "gated") else [config.model.inputs]


def load_inputs(
    config: Config,
    manifests: dict[str, Manifest],
    progress: Progress | None = None,
    *,
    kinds: Sequence[str] | None = None,
    mode: str = "auto",
    run_shards: RunShards | None = None,
) -> dict[str, FeatureMatrix]:
    """Load the features of all splits in one sequence, by kind: visual, text; unusable ones are only listed.

    Visual features that differ by finding have a kind each.

    Args:
        kinds: by default those that the head reads.
        mode, run_shards: whether to write a packed store and where its files are read, as in `load_features`.

    Raises:
        ManifestError: text is needed, but a manifest has no text column.
        FeatureError: no file is usable.
    """
    inputs: dict[str, FeatureMatrix] = {}
    for kind in kinds or feature_kinds(config):
        sources = finding_sources(config) if kind == "visual" else {kind: config}
        inputs |= {name: _load(own, manifests, kind, progress, mode, run_shards) for name, own in sources.items()}
    return inputs


def _load(
    config: Config,
    manifests: dict[str, Manifest],
    kind: str,
    progress: Progress | None,
    mode: str,
    run_shards: RunShards | None,
) -> FeatureMatrix:
    paths = []
    for manifest in manifests.values():
        column = manifest.visual_paths if kind == "visual" else manifest.text_paths
        if column is None:
            raise ManifestError(
                f"{manifest.place} has no column {config.data.columns.text_feature!r}, which model.inputs={config.model.inputs} "
                "needs. Add it, or set model.inputs=visual."
            )
        paths.append(column)
    return load_features(
        config.paths.data_root,
        np.concatenate(paths).tolist(),
        ids=np.concatenate([manifest.volumes for manifest in manifests.values()]).tolist(),
        key=config.data.feature_key,
        pool=config.data.pool,
        workers=config.training.num_workers,
        cache=pack_cache(config),
        name=kind,
        mode=mode,
        dtype=config.data.store_dtype,
        run_shards=run_shards,
        progress=None if progress is None else lambda done, total: progress(f"reading {kind} features", done, total),
    )


def refuse_unusable(config: Config, manifests: dict[str, Manifest], inputs: dict[str, FeatureMatrix]) -> None:
    """Refuse inputs with unusable files; the error names each with the manifest lines that use it."""
    for features in inputs.values():
        if features.problems:
            lines = [name for manifest in manifests.values() for name in manifest.row_names()]
            root, first = Path(config.paths.data_root), features.problems[0].path
            fixes = reading_fixes(root, first, config.data.feature_key, config.data.pool)
            require_usable(features, f"Feature root {root}", lines, fixes)


def _concatenate(parts: list[FeatureMatrix]) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate the inputs: rows (N,), -1 where any part is unusable, and matrix (M, D)."""
    if len(parts) == 1:
        return parts[0].rows, parts[0].matrix
    usable = np.all([part.rows >= 0 for part in parts], axis=0)
    rows = np.full(len(usable), -1, dtype=np.int64)
    pairs, rows[usable] = np.unique(np.stack([part.rows[usable] for part in parts]), axis=1, return_inverse=True)
    return rows, np.concatenate([part.matrix[index] for part, index in zip(parts, pairs)], axis=1)


def add_split(
    dataset: Dataset,
    name: str,
    manifest: Manifest,
    samples: np.ndarray,
    rows: np.ndarray,
    inputs: dict[str, FeatureMatrix],
) -> None:
    """Add a split to a dataset, without the rows of unusable features; one at least must be usable.

    Args:
        samples: the positions of the manifest's rows among all samples.
        rows: of all samples, positions in the dataset's matrix; -1 where unusable.
        inputs: the features of all samples by kind.
    """
    usable = rows[samples] >= 0
    if not usable.any():
        raise FeatureError(
            f"{manifest.place}: no row has usable features. Check paths.data_root and the feature paths."
        )
    if not usable.all():
        dropped = manifest.volumes[~usable].tolist()
        dataset.dropped[name] = dropped
        dataset.warnings.append(f"{manifest.name}: {first_rows(dropped, 'volume')} skipped for unusable features.")
        manifest, samples = manifest.select(usable), samples[usable]
    dataset.manifests[name], dataset.rows[name] = manifest, rows[samples]
    starts_with_zero = np.flatnonzero(dataset.matrix[rows[samples], 0] == 0)
    zero = starts_with_zero[~dataset.matrix[rows[samples][starts_with_zero]].any(axis=1)]
    if len(zero):
        volumes = first_rows(manifest.volumes[zero].tolist(), "volume")
        dataset.warnings.append(
            f"{manifest.name}: all-zero features of {volumes}. Check their export, or exclude them."
        )
    for kind, part in inputs.items():
        dataset.prints[kind][name] = part.sample_prints[samples]
