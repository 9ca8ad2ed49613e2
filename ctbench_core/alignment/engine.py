"""Alignment of images and texts: similarity of pairs, and retrieval both ways with its chance level."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ctbench_core.alignment.direction import INSTANCE, SEMANTIC, Direction, Histograms, Truth
from ctbench_core.alignment.result import NDCG_DEPTHS, PREFIXES, AlignmentResult, Retrieval, write_alignment
from ctbench_core.alignment.vectors import Side, read_side, sum_within_groups
from ctbench_core.errors import InputError

__all__ = ["AlignmentResult", "align", "write_alignment"]

Progress = Callable[[str, int, int], None]


def align(
    image: np.ndarray,
    text: np.ndarray,
    groups: np.ndarray,
    label_groups: np.ndarray | None = None,
    k: Sequence[int] = (1, 5, 10, 50, 100),
    tile: int = 1024,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    *,
    image_rows: np.ndarray | None = None,
    text_rows: np.ndarray | None = None,
    normal: np.ndarray | None = None,
) -> AlignmentResult:
    """Measure how well N images and N texts find each other by cosine similarity.

    Args:
        image, text: vectors float32 (N, D); or any number of them, with the row each sample uses in
            ``image_rows`` and ``text_rows``, int (N,).
        groups: (N,) numbers or names; a candidate of the query's group is a hit.
        label_groups: (N,) likewise for the ``semantic_`` figures.
        k: depths of Recall@K.
        tile: most queries held at a time; changes memory and time, not figures.
        normal: bool (N,); with label groups, normal and abnormal queries are also reported apart.

    Definitions and formulas: NUMERICS, `docs/metrics.md`. Memory grows with N, not with N x N.

    Raises:
        InputError: arrays that do not fit together; a depth or tile below 1.
        FeatureError: NaN or infinite values.
        Interrupted: ``cancel`` was set.
    """
    sides = (read_side("image", image, image_rows), read_side("text", text, text_rows))
    _check(sides, groups, label_groups, normal, k, tile)
    truth = Truth(_numbered(groups), None if label_groups is None else _numbered(label_groups))
    depths = tuple(sorted({*NDCG_DEPTHS, *(int(depth) for depth in k)}))
    wanted = tuple(sorted({int(depth) for depth in k}))

    retrievals: list[Retrieval] = []
    histograms: Histograms | None = None
    for name, (queries, gallery) in {"v_to_t": sides, "t_to_v": sides[::-1]}.items():
        direction = Direction(queries, gallery, truth, depths, torch.device(device))
        report = _reporter(progress, f"ranking {name}", direction.n_queries)
        scores, counted = direction.run(tile, report, cancel, count_pairs=histograms is None)
        histograms = histograms or counted
        for truth_name, found in scores.items():
            retrievals.append(Retrieval(name, truth_name, found, wanted, depths))
    assert histograms is not None
    return AlignmentResult(_metrics(sides, truth, retrievals, normal), retrievals, _pairs(histograms))


def _check(
    sides: tuple[Side, Side],
    groups: np.ndarray,
    label_groups: np.ndarray | None,
    normal: np.ndarray | None,
    k: Sequence[int],
    tile: int,
) -> None:
    given = {"groups": groups, "label_groups": label_groups, "normal": normal}
    lengths = {"images": len(sides[0].of_sample), "texts": len(sides[1].of_sample)}
    lengths |= {name: len(values) for name, values in given.items() if values is not None}
    if len(set(lengths.values())) > 1 or not lengths["images"]:
        found = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise InputError(f"Expected one image, text and group a sample, at least one sample; got {found}.")
    widths = [side.vectors.shape[1] for side in sides]
    if widths[0] != widths[1]:
        raise InputError(
            f"Images have {widths[0]} dimensions and texts {widths[1]}; similarity needs one space. "
            "Align embeddings taken after the projection."
        )
    if tile < 1 or not len(k) or min(k) < 1:
        raise InputError(f"Expected depths k and a tile of at least 1, got k={list(k)}, tile={tile}.")


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _reporter(progress: Progress | None, phase: str, total: int) -> Callable[[int], None]:
    if progress is None:
        return lambda done: None
    return lambda done: progress(phase, done, total)


def _metrics(
    sides: tuple[Side, Side], truth: Truth, retrievals: list[Retrieval], normal: np.ndarray | None
) -> dict[str, float | int | dict[str, str]]:
    metrics: dict[str, float | int | dict[str, str]] = {"samples_analyzed": len(truth.groups)}
    metrics |= {"distinct_images": len(sides[0].vectors), "distinct_texts": len(sides[1].vectors)}
    metrics |= _mean_similarities(*sides, truth)
    for retrieval in retrievals:
        metrics |= _named(PREFIXES[retrieval.truth], retrieval)
        if normal is not None and retrieval.truth == SEMANTIC:
            mask = np.asarray(normal, dtype=bool)
            metrics |= _named("semantic_normal_", retrieval.of_queries(mask, "semantic_normal"))
            metrics |= _named("semantic_abnormal_", retrieval.of_queries(~mask, "semantic_abnormal"))
    metrics["undefined"] = {name: _reason(name) for name, value in metrics.items() if _is_nan(value)}
    return metrics


def _named(prefix: str, retrieval: Retrieval) -> dict[str, float | int]:
    return {f"{prefix}{retrieval.direction}_{name}": value for name, value in retrieval.figures().items()}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _reason(name: str) -> str:
    return "no such pair" if name.endswith("similarity") else "no query has a relevant candidate"


def _mean_similarities(image: Side, text: Side, truth: Truth) -> dict[str, float]:
    """Average exactly: a sample's own pair against all others; one label group's pairs against all others."""
    n = len(truth.groups)
    everything = sum_within_groups(image, text, np.zeros(n, np.int64))
    paired = {"": (sum_within_groups(image, text, np.arange(n)), n)}
    if truth.label_groups is not None:
        pairs = int((np.bincount(truth.label_groups).astype(np.int64) ** 2).sum())
        paired["semantic_"] = (sum_within_groups(image, text, truth.label_groups), pairs)
    means = {}
    for prefix, (total, pairs) in paired.items():
        rest = n * n - pairs
        means[f"{prefix}mean_paired_similarity"] = total / pairs
        means[f"{prefix}mean_unpaired_similarity"] = (everything - total) / rest if rest else math.nan
    return means


def _pairs(counted: Histograms) -> dict[tuple[str, str], np.ndarray]:
    pairs = {(INSTANCE, "paired"): counted.own, (INSTANCE, "unpaired"): counted.all_pairs - counted.own}
    if counted.semantic is not None:
        pairs[SEMANTIC, "paired"] = counted.semantic
        pairs[SEMANTIC, "unpaired"] = counted.all_pairs - counted.semantic
    return pairs
