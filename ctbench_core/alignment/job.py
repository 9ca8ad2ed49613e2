"""Alignment of one manifest or of bare arrays, from a config to files in the run store."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ctbench_core.alignment.composition import HUB_DEPTH
from ctbench_core.alignment.engine import AlignmentResult, Extras, align, write_alignment
from ctbench_core.alignment.more import STORED
from ctbench_core.alignment.samples import samples_of
from ctbench_core.config import Config
from ctbench_core.errors import FeatureError, ManifestError
from ctbench_core.features import Features, check_allowed, require_usable
from ctbench_core.manifest import Manifest, apply_cohort, read_manifest
from ctbench_core.runs import RunPaths, new_status, run_paths, write_config, write_latest, write_status
from ctbench_core.train.data import load_inputs
from ctbench_core.train.splits import check_places, manifest_path
from ctbench_core.train.trainer import choose_device

Progress = Callable[[str, int, int], None]

# Nearest candidates a query that are listed for graded figures, at most.
MOST_LISTED = 100


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


def run_alignment(
    config: Config,
    *,
    embeddings: Path | str | None = None,
    run_dir: Path | None = None,
    cancel: threading.Event | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Measure alignment, write it to the run store, and return the `align` JSON of the contracts.

    Args:
        embeddings: an .npz with arrays ``image`` and ``text``, row i pairing with row i; by default
            the pairs of ``data.train_manifest``.
        run_dir: the run to store the result in; by default a new one of the config's job.

    Raises:
        InputError: the input is at fault; nothing has been written.
        Interrupted: ``cancel`` was set.
    """
    started = time.monotonic()
    check_places(config)
    pairs = read_arrays(Path(embeddings)) if embeddings is not None else read_pairs(config, progress)
    loaded = time.monotonic()
    result = align(
        pairs.image,
        pairs.text,
        pairs.groups,
        label_groups=pairs.label_groups,
        image_rows=pairs.image_rows,
        text_rows=pairs.text_rows,
        k=tuple(config.analysis.k),
        device=choose_device(config.utils.device),
        progress=progress,
        cancel=cancel,
        normal=_normal(pairs.manifest) if pairs.label_groups is not None else None,
        extras=_extras(config, pairs.manifest),
    )
    seconds = {"load": loaded - started, "align": time.monotonic() - loaded}
    paths = _store(config, run_dir, pairs, result)
    seconds["total"] = time.monotonic() - started
    extra = {"seconds": seconds, "peak_gib": peak_gib(), "run_dir": str(paths.root), "warnings": pairs.warnings}
    return result.metrics | extra


def _normal(manifest: Manifest | None) -> np.ndarray | None:
    return None if manifest is None else np.nansum(manifest.targets, axis=1) == 0


def _extras(config: Config, manifest: Manifest | None) -> Extras:
    depth = max((k for k in config.analysis.k if k <= MOST_LISTED), default=MOST_LISTED)
    extras = Extras(within=config.analysis.within, nearest=max(depth, HUB_DEPTH, STORED), map=config.analysis.map)
    if manifest is None:
        return extras
    extras = dataclasses.replace(extras, patients=manifest.patients)
    return dataclasses.replace(extras, targets=manifest.targets, names=manifest.labels) if manifest.labels else extras


def _store(config: Config, run_dir: Path | None, pairs: Pairs, result: AlignmentResult) -> RunPaths:
    paths = RunPaths(run_dir) if run_dir is not None else run_paths(config)
    if run_dir is None:
        write_config(paths.config, config)
        write_status(paths.status, new_status(f"alignment of {pairs.name}", kind="align"), state="running")
    samples = None if pairs.manifest is None else samples_of(pairs.manifest)
    write_alignment(paths.alignment(pairs.name), result, pairs.volumes, samples)
    if run_dir is None:
        write_status(paths.status, new_status(f"alignment of {pairs.name}", kind="align"), state="finished")
        write_latest(config, paths.root)
    return paths


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
    wanted = config.training.target_labels or config.data.columns.labels
    path = manifest_path(config, config.data.train_manifest)
    manifest = read_manifest(path, config.data.columns, wanted, require_labels=False)
    manifest = apply_cohort(manifest, config.data.cohort)
    if manifest.text_paths is None:
        raise ManifestError(
            f"{path} has no column {config.data.columns.text_feature!r}, so there is no text to align with. "
            "Add it, or name the column in data.columns.text_feature."
        )
    if config.analysis.filter_normal_cases:
        manifest = _abnormal(manifest)
    image = _features(config, manifest, "visual", progress)
    text = _features(config, manifest, "text", progress)
    if image.dim != text.dim:
        raise FeatureError(
            f"{path}: visual features are {image.dim} wide and text features {text.dim}; similarity needs one space."
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
        if not manifest.labels:
            raise ManifestError(f"{manifest.path} has no label column, which analysis.truth=labels needs.")
        return _label_groups(manifest)
    if truth == "text":
        # Reports count as identical when their embeddings are, bit for bit.
        return np.unique(text.matrix, axis=0, return_inverse=True)[1].reshape(-1)[text_rows]
    return manifest.exams if truth == "exam" else manifest.patients


def _label_groups(manifest: Manifest) -> np.ndarray:
    return np.unique(np.nan_to_num(manifest.targets, nan=-1), axis=0, return_inverse=True)[1].reshape(-1)


def peak_gib() -> float:
    """Return the largest memory this process has held so far, in GiB."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
