"""Pairs to align: those of a manifest, or of bare arrays, and what makes a hit.

MERGED: What browsing an alignment shows of each volume: who it is, its findings, and its report's text.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.config import Config
from ctbench_core.dataset import load_inputs, manifest_path
from ctbench_core.errors import FeatureError, ManifestError
from ctbench_core.features import Features, check_allowed, require_usable
from ctbench_core.manifest import Manifest, apply_cohort, read_manifest
from ctbench_core.progress import Progress


@dataclass(frozen=True)
class Pairs:
    """N image-text pairs: distinct vectors, the rows that use them, and who belongs to whom."""

    name: str
    image: np.ndarray
    text: np.ndarray
    image_rows: np.ndarray
    text_rows: np.ndarray
    groups: np.ndarray
    label_groups: np.ndarray | None
    volumes: np.ndarray
    warnings: list[str]
    manifest: Manifest | None = None


def read_arrays(path: Path) -> Pairs:
    """Read pairs from one .npz of ``image`` and ``text`` arrays, each of shape (N, D).

    Raises:
        FeatureError: the file is missing or unreadable, or the arrays do not pair.
    """
    if not check_allowed(path).is_file():
        raise FeatureError(f"Embeddings {path} do not exist. Give an .npz with arrays image and text.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            image, text = (np.asarray(arrays[name], dtype=np.float32) for name in ("image", "text"))
    except (OSError, ValueError, KeyError) as error:
        raise FeatureError(
            f"{path} cannot be read as pairs: {error}. Expected an .npz with number arrays image and text."
        ) from error
    if image.ndim != 2 or image.shape != text.shape or not len(image):
        raise FeatureError(f"{path}: image is {image.shape} and text {text.shape}; both must be (N, D) and alike.")
    if not (np.isfinite(image).all() and np.isfinite(text).all()):
        raise FeatureError(f"{path} holds values that are NaN or infinite.")
    rows = np.arange(len(image))
    return Pairs(path.stem, image, text, rows, rows, rows, None, rows.astype(str), [])


def read_pairs(config: Config, progress: Progress) -> Pairs:
    """Read the pairs of ``data.train_manifest``: volumes, their reports, and what makes a hit.

    Raises:
        InputError: the manifest has no text column, a feature file is unusable, or no row is left.
    """
    manifest = paired_manifest(config)
    image = _features(config, manifest, "visual", progress)
    text = _features(config, manifest, "text", progress)
    if image.dim != text.dim:
        raise FeatureError(
            f"{manifest.path}: visual features are {image.dim} wide and text features {text.dim}; similarity needs one space."
        )
    usable = (image.rows >= 0) & (text.rows >= 0)
    warnings = list(manifest.warnings)
    if not usable.all():
        warnings.append(f"{manifest.name}: {int((~usable).sum())} rows left out for unusable features.")
    kept = manifest.select(usable)
    image_rows, text_rows = image.rows[usable], text.rows[usable]
    groups = _truth(kept, config.analysis.truth, text, text_rows)
    semantic = _label_groups(kept) if kept.labels and config.analysis.truth != "labels" else None
    return Pairs(
        manifest.name, image.matrix, text.matrix, image_rows, text_rows, groups, semantic, kept.volumes, warnings, kept
    )


def paired_manifest(config: Config) -> Manifest:
    """Read the cohort of ``data.train_manifest``: volumes with their reports.

    Raises:
        InputError: the manifest is unusable or has no text column, or no row is left.
    """
    wanted = config.training.target_labels or config.data.columns.labels
    path = manifest_path(config, config.data.train_manifest)
    manifest = read_manifest(path, config.data.columns, wanted, require_labels=False)
    manifest = apply_cohort(manifest, config.data.cohort)
    if manifest.text_paths is None:
        raise ManifestError(
            f"{path} has no column {config.data.columns.text_feature!r}, so there is no text to align with. "
            "Add it, or name the column in data.columns.text_feature."
        )
    if config.analysis.truth == "labels" and not manifest.labels:
        raise ManifestError(f"{path} has no label column, which analysis.truth=labels needs.")
    return _abnormal(manifest) if config.analysis.filter_normal_cases else manifest


def _features(config: Config, manifest: Manifest, kind: str, progress: Progress) -> Features:
    features = load_inputs(config, {manifest.name: manifest}, progress, kinds=[kind])[kind]
    if config.data.on_bad_feature == "fail":
        require_usable(features, f"Feature root {config.paths.data_root}", manifest.places())
    return features


def _abnormal(manifest: Manifest) -> Manifest:
    abnormal = np.nansum(manifest.targets, axis=1) > 0
    if not abnormal.any():
        raise ManifestError(f"{manifest.path}: analysis.filter_normal_cases leaves no row; no volume has a finding.")
    return manifest.select(abnormal)


def _truth(manifest: Manifest, truth: str, text: Features, text_rows: np.ndarray) -> np.ndarray:
    """Return one group a sample: a report of the same group is a hit."""
    if truth == "labels":
        return _label_groups(manifest)
    if truth == "text":
        # Reports count as identical when their embeddings are, bit for bit.
        return np.unique(text.matrix, axis=0, return_inverse=True)[1].reshape(-1)[text_rows]
    return manifest.exams if truth == "exam" else manifest.patients


def _label_groups(manifest: Manifest) -> np.ndarray:
    return np.unique(np.nan_to_num(manifest.targets, nan=-1), axis=0, return_inverse=True)[1].reshape(-1)


# A column of words this long on average is a report's text.
_WORDS, _LOOKED_AT = 5, 200
TEXT_PREFIX, LABEL_PREFIX = "text_", "target_"


def report_columns(manifest: Manifest) -> list[str]:
    """Name the columns of running text: some words a cell on average, and neither id, path nor finding."""
    taken = {"volumename", *manifest.labels}
    names = [name for name in manifest.frame.columns if name not in taken and not name.endswith(("_id", "_path"))]
    return [name for name in names if _is_text(manifest.frame[name])]


def _is_text(column: pd.Series) -> bool:
    filled = column[column.str.strip() != ""].drop_duplicates().head(_LOOKED_AT)
    return bool(len(filled)) and float(filled.str.split().str.len().mean()) >= _WORDS


def samples_of(manifest: Manifest) -> pd.DataFrame:
    """Return a row a volume: volumename, exam, patient, target_<finding> (0, 1, null), text_<column>."""
    columns = {"volumename": manifest.volumes, "exam": manifest.exams, "patient": manifest.patients}
    frame = pd.DataFrame({name: values.astype(str) for name, values in columns.items()})
    for place, label in enumerate(manifest.labels):
        frame[f"{LABEL_PREFIX}{label}"] = pd.array(manifest.targets[:, place], dtype="Float32").astype("Int8")
    for name in report_columns(manifest):
        frame[f"{TEXT_PREFIX}{name}"] = manifest.frame[name].to_numpy()
    return frame
