"""From manifests to one matrix: features loaded, unusable rows dropped or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError, FeatureError, ManifestError, first_rows
from ctbench_core.features import Features, load_features, pack_folder, require_usable
from ctbench_core.manifest import Manifest, Selection
from ctbench_core.progress import Progress


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
        widths: of the inputs that lie side by side in a row of ``matrix``, visual first.
        selection: the volumes by role, where a budget, fold or selection file chose them.
    """

    manifests: dict[str, Manifest]
    matrix: np.ndarray
    rows: dict[str, np.ndarray]
    digest: str
    dropped: dict[str, list[str]] = field(default_factory=dict)
    leaks: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    selection: Selection | None = None
    widths: list[int] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What was decided for the user: inferred findings, visual-only."""
        return self.manifests["train"].notes if "train" in self.manifests else []

    def inputs(self, split: str) -> np.ndarray:
        """Return the input vectors of a split, float32 of shape (N, D)."""
        return self.matrix[self.rows[split]]


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
        refuse_unusable(config, manifests, inputs)
    matrix, rows = join_inputs(config, inputs)
    dataset = Dataset({}, matrix, {}, digest_of(inputs), widths=[part.dim for part in inputs.values()])
    starts = np.cumsum([0, *(len(m) for m in manifests.values())])
    for start, (name, manifest) in zip(starts, manifests.items()):
        add_split(dataset, name, manifest, rows[start : start + len(manifest)])
    return dataset


def join_inputs(config: Config, inputs: dict[str, Features]) -> tuple[np.ndarray, np.ndarray]:
    """Lay the inputs side by side and scale them: matrix (M, D), and each sample's row (N,), -1 where unusable."""
    parts = list(inputs.values())
    rows, matrix = _joined(parts)
    if config.data.standardise == "l2":
        norms = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
        matrix = (matrix / np.where(norms == 0, 1, norms)).astype(np.float32)
    check_width(config, matrix)
    return matrix, rows


def digest_of(inputs: dict[str, Features], samples: np.ndarray | None = None) -> str:
    """Return the digest of the vectors of all samples, or of some, in their order."""
    parts = [part.digest if samples is None else part.digest_of(part.rows[samples]) for part in inputs.values()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def check_width(config: Config, matrix: np.ndarray) -> None:
    """Refuse features of another width than the config expects.

    Raises:
        ConfigError: they are.
    """
    expected = config.model.params.in_features
    if expected is not None and expected != matrix.shape[1]:
        raise ConfigError(
            f"model.params.in_features is {expected}, but the features are {matrix.shape[1]} wide. "
            "Correct it, or leave it out to infer it."
        )


def pack_cache(config: Config) -> Path:
    """Return the folder of the packed stores."""
    return Path(config.paths.cache_dir or Path(config.paths.outputs_root) / ".packed")


def pack_folders(config: Config, cache: Path | None = None) -> list[Path]:
    """Return the folders, present or not, of the packed stores of a config's features: visual, text."""
    root = Path(config.paths.data_root).expanduser()
    place = pack_cache(config) if cache is None else cache
    return [pack_folder(place, root, kind, config.data.feature_key, config.data.pool) for kind in ("visual", "text")]


def feature_kinds(config: Config) -> list[str]:
    """Name the kinds of vectors that the head reads."""
    both = ["visual", "text"]
    return {"visual": ["visual"], "text": ["text"], "concat": both, "gated": both}[config.model.inputs]


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


def refuse_unusable(config: Config, manifests: dict[str, Manifest], inputs: dict[str, Features]) -> None:
    """Name every unusable file with the manifests' lines that use it.

    Raises:
        FeatureError: there is one.
    """
    for features in inputs.values():
        if features.problems:
            lines = [place for manifest in manifests.values() for place in manifest.places()]
            require_usable(features, f"Feature root {config.paths.data_root}", lines)


def _joined(parts: list[Features]) -> tuple[np.ndarray, np.ndarray]:
    """Join the inputs side by side: rows (N,), -1 where any part is unusable, and matrix (M, D)."""
    if len(parts) == 1:
        return parts[0].rows, parts[0].matrix
    usable = np.all([part.rows >= 0 for part in parts], axis=0)
    rows = np.full(len(usable), -1, dtype=np.int64)
    pairs, rows[usable] = np.unique(np.stack([part.rows[usable] for part in parts]), axis=1, return_inverse=True)
    return rows, np.concatenate([part.matrix[index] for part, index in zip(parts, pairs)], axis=1)


def add_split(dataset: Dataset, name: str, manifest: Manifest, rows: np.ndarray) -> None:
    """Add a split to a dataset, without the rows (-1) that have no usable features.

    Raises:
        FeatureError: no row has any.
    """
    usable = rows >= 0
    if not usable.any():
        raise FeatureError(f"{manifest.path}: no row has usable features.")
    if not usable.all():
        dropped = manifest.volumes[~usable].tolist()
        dataset.dropped[name] = dropped
        dataset.warnings.append(f"{manifest.name}: {first_rows(dropped, len(dropped))} left out for unusable features.")
    dataset.manifests[name] = manifest.select(usable)
    dataset.rows[name] = rows[usable]
