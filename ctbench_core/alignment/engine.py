"""Alignment of images and texts: similarity of pairs, and retrieval both ways with its chance level."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ctbench_core.alignment.direction import INSTANCE, OTHERS, SEMANTIC, Direction, Histograms, Truth
from ctbench_core.alignment.geometry import modality_gap, two_dimensional
from ctbench_core.alignment.nearest import Labels
from ctbench_core.alignment.neighbour_report import NeighbourReport, NeighbourSet, ctclip_map
from ctbench_core.alignment.result import NDCG_DEPTHS, AlignmentResult, Retrieval, prefix_of, write_alignment
from ctbench_core.alignment.tiles import trim_heap
from ctbench_core.alignment.vectors import Side, read_side, sum_within_groups
from ctbench_core.errors import InputError
from ctbench_core.inference import query_intervals
from ctbench_core.progress import Progress

__all__ = ["AlignmentOptions", "AlignmentResult", "align", "write_alignment"]


@dataclass(frozen=True)
class AlignmentOptions:
    """What else an alignment is asked for; nothing of it changes the other figures.

    Attributes:
        targets: findings (N, C) in {0, 1, NaN}, with their ``names``: figures graded by shared findings, and finding by
            finding.
        patients: (N,), for intervals of the figures.
        within: also volumes among volumes and reports among reports, each without itself.
        nearest: how many nearest candidates to list, for hubness, graded figures and browsing; 0 = none.
        map: pca or umap: a place of every volume and report on a plane; None = no map.
    """

    targets: np.ndarray | None = None
    names: Sequence[str] = ()
    patients: np.ndarray | None = None
    within: bool = False
    nearest: int = 0
    map: str | None = None


@dataclass(frozen=True)
class Run:
    """How an alignment is computed: most queries a tile, where, how exactly, and whom it reports to."""

    tile: int
    device: torch.device
    settle_all: bool
    progress: Progress | None
    cancel: threading.Event | None


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
    precision: str = "float32",
    extras: AlignmentOptions | None = None,
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

        precision: float32 puts near-ties of the float32 product in exact order wherever that can move a figure by more
            than 5e-7; float64 puts all of them.

    Definitions and formulas: NUMERICS, `docs/metrics.md`. Memory grows with N, not with N x N.

    Raises:
        InputError: arrays that do not fit together; a depth or tile below 1.
        FeatureError: NaN or infinite values.
        ConfigError: a map is asked for whose package is not installed.
        Interrupted: ``cancel`` was set.
    """
    extras = extras or AlignmentOptions()
    sides = (read_side("image", image, image_rows), read_side("text", text, text_rows))
    _check(sides, {"groups": groups, "label_groups": label_groups, "normal": normal, **_by_sample(extras)}, k, tile)
    labels = None if extras.targets is None or not len(extras.names) else Labels.of(extras.targets)
    kinds = None if labels is None else labels.of_sample
    truth = Truth(_numbered(groups), None if label_groups is None else _numbered(label_groups), kinds)
    wanted = tuple(sorted({int(depth) for depth in k}))
    place = None if extras.map is None else two_dimensional(*sides, method=extras.map)
    run = Run(tile, torch.device(device), precision == "float64", progress, cancel)
    retrievals, more, histograms = _search(sides, truth, wanted, extras, labels, run)
    retrievals += _apart(retrievals, normal)
    metrics = _metrics(sides, truth, retrievals) | more.figures()
    metrics["intervals"] = _intervals(retrievals, more, extras.patients)
    metrics["undefined"] = {name: _reason(name) for name, value in metrics.items() if _is_nan(value)} | more.undefined
    tables = more.tables if place is None else more.tables | {"map": place}
    return AlignmentResult(metrics, retrievals, _pairs(histograms), tables)


