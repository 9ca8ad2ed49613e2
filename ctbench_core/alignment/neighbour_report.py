"""Metrics and tables from the nearest candidates: similarity of labels, precision by finding, hubs, lists to browse.

Shapes: N samples, Q queries, M distinct candidate vectors, T nearest, L distinct label vectors, C findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from ctbench_core.alignment.direction import ComputeSettings, Direction, HitGroups
from ctbench_core.alignment.nearest import LabelVectors, NearestCandidates, ideal_jaccard_gain, mean_jaccard
from ctbench_core.alignment.ordering import ItemLists
from ctbench_core.alignment.vectors import Side
from ctbench_core.inference import MeanInterval, mean_intervals

# The ideal order by label-Jaccard compares every two distinct label vectors.
MAX_LABEL_VECTORS = 20_000
TOO_MANY_LABELS = f"more than {MAX_LABEL_VECTORS:,} distinct label vectors"

# Depth at which hubs are counted, as is usual (Radovanovic et al., JMLR 2010).
HUB_DEPTH = 10
_MAX_HUBS = 50
BROWSED_DEPTH = 20  # nearest candidates of a query that are stored for browsing
_CHUNK_ROWS = 4096


@dataclass(frozen=True)
class NeighbourSet:
    """The nearest candidates of one direction, by sample.

    Attributes:
        nearest: of each distinct query; ``of_sample`` int (N,) is the query of each sample.
        gallery: the candidates.
        within: both sides are the same, and each query's own sample is left out.
    """

    nearest: NearestCandidates
    of_sample: np.ndarray
    gallery: Side
    within: bool

    @property
    def n_candidates(self) -> int:
        """Number of samples that each query is compared with."""
        return len(self.gallery.of_sample) - self.within

    @property
    def shares(self) -> np.ndarray:
        """Number of samples of each candidate vector, int (M,)."""
        return np.bincount(self.gallery.of_sample, minlength=len(self.gallery.vectors))

    def first_samples(self) -> np.ndarray:
        """Return one sample of each distinct query, int (Q,)."""
        return np.unique(self.of_sample, return_index=True)[1]

    def complete_to(self, k: int) -> bool:
        """Whether the first k candidates of every query are listed."""
        depth = self.nearest.item.shape[1]
        return k <= depth or depth == len(self.gallery.vectors)

    def chunks(self) -> Iterator[tuple[slice, NearestCandidates]]:
        """Yield ranges of distinct queries of bounded size, and their candidates."""
        for start in range(0, len(self.nearest.item), _CHUNK_ROWS):
            rows = slice(start, start + _CHUNK_ROWS)
            yield rows, self.nearest.take(rows)


def graded(neighbours: NeighbourSet, labels: LabelVectors, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return mean label-Jaccard of the first k, and nDCG at k with it as gain, by sample (N,), ties by expectation.

    nDCG is NaN without a candidate that shares a finding.
    """
    query = labels.of_sample[neighbours.first_samples()]
    gallery = neighbours.gallery
    of_vector = ItemLists.collect(gallery.of_sample, labels.of_sample, len(gallery.vectors), torch.device("cpu"))
    depths = [k for k in ks if neighbours.complete_to(k)]
    names = [f"{kind}_at_{k}" for k in depths for kind in ("jaccard", "ndcg")]
    values = {name: np.full(len(neighbours.nearest.item), np.nan) for name in names}
    too_many = len(labels.distinct) > MAX_LABEL_VECTORS
    ideal = {} if too_many else {k: ideal_jaccard_gain(labels, k, neighbours.within)[query] for k in depths}
    for rows, nearest in neighbours.chunks():
        similarity = mean_jaccard(nearest, query[rows], of_vector, labels, neighbours.within)
        for k in depths:
            if neighbours.n_candidates:
                total = (nearest.expected(k) * similarity).sum(axis=1)
                values[f"jaccard_at_{k}"][rows] = total / min(k, neighbours.n_candidates)
            if k in ideal:
                gain = (nearest.discount(k) * similarity).sum(axis=1)
                values[f"ndcg_at_{k}"][rows] = _ratio(gain, ideal[k][rows])
    return {name: array[neighbours.of_sample] for name, array in values.items()}


