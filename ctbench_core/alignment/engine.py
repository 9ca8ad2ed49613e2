"""Measure the alignment of images and texts: similarity of pairs, and retrieval both ways with its chance level."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ctbench_core.alignment.direction import ComputeSettings, Direction, HitGroups
from ctbench_core.alignment.limits import refuse_many_pairs
from ctbench_core.alignment.nearest import LabelVectors
from ctbench_core.alignment.neighbour_report import NeighbourReport, NeighbourSet, ctclip_map
from ctbench_core.alignment.result import NDCG_DEPTHS, NO_PATIENTS, AlignmentResult, Retrieval
from ctbench_core.alignment.vectors import Side, modality_gap, read_side, sum_within_groups, two_dimensional
from ctbench_core.declared import DIRECTIONS, INSTANCE, OTHERS, SEMANTIC, retrieval_prefix
from ctbench_core.errors import InputError
from ctbench_core.heap import trim_heap
from ctbench_core.inference import MeanInterval, mean_intervals, median_intervals
from ctbench_core.progress import Progress, silent

_IMAGES_TO_TEXTS = "v_to_t"
INTERVAL_RULE = (
    "95 % over query patients, for this gallery. Means over queries: logit scale, standard error of leaving out one "
    "patient at a time, t with m - 1 degrees of freedom, m the effective patients with a scored query; at 0 and 1 the exact bound. Median "
    "rank: Woodruff's interval. None for similarities, hubs, chance, lift and compat_ metrics."
)


@dataclass(frozen=True)
class AlignmentOptions:
    """Optional parts of an alignment; none of them changes the other metrics.

    Attributes:
        targets: findings (N, C) in {0, 1, NaN} with their ``names``, for metrics graded by shared findings and metrics
            by finding.
        patients: (N,), for intervals of the metrics; None: not known.
        within: also retrieve volumes among volumes and reports among reports, each without itself.
        nearest: number of nearest candidates to list, for hubness, graded metrics and browsing; 0 = none.
        map: pca or umap, for a position of every volume and report on a plane; None = no map.
    """

    targets: np.ndarray | None = None
    names: Sequence[str] = ()
    patients: np.ndarray | None = None
    within: bool = False
    nearest: int = 0
    map: str | None = None


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
    exams: np.ndarray | None = None,
    image_rows: np.ndarray | None = None,
    text_rows: np.ndarray | None = None,
    normal: np.ndarray | None = None,
    precision: str = "float32",
    options: AlignmentOptions | None = None,
    text_groups: np.ndarray | None = None,
) -> AlignmentResult:
    """Measure how well N images and N texts retrieve each other by cosine similarity.

    Args:
        image, text: vectors float32 (N, D); or any number of them, with the row of each sample in ``image_rows`` and
            ``text_rows``, int (N,).
        groups: (N,) numbers or names; a candidate of the query's group is a hit.
        label_groups: (N,) the same for the ``semantic_`` metrics.
        exams: (N,) groups left out of the gallery of their queries in ``semantic_others_``; by default ``groups``.
        k: depths of Recall@K. tile: most queries of a tile; changes memory and time, not metrics.
        normal: bool (N,); with label groups, also report normal and abnormal queries separately.
        precision: float32 orders near-ties exactly wherever that can change a metric by more than 5e-7; float64 all.
        text_groups: (M,) of M texts that are not paired with the images row by row; ``groups`` are then of the images only.

    Formulas: `docs/metrics.md`. Memory grows with N, not with N x N.

    Raises:
        InputError: the arrays do not fit together, a depth or tile is below 1, or there are too many pairs.
        FeatureError: the vectors have NaN or infinite values.
        ConfigError: the package for the map is not installed.
        Interrupted: ``cancel`` was set.
    """
    options = options or AlignmentOptions()
    sides = _read_sides(image, text, image_rows, text_rows, str(device))
    by_sample = {"groups": groups, "label_groups": label_groups, "normal": normal, "exams": exams}
    by_sample |= {"rows of targets": options.targets, "patients": options.patients}
    _check(sides, by_sample, text_groups, k, tile)
    labels = None if options.targets is None or not len(options.names) else LabelVectors.of(options.targets)
    truths = _truths(_hit_groups(groups, label_groups, labels, exams), groups, text_groups)
    plane = {} if options.map is None else {"map": two_dimensional(*sides, method=options.map)}
    settings = ComputeSettings(torch.device(device), tile, precision == "float64", progress or silent, cancel)
    retrievals, report, pairs = _search(sides, truths, k, options, labels, settings)
    retrievals += _split_by_normality(retrievals, normal)
    intervals = _intervals(retrievals, report, options.patients)
    metrics = _metrics(sides, truths, retrievals) | report.metrics() | _interval_entries(intervals)
    undefined = {"undefined": _undefined(metrics) | report.undefined}
    return AlignmentResult(metrics | undefined, retrievals, _pairs(pairs), report.tables | plane)


def _read_sides(
    image: np.ndarray, text: np.ndarray, image_rows: np.ndarray | None, text_rows: np.ndarray | None, device: str
) -> tuple[Side, Side]:
    if np.ndim(image) == np.ndim(text) == 2:  # `read_side` refuses others
        images, texts = len(image if image_rows is None else image_rows), len(text if text_rows is None else text_rows)
        refuse_many_pairs(images, texts, image.shape[1], device)
    return read_side("image", image, image_rows), read_side("text", text, text_rows)


def _hit_groups(
    groups: np.ndarray, label_groups: np.ndarray | None, labels: LabelVectors | None, exams: np.ndarray | None
) -> HitGroups:
    """Return the groups as numbers; exams only where they differ from the groups."""
    own, kinds = _numbered(groups), None if labels is None else labels.of_sample
    others = None if exams is None else _numbered(exams)
    if others is not None and np.array_equal(others, own):
        others = None
    return HitGroups(own, None if label_groups is None else _numbered(label_groups), kinds, others)


def _truths(truth: HitGroups, groups: np.ndarray, text_groups: np.ndarray | None) -> dict[str, HitGroups]:
    """Return the groups of queries and candidates of every direction; those of texts where they have their own."""
    if text_groups is None:
        return dict.fromkeys(DIRECTIONS, truth)
    numbers = _numbered(np.concatenate([np.asarray(groups), np.asarray(text_groups)]))
    by_modality = {"visual": numbers[: len(groups)], "text": numbers[len(groups) :]}
    return {
        name: HitGroups(by_modality[direction.query], None, gallery_groups=by_modality[direction.gallery])
        for name, direction in DIRECTIONS.items()
    }


def _search(
    sides: tuple[Side, Side],
    truths: dict[str, HitGroups],
    k: Sequence[int],
    options: AlignmentOptions,
    labels: LabelVectors | None,
    settings: ComputeSettings,
) -> tuple[list[Retrieval], NeighbourReport, dict[str, np.ndarray]]:
    """Rank every direction; pairs are counted once, since both directions have the same."""
    ks = tuple(sorted({int(depth) for depth in k}))
    depths = tuple(sorted({*NDCG_DEPTHS, *ks}))
    retrievals: list[Retrieval] = []
    report = NeighbourReport(ks, labels, options.names, options.patients)
    pairs: dict[str, np.ndarray] = {}
    for name, (queries, gallery) in _directions(sides, options.within).items():
        direction = Direction(queries, gallery, truths[name], depths, settings)
        result = direction.run(f"ranking {name}", count_pairs=not pairs, nearest=options.nearest)
        trim_heap()
        pairs |= result.pairs
        retrievals += [Retrieval(name, kind, scores, ks, depths) for kind, scores in result.scores.items()]
        if result.nearest is not None:
            near = NeighbourSet(result.nearest, direction.of_sample, gallery, direction.within)
            report.add(name, near, truths[name])
    if options.within and options.nearest and labels is not None:
        report.by_query |= ctclip_map(sides[0], labels, ks, settings.device, options.nearest)
        trim_heap()
    return retrievals, report, pairs


def _directions(sides: tuple[Side, Side], within: bool) -> dict[str, tuple[Side, Side]]:
    by_modality = dict(zip(("visual", "text"), sides))
    chosen = (direction for direction in DIRECTIONS.values() if within or not direction.within)
    return {direction.name: (by_modality[direction.query], by_modality[direction.gallery]) for direction in chosen}


def _split_by_normality(retrievals: list[Retrieval], normal: np.ndarray | None) -> list[Retrieval]:
    """Return normal and abnormal queries separately: the all-negative label vector dominates semantic metrics."""
    if normal is None:
        return []
    mask = np.asarray(normal, dtype=bool)
    return [
        retrieval.of_queries(queries, f"{retrieval.truth}_{name}")
        for retrieval in retrievals
        if retrieval.truth in (SEMANTIC, OTHERS)
        for name, queries in (("normal", mask), ("abnormal", ~mask))
    ]


def _check(
    sides: tuple[Side, Side],
    by_sample: dict[str, np.ndarray | None],
    text_groups: np.ndarray | None,
    k: Sequence[int],
    tile: int,
) -> None:
    lengths = {"images": len(sides[0].of_sample), "texts": len(sides[1].of_sample)}
    lengths |= {name: len(values) for name, values in by_sample.items() if values is not None}
    if text_groups is not None:
        _check_groups(lengths, len(text_groups))
    elif len(set(lengths.values())) > 1 or not lengths["images"]:
        actual = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise InputError(
            f"Expected one image, one text and one group for each sample, and at least 1 sample; got {actual}."
        )
    widths = [side.vectors.shape[1] for side in sides]
    if widths[0] != widths[1]:
        raise InputError(
            f"Images have {widths[0]} dimensions and texts {widths[1]}; similarity needs a common space. "
            "Use embeddings from after the projection layer."
        )
    if tile < 1 or not len(k) or min(k) < 1:
        raise InputError(f"Expected depths k and a tile of at least 1, got k={list(k)}, tile={tile}.")


def _check_groups(lengths: dict[str, int], text_groups: int) -> None:
    """Refuse groups of images and texts that do not fit, and what needs images and texts paired row by row."""
    others = [name for name in lengths if name not in ("images", "texts", "groups")]
    fits = lengths["images"] == lengths["groups"] > 0 and lengths["texts"] == text_groups > 0
    if others or not fits:
        raise InputError(
            f"Expected a group for each image and for each text, and nothing by sample beside; got {lengths['images']} images, "
            f"{lengths['groups']} groups of images, {lengths['texts']} texts, {text_groups} groups of texts"
            + "".join(f", {name}" for name in others)
            + "."
        )


def _numbered(groups: np.ndarray) -> np.ndarray:
    return np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _metrics(sides: tuple[Side, Side], truths: dict[str, HitGroups], retrievals: list[Retrieval]) -> dict[str, Any]:
    truth = truths[_IMAGES_TO_TEXTS]
    metrics: dict[str, Any] = {"samples_analyzed": len(truth.groups)}
    if truth.gallery_groups is not None:
        metrics |= {"images_analyzed": len(truth.groups), "texts_analyzed": len(truth.gallery_groups)}
    metrics |= {"distinct_images": len(sides[0].vectors), "distinct_texts": len(sides[1].vectors)}
    metrics |= _mean_similarities(*sides, truth) | modality_gap(*sides)
    for retrieval in retrievals:
        prefix = retrieval.prefix
        metrics |= {f"{prefix}{name}": value for name, value in retrieval.metrics().items()}
        metrics |= {f"compat_{prefix}{name}": value for name, value in retrieval.compatible_metrics().items()}
    return metrics


def _intervals(
    retrievals: list[Retrieval], report: NeighbourReport, patients: np.ndarray | None
) -> dict[str, MeanInterval]:
    """Return the interval of every mean over queries and of every median rank, by name."""
    columns, ranks = dict(report.by_query), {}
    for retrieval in retrievals:
        prefix = retrieval.prefix
        columns |= {f"{prefix}{name}": retrieval.by_sample(values) for name, values in retrieval.by_query().items()}
        ranks[f"{prefix}median_rank"] = retrieval.by_sample(retrieval.first_rank())
    if patients is None:
        return dict.fromkeys((*columns, *ranks), NO_PATIENTS)
    intervals = mean_intervals(columns, patients) | median_intervals(ranks, patients)
    for retrieval in retrievals:
        names = (*retrieval.by_query(), "median_rank")
        retrieval.intervals.update({name: intervals[f"{retrieval.prefix}{name}"] for name in names})
    return intervals


def _interval_entries(intervals: dict[str, MeanInterval]) -> dict[str, Any]:
    """Return the JSON of the intervals: bounds, or why there are none, their marks, and the rule."""
    known = {name: one for name, one in intervals.items() if one.reason is None}
    return {
        "intervals": {name: [one.lo, one.hi] for name, one in known.items()},
        "no_interval": {name: one.reason for name, one in intervals.items() if one.reason is not None},
        "interval_marks": {name: one.mark for name, one in known.items() if one.mark},
        "interval_rule": INTERVAL_RULE,
    }


def _undefined(metrics: dict[str, Any]) -> dict[str, str]:
    """Return the reason for each metric that is NaN."""
    reasons = {}
    for name in (name for name, value in metrics.items() if isinstance(value, float) and math.isnan(value)):
        other = "all are retrieved alike" if "hub" in name else "no query has a relevant candidate"
        reasons[name] = "no such pair" if name.endswith("similarity") else other
    return reasons


def _mean_similarities(image: Side, text: Side, truth: HitGroups) -> dict[str, float]:
    """Average exactly: own pairs against all others, and pairs of one label group against all others."""
    n, m = len(image.of_sample), len(text.of_sample)
    everything = sum_within_groups(image, text, np.zeros(n, np.int64), np.zeros(m, np.int64))
    theirs = truth.gallery_groups
    if theirs is None:
        paired = {INSTANCE: (sum_within_groups(image, text, np.arange(n)), n)}
    else:
        count = int(max(truth.groups.max(), theirs.max())) + 1
        sizes = (np.bincount(groups, minlength=count).astype(np.int64) for groups in (truth.groups, theirs))
        paired = {INSTANCE: (sum_within_groups(image, text, truth.groups, theirs), int(np.dot(*sizes)))}
    if truth.label_groups is not None:
        pairs = int((np.bincount(truth.label_groups).astype(np.int64) ** 2).sum())
        paired[SEMANTIC] = (sum_within_groups(image, text, truth.label_groups), pairs)
    means = {}
    for hits, (total, pairs) in paired.items():
        prefix, rest = retrieval_prefix(hits), n * m - pairs
        means[f"{prefix}mean_paired_similarity"] = total / pairs if pairs else math.nan
        means[f"{prefix}mean_unpaired_similarity"] = (everything - total) / rest if rest else math.nan
    return means


def _pairs(counts: dict[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    pairs: dict[tuple[str, str], np.ndarray] = {}
    for truth, name in ((INSTANCE, "own"), (SEMANTIC, "semantic")):
        if name in counts:
            pairs |= {(truth, "paired"): counts[name], (truth, "unpaired"): counts["all"] - counts[name]}
    return pairs
