"""Divide a manifest into parts, a validation share or K folds: whole groups, each finding as common in every part.

Iterative stratification (Sechidis et al., ECML PKDD 2011) counts each group once. Patients have 1 to 32 volumes, so
the prevalences of volumes still differ: on the 1,304 validation patients of CT-RATE, five folds of the package
`iterative-stratification` were up to 3.6 points off. Here each group counts with its volumes, and the largest gap is
0.5 points.

Folds can be written to a file, so that all label sources use the same ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_csv
from ctbench_core.config import AutoSplitConfig
from ctbench_core.errors import ConfigError, ManifestError, first_rows
from ctbench_core.manifest.manifest import PER_ROW, VOLUME, Manifest, clean_names
from ctbench_core.tables import read_table

FOLD = "fold"


def units_of(manifest: Manifest, unit: str) -> np.ndarray:
    """Return the name of each volume's patient, exam, or itself (volume, none), shape (N,)."""
    return {"patient": manifest.patients, "exam": manifest.exams}.get(unit, manifest.volumes)


def split_by_group(manifest: Manifest, options: AutoSplitConfig, seed: int) -> tuple[Manifest, Manifest]:
    """Divide a manifest into training and validation rows, whole groups only; the share is of the groups.

    Raises:
        ManifestError: fewer than two groups.
    """
    codes, names = pd.factorize(pd.Series(units_of(manifest, options.group)), sort=True)
    count = len(names)
    if count < 2:
        raise ManifestError(
            f"{manifest.place}: cannot split {count} {options.group} into training and validation; at least 2 are "
            "needed. Give a larger manifest, or a validation manifest as data.val_manifest."
        )
    val_size = min(max(round(options.val_fraction * count), 1), count - 1)
    rng = np.random.default_rng([seed if options.seed is None else options.seed, count])
    parts = _assign_groups(manifest, codes, np.array([count - val_size, val_size]), options.stratify, rng)
    return manifest.select(parts[codes] == 0), manifest.select(parts[codes] == 1)


def split_by_fold(manifest: Manifest, folds: np.ndarray, fold: int) -> tuple[Manifest, Manifest]:
    """Return the rows outside a fold and those inside it.

    Raises:
        ConfigError: there is no such fold.
    """
    count = int(folds.max()) + 1
    if not 0 <= fold < count:
        raise ConfigError(f"Fold {fold} does not exist: {count} folds are numbered 0 to {count - 1}.")
    return manifest.select(folds != fold), manifest.select(folds == fold)


