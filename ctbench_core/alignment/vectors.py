"""The two sides of an alignment as unit vectors: mean similarities, the gap between the modalities, a 2-d map.

Volumes of an exam share feature files, and reports repeat word for word. Bit-identical vectors are held and computed
once, so that true ties remain ties in any arithmetic, and cost nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ctbench_core.errors import ConfigError, FeatureError, InputError, first_rows

_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Side:
    """Distinct unit vectors float32 (M, D), and the vector of each of N samples, int64 (N,)."""

    vectors: np.ndarray
    of_sample: np.ndarray


def read_side(name: str, matrix: np.ndarray, rows: np.ndarray | None = None) -> Side:
    """Normalise the vectors of a side and merge bit-identical ones.

    matrix: (R, D); rows: int (N,), the matrix row of each sample, all rows in order when None.

    Raises:
        InputError: the matrix is not two-dimensional or a row number lies outside it.
        FeatureError: a value is NaN or infinite.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise InputError(f"Expected the {name} vectors as a matrix (samples, dimensions), got shape {matrix.shape}.")
    rows = np.arange(len(matrix)) if rows is None else np.asarray(rows)
    if rows.ndim != 1 or (len(rows) and not (rows.min() >= 0 and rows.max() < len(matrix))):
        raise InputError(f"The row numbers of the {name} side must be a list of numbers from 0 to {len(matrix) - 1}.")
    used, of_sample = np.unique(rows, return_inverse=True)
    unit = _unit_rows(name, matrix, used)
    first, distinct = np.unique(_first_equal_rows(unit), return_inverse=True)
    return Side(unit if len(first) == len(unit) else unit[first], distinct[of_sample])


def _unit_rows(name: str, matrix: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Divide rows by their norm in float64; a row of zero norm stays zero and is similar to nothing."""
    unit = np.empty((len(used), matrix.shape[1]), np.float32)
    for start in range(0, len(used), _CHUNK_ROWS):
        part = matrix[used[start : start + _CHUNK_ROWS]].astype(np.float64)
        bad = ~np.isfinite(part).all(axis=1)
        if bad.any():
            listed = first_rows(used[start : start + _CHUNK_ROWS][bad])
            raise FeatureError(
                f"The {name} vectors have NaN or infinite values in rows {listed}. Drop these rows, or export them again."
            )
        norm = np.linalg.norm(part, axis=1, keepdims=True)
        unit[start : start + _CHUNK_ROWS] = part / np.where(norm > 0, norm, 1.0)
    unit += 0.0  # -0.0 becomes 0.0: equal values get equal bits
    return unit


def _first_equal_rows(unit: np.ndarray) -> np.ndarray:
    """Return for each row the first row with the same bits, by 128-bit digests, which do not collide by chance."""
    first: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.data, digest_size=16).digest() for row in unit)
    return np.fromiter((first.setdefault(digest, i) for i, digest in enumerate(digests)), np.int64, len(unit))


def sum_within_groups(image: Side, text: Side, groups: np.ndarray, text_groups: np.ndarray | None = None) -> float:
    """Return the exact sum of similarities over all pairs within groups: sum over g of (sum v) . (sum t).

    groups: int (N,) from 0, of the images and, unless ``text_groups`` (M,) are given, of the texts. Group sums in float64, a few dimensions at a time, never form a pair: O(N D) time, O(N)
    memory.
    """
    text_groups = groups if text_groups is None else text_groups
    total, n_groups = 0.0, int(max(groups.max(), text_groups.max())) + 1
    index, text_index = torch.from_numpy(groups), torch.from_numpy(text_groups)

    def group_sums(side: Side, index: torch.Tensor, columns: slice) -> torch.Tensor:
        values = torch.from_numpy(side.vectors[:, columns].astype(np.float64)[side.of_sample])
        return torch.zeros((n_groups, values.shape[1]), dtype=torch.float64).index_add_(0, index, values)

    for start in range(0, image.vectors.shape[1], 32):
        columns = slice(start, start + 32)
        total += float((group_sums(image, index, columns) * group_sums(text, text_index, columns)).sum())
    return total


def modality_gap(image: Side, text: Side) -> dict[str, float]:
    """Return the distance between the centres of the unit vectors, and the mean similarity inside each modality.

    Source of the gap: Liang et al., Mind the gap, NeurIPS 2022. The mean similarity is over all pairs of two samples,
    from the vectors' sum: (|sum v|^2 - sum |v|^2) / (N (N - 1)).
    """
    centres, metrics = [], {}
    for name, side in (("visual", image), ("text", text)):
        shares = np.bincount(side.of_sample, minlength=len(side.vectors)).astype(np.float64)
        n = shares.sum()
        total = np.zeros(side.vectors.shape[1])
        for start in range(0, len(side.vectors), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            total += shares[rows] @ side.vectors[rows].astype(np.float64)
        present = shares @ (np.einsum("ij,ij->i", side.vectors, side.vectors) > 0.5)  # zero rows have no length
        centres.append(total / n)
        metrics[f"mean_{name}_similarity"] = (total @ total - present) / (n * (n - 1)) if n > 1 else float("nan")
    gap = float(np.linalg.norm(centres[0] - centres[1]))
    return {"modality_gap": gap, **{name: float(value) for name, value in metrics.items()}}


def two_dimensional(image: Side, text: Side, method: str = "pca", seed: int = 0) -> pd.DataFrame:
    """Place N volumes and their N reports on one plane: columns visual_x, visual_y, text_x, text_y, float32.

    Of N volumes and M reports, the columns of the fewer end in NaN.
    method: pca (principal components of both together) or umap (from the first 50 of them).
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise ConfigError(
            "analysis.map=umap needs the package umap-learn. Install it with pip install umap-learn, or set "
            "analysis.map=pca."
        )
    sides = (image, text)
    projected = _principal(sides, 50 if method == "umap" else 2)
    if method == "umap":
        import umap  # type: ignore[import-not-found]

        both = umap.UMAP(random_state=seed, metric="euclidean").fit_transform(np.concatenate(projected))
        projected = [both[: len(image.vectors)], both[len(image.vectors) :]]
    columns = {}
    for name, side, places in zip(("visual", "text"), sides, projected):
        for axis, letter in enumerate("xy"):
            columns[f"{name}_{letter}"] = pd.Series(places[side.of_sample, axis].astype(np.float32))
    return pd.DataFrame(columns)


def _principal(sides: tuple[Side, Side], count: int) -> list[np.ndarray]:
    """Project the distinct vectors of both sides onto the first principal components of all samples."""
    width = sides[0].vectors.shape[1]
    scatter, total, n = np.zeros((width, width)), np.zeros(width), 0.0
    shares = [np.bincount(side.of_sample, minlength=len(side.vectors)).astype(np.float64) for side in sides]
    for side, weights in zip(sides, shares):
        for start in range(0, len(side.vectors), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            part = side.vectors[rows].astype(np.float64)
            scatter += part.T @ (part * weights[rows, None])
            total += weights[rows] @ part
        n += weights.sum()
    centre = total / n
    axes = np.linalg.eigh(scatter / n - np.outer(centre, centre))[1][:, ::-1][:, :count]
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)
    if axes.shape[1] < 2:
        axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    return [(side.vectors @ axes.astype(np.float32)) - (centre @ axes).astype(np.float32) for side in sides]
