"""Where the two modalities lie: the gap between them, and a map of both in two dimensions."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd

from ctbench_core.alignment.vectors import Side
from ctbench_core.errors import ConfigError

_CHUNK_ROWS = 4096


def modality_gap(image: Side, text: Side) -> dict[str, float]:
    """Return the distance between the centres of the unit vectors, and the mean similarity inside each modality.

    Source of the gap: Liang et al., Mind the gap, NeurIPS 2022. The mean similarity is over all pairs of two samples,
    from the vectors' sum: (|sum v|^2 - sum |v|^2) / (N (N - 1)).
    """
    centres, figures = [], {}
    for name, side in (("visual", image), ("text", text)):
        shares = np.bincount(side.of_sample, minlength=len(side.vectors)).astype(np.float64)
        n = shares.sum()
        total = np.zeros(side.vectors.shape[1])
        for start in range(0, len(side.vectors), _CHUNK_ROWS):
            some = slice(start, start + _CHUNK_ROWS)
            total += shares[some] @ side.vectors[some].astype(np.float64)
        present = shares @ (np.einsum("ij,ij->i", side.vectors, side.vectors) > 0.5)  # zero rows have no length
        centres.append(total / n)
        figures[f"mean_{name}_similarity"] = (total @ total - present) / (n * (n - 1)) if n > 1 else float("nan")
    gap = float(np.linalg.norm(centres[0] - centres[1]))
    return {"modality_gap": gap, **{name: float(value) for name, value in figures.items()}}


def two_dimensional(image: Side, text: Side, method: str = "pca", seed: int = 0) -> pd.DataFrame:
    """Place N volumes and their N reports on one plane: visual_x, visual_y, text_x, text_y, float32.

    method: pca (principal components of both together) or umap (from the first 50 of them).

    Raises:
        ConfigError: umap is asked for and umap-learn is not installed.
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise ConfigError("analysis.map=umap needs the package umap-learn: pip install umap-learn, or take pca.")
    sides = (image, text)
    kept = 50 if method == "umap" else 2
    projected = _principal(sides, kept)
    if method == "umap":
        import umap  # type: ignore[import-not-found]

        both = umap.UMAP(random_state=seed, metric="euclidean").fit_transform(np.concatenate(projected))
        projected = [both[: len(image.vectors)], both[len(image.vectors) :]]
    columns = {}
    for name, side, places in zip(("visual", "text"), sides, projected):
        for axis, letter in enumerate("xy"):
            columns[f"{name}_{letter}"] = places[side.of_sample, axis].astype(np.float32)
    return pd.DataFrame(columns)


def _principal(sides: tuple[Side, Side], kept: int) -> list[np.ndarray]:
    """Project the distinct vectors of both sides on the first principal components of all samples."""
    width = sides[0].vectors.shape[1]
    scatter, total, n = np.zeros((width, width)), np.zeros(width), 0.0
    shares = [np.bincount(side.of_sample, minlength=len(side.vectors)).astype(np.float64) for side in sides]
    for side, weights in zip(sides, shares):
        for start in range(0, len(side.vectors), _CHUNK_ROWS):
            some = slice(start, start + _CHUNK_ROWS)
            part = side.vectors[some].astype(np.float64)
            scatter += part.T @ (part * weights[some, None])
            total += weights[some] @ part
        n += weights.sum()
    centre = total / n
    axes = np.linalg.eigh(scatter / n - np.outer(centre, centre))[1][:, ::-1][:, :kept]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    if axes.shape[1] < 2:
        axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    return [(side.vectors @ axes.astype(np.float32)) - (centre @ axes).astype(np.float32) for side in sides]