def assign_folds(
    manifest: Manifest,
    count: int = 5,
    group: Literal["patient", "exam", "none"] = "patient",
    stratify: bool = True,
    seed: int = 42,
) -> np.ndarray:
    """Assign each volume to a fold, 0 to K - 1, int64 of shape (N,); folds differ by one group at most.

    Raises:
        ConfigError: fewer than two folds.
        ManifestError: fewer groups than folds.
    """
    if count < 2:
        raise ConfigError(f"data.kfold.folds is {count}; expected at least 2, usually 5.")
    codes, names = pd.factorize(pd.Series(units_of(manifest, group)), sort=True)
    if len(names) < count:
        raise ManifestError(
            f"{manifest.place}: {len(names)} {group} groups cannot fill {count} folds. Lower data.kfold.folds."
        )
    sizes = np.full(count, len(names) // count) + (np.arange(count) < len(names) % count)
    rng = np.random.default_rng([seed, len(names), count])
    return _assign_groups(manifest, codes, sizes, stratify, rng)[codes]


def _assign_groups(
    manifest: Manifest, codes: np.ndarray, sizes: np.ndarray, stratify: bool, rng: np.random.Generator
) -> np.ndarray:
    """Assign G groups to parts of exactly the given sizes, int64 of shape (G,).

    When stratified, groups come roughly largest first, and each goes to the part that is furthest below its share of
    this group's volumes, positives and negatives (greedy least squares). Unknown labels count for neither class.

    Args:
        codes: each volume's group, 0 to G - 1, shape (N,).
        sizes: groups of each part, adding up to G.
    """
    count = int(sizes.sum())
    if not stratify:
        return np.repeat(np.arange(len(sizes)), sizes)[rng.permutation(count)]
    counts = _group_counts(manifest, codes, count)
    weights = 1 / np.maximum(counts.sum(axis=0), 1)
    size = (counts**2 * weights).sum(axis=1)
    # Jittered, so that seeds differ in more than which of two equal patients goes where.
    order = np.argsort(-size * rng.uniform(0.5, 1, count))
    return _fill_parts(counts, weights, order, sizes)


def _group_counts(manifest: Manifest, codes: np.ndarray, count: int) -> np.ndarray:
    """Count each group's volumes, positives and negatives of each finding, float64 of shape (G, 1 + 2C)."""
    targets = manifest.targets
    counts = np.zeros((count, 1 + 2 * targets.shape[1]))
    np.add.at(counts, codes, np.c_[np.ones(len(codes)), targets == 1, targets == 0])
    return counts


def _fill_parts(counts: np.ndarray, weights: np.ndarray, order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    share = sizes / sizes.sum()
    surplus = -np.outer(share, counts.sum(axis=0))  # (parts, 1 + 2C), zero when a part has its share
    left = sizes.astype(np.int64)
    parts = np.empty(len(counts), dtype=np.int64)
    for group in order:
        weighted = weights * counts[group]
        cost = (2 * surplus @ weighted + weighted @ counts[group]) / share
        part = int(np.where(left > 0, cost, np.inf).argmin())
        parts[group] = part
        surplus[part] += counts[group]
        left[part] -= 1
    return parts


def write_folds(path: Path, manifest: Manifest, folds: np.ndarray) -> None:
    """Write a CSV of volumename and fold, one row a volume."""
    write_csv(path, pd.DataFrame({VOLUME: manifest.volumes, FOLD: folds}))


def read_folds(path: Path, manifest: Manifest) -> np.ndarray:
    """Read the fold of each volume of a manifest, int64 of shape (N,).

    Raises:
        ManifestError: the file is unreadable, or a volume of the manifest has no fold or two.
    """
    frame, _ = read_table(Path(path))
    if not {VOLUME, FOLD} <= set(frame.columns):
        raise ManifestError(f"Fold table {path} needs the columns {VOLUME} and {FOLD}; it has {', '.join(frame)}.")
    values = pd.to_numeric(frame[FOLD], errors="coerce")
    bad = frame.index[~(values.ge(0) & values.mod(1).eq(0))].to_numpy() + 2
    if len(bad):
        raise ManifestError(f"Fold table {path}: expected folds 0, 1, 2 ..., other values on line {first_rows(bad)}.")
    folds = pd.Series(values.to_numpy(dtype=np.int64), index=clean_names(frame[VOLUME]))
    repeated = folds.index[folds.index.duplicated()]
    if len(repeated):
        raise ManifestError(f"Fold table {path}: duplicate {VOLUME} {first_rows(repeated)}. Keep one row a volume.")
    absent = manifest.volumes[~pd.Index(manifest.volumes).isin(folds.index)]
    if len(absent):
        raise ManifestError(
            f"Fold table {path} has no fold for {first_rows(absent, 'volume')} of {manifest.name}. "
            "Use the manifest that the folds were made from, or make new folds."
        )
    return folds.loc[manifest.volumes].to_numpy()


def join_manifests(manifests: Sequence[Manifest]) -> Manifest:
    """Stack manifests of the same findings into one, rows in their order.

    Raises:
        ManifestError: their findings differ, or they share a volume.
    """
    first, *others = manifests
    if not others:
        return first
    for other in others:
        if other.labels != first.labels:
            raise ManifestError(
                f"{first.name} and {other.name} cannot be joined: their findings differ "
                f"({', '.join(first.labels)} and {', '.join(other.labels)}). Set training.target_labels."
            )
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(manifest, name) for manifest in manifests]) for name in PER_ROW
    }
    repeated = columns["volumes"][pd.Series(columns["volumes"]).duplicated().to_numpy()]
    if len(repeated):
        raise ManifestError(
            f"{', '.join(m.name for m in manifests)} share volumes: {first_rows(repeated, 'volume')}. "
            "Keep each volume in one manifest."
        )
    texts = [manifest.text_paths for manifest in manifests if manifest.text_paths is not None]
    return dataclasses.replace(
        first,
        name=" + ".join(manifest.name for manifest in manifests),
        digest=hashlib.sha256("".join(manifest.digest for manifest in manifests).encode()).hexdigest(),
        text_paths=np.concatenate(texts) if len(texts) == len(manifests) else None,
        frame=pd.concat([manifest.frame for manifest in manifests], ignore_index=True).fillna(""),
        warnings=[text for manifest in manifests for text in manifest.warnings],
        **columns,
    )