def by_finding(
    neighbours: NeighbourSet,
    targets: np.ndarray,
    names: Sequence[str],
    ks: Sequence[int],
    patients: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return a row per finding: of the queries with it, the fraction of the first k that have it too, and lift.

    Columns finding, queries, prevalence (in the gallery of such a query, which within a modality is without itself),
    precision_at_k, lift_at_k (precision over prevalence), and with patients lower_at_k, upper_at_k (of precision),
    patients, no_interval.

    Args:
        targets: (N, C) in {0, 1, NaN}; unknown counts as absent. patients: (N,).
    """
    present = targets == 1
    queries = present.sum(axis=0)
    chance = np.maximum(queries - neighbours.within, 0) / max(neighbours.n_candidates, 1)
    frame = pd.DataFrame({"finding": list(names), "queries": queries, "prevalence": chance})
    precision = precision_by_finding(neighbours, present, ks)
    for k, values in precision.items():
        frame[f"precision_at_{k}"] = _ratio(np.where(present, values, 0.0).sum(axis=0), queries)
        frame[f"lift_at_{k}"] = _ratio(frame[f"precision_at_{k}"].to_numpy(), chance)
    return frame if patients is None else frame.assign(**_finding_intervals(precision, len(names), patients))


def precision_by_finding(neighbours: NeighbourSet, present: np.ndarray, ks: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the expected fraction of each query's first k that have its finding, float64 (N, C), by k; else NaN.

    present: whether a sample has a finding, bool (N, C). Within a modality a query's own sample does not count, also
    where others share its vector.
    """
    shares, first = neighbours.shares, neighbours.first_samples()
    counts = np.stack([np.bincount(neighbours.gallery.of_sample, has, len(shares)) for has in present.T], axis=1)
    of_vector, without_one = counts / shares[:, None], (counts - 1) / np.maximum(shares - 1, 1)[:, None]
    query, own = present[first], neighbours.gallery.of_sample[first]
    values = {k: np.full(query.shape, np.nan) for k in ks}
    for rows, nearest in neighbours.chunks() if neighbours.n_candidates else ():
        weights = {k: nearest.expected(k) / min(k, neighbours.n_candidates) for k in ks}
        for c in range(present.shape[1]):
            positive = np.flatnonzero(query[rows, c])
            item = nearest.item[positive]
            has = of_vector[item, c]
            if neighbours.within:
                has = np.where(item == own[rows][positive, None], without_one[item, c], has)
            for k, column in values.items():
                column[rows.start + positive, c] = (weights[k][positive] * has).sum(axis=1)
    return {k: column[neighbours.of_sample] for k, column in values.items()}


def _finding_intervals(precision: dict[int, np.ndarray], n_findings: int, patients: np.ndarray) -> dict[str, list[Any]]:
    """Return columns with the intervals of precision (N, C) at each k, the patients of the queries, and reasons."""
    queries = {f"{k} {c}": values[:, c] for k, values in precision.items() for c in range(n_findings)}
    intervals = mean_intervals(queries, patients)
    columns: dict[str, list[Any]] = {}
    by_finding = [[intervals[f"{k} {c}"] for k in precision] for c in range(n_findings)]
    for place, k in enumerate(precision):
        columns[f"lower_at_{k}"] = [ones[place].lo for ones in by_finding]
        columns[f"upper_at_{k}"] = [ones[place].hi for ones in by_finding]
    columns["patients"] = [ones[0].patients for ones in by_finding]
    columns["no_interval"] = ["; ".join(_reasons(dict(zip(precision, ones)))) or None for ones in by_finding]
    return columns


def _reasons(intervals: dict[int, MeanInterval]) -> list[str]:
    """Return why intervals by k are missing: once where the reason is the same for every k."""
    reasons = {k: one.reason for k, one in intervals.items()}
    distinct = set(reasons.values())
    if len(distinct) == 1:
        return [reason for reason in distinct if reason]
    return [f"K = {k}: {reason}" for k, reason in reasons.items() if reason]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide where the divisor is above 0, else NaN."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def occurrences(neighbours: NeighbourSet, k: int = HUB_DEPTH) -> np.ndarray:
    """Return how often each sample is among the first k of a query, expected under ties, float64 (N,)."""
    counts = np.zeros(len(neighbours.gallery.vectors))
    repeats = np.bincount(neighbours.of_sample)
    for rows, nearest in neighbours.chunks():
        weights = nearest.expected(k) * repeats[rows][:, None]
        counts += np.bincount(nearest.item.ravel(), weights.ravel(), minlength=len(counts))
    return (counts / neighbours.shares)[neighbours.gallery.of_sample]


def hubness(counts: np.ndarray) -> dict[str, float]:
    """Return skewness of the k-occurrences, the share of samples never retrieved, and the greatest count.

    Source: Radovanovic, Nanopoulos and Ivanovic, Hubs in space, JMLR 2010.
    """
    centred = counts - counts.mean()
    deviation = counts.std()
    skew = float((centred**3).mean() / deviation**3) if deviation > 0 else float("nan")
    return {"skewness": skew, "never": float((counts < 0.5).mean()), "most": float(counts.max())}


def hubs(counts: np.ndarray) -> pd.DataFrame:
    """Return the samples that are retrieved most often: sample, occurrences."""
    order = np.argsort(-counts, kind="stable")[:_MAX_HUBS]
    return pd.DataFrame({"sample": order, "occurrences": counts[order]})


def browsing_table(neighbours: NeighbourSet, truth: HitGroups, depth: int = BROWSED_DEPTH) -> pd.DataFrame:
    """Return a row per sample with lists of its nearest candidates: sample, similarity, copies, hit.

    ``copies`` counts the samples that share a candidate vector. ``sample`` is one of the query's own group if there is
    one among them, else the first.
    """
    nearest, gallery = neighbours.nearest, neighbours.gallery.of_sample
    item, n_vectors = nearest.item[:, :depth], len(neighbours.gallery.vectors)
    first = np.full(n_vectors, len(gallery))
    np.minimum.at(first, gallery, np.arange(len(gallery)))
    groups = truth.groups if truth.gallery_groups is None else truth.gallery_groups
    pairs, sample = np.unique(groups.astype(np.int64) * n_vectors + gallery, return_index=True)
    query = truth.groups[neighbours.first_samples()]
    wanted = query[:, None].astype(np.int64) * n_vectors + item
    spot = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    hit = (pairs[spot] == wanted) & (nearest.size[:, :depth] > 0)
    shown = np.where(hit, sample[spot], first[item])
    columns = {"sample": shown.astype(np.int32), "similarity": nearest.similarity[:, :depth], "hit": hit}
    columns["copies"] = nearest.size[:, :depth]
    return pd.DataFrame({name: list(values[neighbours.of_sample]) for name, values in columns.items()})


@dataclass
class NeighbourReport:
    """Metrics of all directions by sample (N,) and as numbers, tables, and reasons for undefined metrics."""

    ks: tuple[int, ...]
    labels: LabelVectors | None
    names: Sequence[str]
    patients: np.ndarray | None = None
    by_query: dict[str, np.ndarray] = field(default_factory=dict)
    plain: dict[str, float] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def metrics(self) -> dict[str, Any]:
        """Return the mean of each metric by sample, and the other metrics."""
        metrics: dict[str, Any] = dict(self.plain)
        for name, values in self.by_query.items():
            known = values[~np.isnan(values)]
            metrics[name] = float(known.mean()) if len(known) else float("nan")
        return metrics

    def add(self, direction: str, neighbours: NeighbourSet, truth: HitGroups) -> None:
        """Add the metrics and tables of a direction; its nearest candidates can be freed afterwards."""
        counts, labels = occurrences(neighbours), self.labels
        self.plain |= {f"{direction}_hub_{name}": value for name, value in hubness(counts).items()}
        self._append("hubs", hubs(counts).assign(direction=direction))
        if not neighbours.within:
            self.tables[f"neighbours_{direction}"] = browsing_table(neighbours, truth)
        if labels is not None:
            depths = [k for k in self.ks if neighbours.complete_to(k)]
            values = graded(neighbours, labels, depths)
            self.by_query |= {f"graded_{direction}_{name}": array for name, array in values.items()}
            table = by_finding(neighbours, labels.targets, self.names, depths, self.patients)
            self._append("findings", table.assign(direction=direction))
            if len(labels.distinct) > MAX_LABEL_VECTORS:
                self.undefined |= {f"graded_{direction}_ndcg_at_{k}": TOO_MANY_LABELS for k in depths}

    def _append(self, name: str, table: pd.DataFrame) -> None:
        before = [self.tables[name]] if name in self.tables else []
        self.tables[name] = pd.concat([*before, table], ignore_index=True)


def ctclip_map(
    image: Side, labels: LabelVectors, ks: Sequence[int], device: torch.device, depth: int
) -> dict[str, np.ndarray]:
    """Return MAP@K in CT-CLIP's sense, by sample (N,): the mean label-Jaccard of the K nearest volumes with a finding.

    As in CT-CLIP's scripts all volumes are queries and only volumes with a finding are candidates, so that a query
    without a finding scores 0. Unlike there, a query is not its own candidate. It is no average precision in the usual
    sense.
    """
    rows = np.flatnonzero((labels.targets == 1).any(axis=1))
    if len(rows) < 2:
        return {}
    used, of_sample = np.unique(image.of_sample[rows], return_inverse=True)
    side = Side(image.vectors[used], of_sample)
    direction = Direction(side, side, HitGroups(np.arange(len(rows)), None), (1,), ComputeSettings(device))
    result = direction.run("", count_pairs=False, nearest=depth)
    assert result.nearest is not None
    neighbours = NeighbourSet(result.nearest, direction.of_sample, side, within=True)
    values = graded(neighbours, LabelVectors(labels.distinct, labels.of_sample[rows]), ks)
    by_sample = {}
    for k in ks:
        if f"jaccard_at_{k}" in values:
            scores = by_sample[f"ctclip_v_to_v_map_at_{k}"] = np.zeros(len(labels.of_sample))
            scores[rows] = values[f"jaccard_at_{k}"]
    return by_sample