def _search(
    sides: tuple[Side, Side],
    truth: Truth,
    ks: tuple[int, ...],
    extras: AlignmentOptions,
    labels: Labels | None,
    run: Run,
) -> tuple[list[Retrieval], NeighbourReport, Histograms]:
    """Rank every direction; pairs are counted once, since both directions have the same."""
    depths = tuple(sorted({*NDCG_DEPTHS, *ks}))
    retrievals: list[Retrieval] = []
    more = NeighbourReport()
    histograms: Histograms | None = None
    for name, (queries, gallery) in _directions(sides, extras.within).items():
        direction = Direction(queries, gallery, truth, depths, run.device, run.settle_all)
        report = _reporter(run.progress, f"ranking {name}", direction.n_queries)
        found = direction.run(run.tile, report, run.cancel, count_pairs=histograms is None, nearest=extras.nearest)
        trim_heap()
        histograms = histograms or found.pairs
        retrievals += [Retrieval(name, kind, scores, ks, depths) for kind, scores in found.scores.items()]
        if found.nearest is not None:
            one = NeighbourSet(found.nearest, direction.of_sample, gallery, direction.within)
            more.add(name, one, truth.groups, ks, labels, extras.names)
    assert histograms is not None
    if extras.within and extras.nearest and labels is not None:
        more.by_query |= ctclip_map(sides[0], labels, ks, run.device, extras.nearest)
        trim_heap()
    return retrievals, more, histograms


def _directions(sides: tuple[Side, Side], within: bool) -> dict[str, tuple[Side, Side]]:
    image, text = sides
    found = {"v_to_t": (image, text), "t_to_v": (text, image)}
    return found | ({"v_to_v": (image, image), "t_to_t": (text, text)} if within else {})


def _by_sample(extras: AlignmentOptions) -> dict[str, np.ndarray | None]:
    return {"rows of targets": extras.targets, "patients": extras.patients}


def _apart(retrievals: list[Retrieval], normal: np.ndarray | None) -> list[Retrieval]:
    """Report normal and abnormal queries apart: the all-negative label vector dominates semantic figures."""
    if normal is None:
        return []
    mask, found = np.asarray(normal, dtype=bool), []
    for one in retrievals:
        if one.truth in (SEMANTIC, OTHERS):
            found += [one.of_queries(mask, f"{one.truth}_normal"), one.of_queries(~mask, f"{one.truth}_abnormal")]
    return found


def _check(sides: tuple[Side, Side], given: dict[str, np.ndarray | None], k: Sequence[int], tile: int) -> None:
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


def _metrics(sides: tuple[Side, Side], truth: Truth, retrievals: list[Retrieval]) -> dict[str, Any]:
    metrics: dict[str, Any] = {"samples_analyzed": len(truth.groups)}
    metrics |= {"distinct_images": len(sides[0].vectors), "distinct_texts": len(sides[1].vectors)}
    metrics |= _mean_similarities(*sides, truth) | modality_gap(*sides)
    for one in retrievals:
        start = f"{prefix_of(one.truth)}{one.direction}_"
        metrics |= {f"{start}{name}": value for name, value in one.figures().items()}
        metrics |= {f"compat_{start}{name}": value for name, value in one.compatible().items()}
    return metrics


def _intervals(
    retrievals: list[Retrieval], more: NeighbourReport, patients: np.ndarray | None
) -> dict[str, list[float]]:
    """Draw the query patients once for the figures of every truth and direction."""
    if patients is None:
        return {}
    columns = dict(more.by_query)
    for one in retrievals:
        for name, values in one.by_query().items():
            everyone = columns[f"{prefix_of(one.truth)}{one.direction}_{name}"] = np.full(len(patients), np.nan)
            everyone[slice(None) if one.queries is None else one.queries] = values
    bounds = query_intervals(columns, patients)
    for one in retrievals:
        start = f"{prefix_of(one.truth)}{one.direction}_"
        one.intervals.update({name: bounds[f"{start}{name}"] for name in one.by_query()})
    return {name: list(bound) for name, bound in bounds.items()}


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _reason(name: str) -> str:
    if name.endswith("similarity"):
        return "no such pair"
    return "all are retrieved alike" if "hub" in name else "no query has a relevant candidate"


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
