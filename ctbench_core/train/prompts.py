"""Read the prompt embeddings of zero-shot classification: positive and negative prompts of every finding in one file.

A .npz holds ``labels`` (C,), ``positive`` and ``negative``, each (C, D) or (C, P, D) for P prompts of a finding, and
optionally ``logit_scale``. A .parquet has one row per prompt: ``label``, ``kind`` (positive or negative), ``embedding``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ctbench_core.errors import FeatureError
from ctbench_core.features import READ_ERRORS, check_allowed, explain, open_parquet, read_npz

LOGIT_SCALE = 1 / 0.07  # CLIP's initial temperature; it changes no ranking and no decision at .5


def read_prompts(path: str, labels: Sequence[str], width: int) -> dict[str, Tensor]:
    """Return unit-norm prompts ``positive`` and ``negative`` (C, D), averaged over a finding's prompts, and ``scale``.

    Raises:
        FeatureError: the file is missing or unreadable, lacks a finding, is of another width, or holds NaN or a vector of zeros.
    """
    file = check_allowed(path)
    if not file.is_file():
        raise FeatureError(f"Prompt file {file} does not exist. Correct model.prompts.")
    try:
        tables, scale = _parquet(file) if file.suffix == ".parquet" else _npz(file)
        prompts = {kind: _average(file, kind, table, labels, width) for kind, table in tables.items()}
    except READ_ERRORS as error:
        raise FeatureError(
            f"{file} holds no prompts: {explain(error)} Expected .npz with labels, positive, negative, or .parquet with "
            "label, kind, embedding."
        ) from error
    if not (np.isfinite(scale) and scale > 0 and all(torch.isfinite(one).all() for one in prompts.values())):
        raise FeatureError(
            f"{file} has prompts or a logit_scale that are NaN, infinite or not positive. Export it again."
        )
    return {**prompts, "scale": torch.tensor(scale)}


def _npz(file: Path) -> tuple[dict[str, dict[str, np.ndarray]], float]:
    kinds = ("positive", "negative")
    arrays = read_npz(file, ("labels", "logit_scale", *kinds))
    if any(kind in arrays and arrays[kind].dtype.kind not in "fiu" for kind in kinds):
        raise FeatureError(f"{file} holds no prompts: positive and negative must be numbers. Export float32.")
    if arrays["labels"].dtype.kind not in "US":
        raise FeatureError(f"{file} has labels of type {arrays['labels'].dtype}; expected the findings' names.")
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in arrays["labels"].tolist()]
    if len(set(names)) < len(names):
        raise FeatureError(f"{file} names a finding twice in labels. Keep one row a finding.")
    scale = float(arrays["logit_scale"]) if "logit_scale" in arrays else LOGIT_SCALE
    return {kind: dict(zip(names, arrays[kind], strict=True)) for kind in kinds}, scale


def _parquet(file: Path) -> tuple[dict[str, dict[str, np.ndarray]], float]:
    frame = open_parquet(file).read(["label", "kind", "embedding"]).to_pandas()
    tables: dict[str, dict[str, np.ndarray]] = {"positive": {}, "negative": {}}
    for (label, kind), rows in frame.groupby(["label", "kind"], observed=True)["embedding"]:
        tables[str(kind)][str(label)] = np.stack(rows.tolist())
    return tables, LOGIT_SCALE


def _average(file: Path, kind: str, table: dict[str, np.ndarray], labels: Sequence[str], width: int) -> Tensor:
    missing = [label for label in labels if label not in table]
    if missing:
        raise FeatureError(
            f"{file} has no {kind} prompt of {', '.join(missing[:5])}. Add it, or choose fewer findings "
            "(training.target_labels)."
        )
    if zero := [label for label in labels if not np.any(np.atleast_2d(table[label]), axis=1).all()]:
        raise FeatureError(
            f"{file}: a {kind} prompt of {', '.join(zero[:5])} is all zeros and has no direction. Embed it again."
        )
    means = np.stack([_mean(np.atleast_2d(table[label]).astype(np.float64)) for label in labels])
    if means.shape[1] != width:
        raise FeatureError(
            f"{file}: prompts are {means.shape[1]} wide, the features {width}. Use the same encoder for both."
        )
    return torch.from_numpy(means)


def _mean(prompts: np.ndarray) -> np.ndarray:
    """Average unit vectors, and scale the mean to unit norm; opposite prompts may cancel to zero."""
    units = prompts / np.maximum(np.linalg.norm(prompts, axis=1, keepdims=True), 1e-12)
    mean = units.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
