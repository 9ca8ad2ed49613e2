"""K folds of a manifest, whole patients each, kept in a file so that label sources use the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_text
from ctbench_core.errors import ConfigError, ManifestError, first_rows
from ctbench_core.manifest.identity import clean_names
from ctbench_core.manifest.manifest import Manifest
from ctbench_core.manifest.read import VOLUME
from ctbench_core.manifest.split import assign_groups, units_of
from ctbench_core.tables import read_table

FOLD = "fold"


def assign_folds(
    manifest: Manifest,
    folds: int = 5,
    group: Literal["patient", "exam", "none"] = "patient",
    stratify: bool = True,
    seed: int = 42,
) -> np.ndarray:
    """Assign each volume to a fold, 0 to K - 1, int64 of shape (N,); folds differ by one group at most.

    Raises:
        ConfigError: fewer than two folds.
        ManifestError: fewer groups than folds.
    """
    if folds < 2:
        raise ConfigError(f"{folds} folds were asked for; at least 2 are needed, 5 are usual.")
    codes, names = pd.factorize(pd.Series(units_of(manifest, group)), sort=True)
    if len(names) < folds:
        raise ManifestError(f"{manifest.path}: {len(names)} {group} groups cannot fill {folds} folds. Ask for fewer.")
    sizes = np.full(folds, len(names) // folds) + (np.arange(folds) < len(names) % folds)
    rng = np.random.default_rng([seed, len(names), folds])
    return assign_groups(manifest, codes, sizes, stratify, rng)[codes]


def hold_out(manifest: Manifest, assigned: np.ndarray, fold: int) -> tuple[Manifest, Manifest]:
    """Return the rows outside a fold and those inside it.

    Raises:
        ConfigError: there is no such fold.
    """
    count = int(assigned.max()) + 1
    if not 0 <= fold < count:
        raise ConfigError(f"Fold {fold} does not exist: {count} folds are numbered 0 to {count - 1}.")
    return manifest.select(assigned != fold), manifest.select(assigned == fold)


def write_folds(path: Path, manifest: Manifest, assigned: np.ndarray) -> None:
    """Write a CSV of volumename and fold, one row a volume."""
    write_text(path, pd.DataFrame({VOLUME: manifest.volumes, FOLD: assigned}).to_csv(index=False, lineterminator="\n"))


def read_folds(path: Path, manifest: Manifest) -> np.ndarray:
    """Read the fold of each volume of a manifest, int64 of shape (N,).

    Raises:
        ManifestError: the file is unreadable, or a volume of the manifest has no fold or two in it.
    """
    frame, _ = read_table(Path(path), kind="Fold table")
    if not {VOLUME, FOLD} <= set(frame.columns):
        raise ManifestError(f"Fold table {path} needs the columns {VOLUME} and {FOLD}; it has {', '.join(frame)}.")
    values = pd.to_numeric(frame[FOLD], errors="coerce")
    bad = frame.index[~(values.ge(0) & values.mod(1).eq(0))].to_numpy() + 2
    if len(bad):
        raise ManifestError(f"Fold table {path}: fold is no number from 0 on line {first_rows(bad, len(bad))}.")
    folds = pd.Series(values.to_numpy(dtype=np.int64), index=clean_names(frame[VOLUME]))
    repeated = folds.index[folds.index.duplicated()]
    if len(repeated):
        raise ManifestError(f"Fold table {path}: {first_rows(repeated, len(repeated))} stand twice. Keep one row each.")
    absent = manifest.volumes[~pd.Index(manifest.volumes).isin(folds.index)]
    if len(absent):
        raise ManifestError(
            f"Fold table {path} names no fold for {first_rows(absent, len(absent))} of {manifest.name}. "
            "Use the manifest that the folds were made from, or make them anew."
        )
    return folds.loc[manifest.volumes].to_numpy()
