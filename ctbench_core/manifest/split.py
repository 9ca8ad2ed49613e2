"""Split a manifest so that no patient stands on both sides."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ctbench_core.config import AutoSplitConfig
from ctbench_core.errors import ManifestError
from ctbench_core.manifest.manifest import Manifest

# Random splits to choose from: on CT-RATE's 20,000 patients this takes about 0.2 s.
_DRAWS = 200


def split_by_group(manifest: Manifest, options: AutoSplitConfig, seed: int) -> tuple[Manifest, Manifest]:
    """Divide a manifest into training and validation rows, whole groups only.

    The share is of the groups. Stratified, the best balanced of many random splits is taken
    (rerandomisation; Morgan and Rubin, Annals of Statistics 2012).

    Raises:
        ManifestError: fewer than two groups.
    """
    groups = {"patient": manifest.patients, "exam": manifest.exams, "none": manifest.volumes}[options.group]
    codes, names = pd.factorize(pd.Series(groups), sort=True)
    count = len(names)
    if count < 2:
        raise ManifestError(
            f"{manifest.path}: cannot split {count} {options.group} group into training and validation."
        )
    rng = np.random.default_rng([seed if options.seed is None else options.seed, count])
    wanted = min(max(round(options.val_fraction * count), 1), count - 1)
    if options.stratify:
        chosen = _stratified(_group_labels(manifest, codes, count), wanted, rng)
    else:
        chosen = np.isin(np.arange(count), rng.permutation(count)[:wanted])
    return manifest.select(~chosen[codes]), manifest.select(chosen[codes])


def _group_labels(manifest: Manifest, codes: np.ndarray, count: int) -> np.ndarray:
    """Count each group's volumes and its positives of each finding, float64 of shape (groups, 1 + C)."""
    counts = np.zeros((count, 1 + len(manifest.labels)))
    np.add.at(counts, codes, np.c_[np.ones(len(codes)), np.nan_to_num(manifest.targets)])
    return counts


def _stratified(counts: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Of many random choices, take the one whose prevalences differ least from the whole."""
    draws = np.zeros((_DRAWS, len(counts)), dtype=bool)
    for draw in draws:
        draw[rng.permutation(len(counts))[:wanted]] = True
    totals = draws @ counts  # (draws, 1 + C)
    whole = counts.sum(axis=0)
    share = whole[1:] / whole[0]
    scale = np.sqrt(share * (1 - share)) + 1e-9
    worst = np.abs((totals[:, 1:] / totals[:, :1] - share) / scale).max(axis=1)
    return draws[int(worst.argmin())]
