"""Figures of the nearest candidates: graded by shared findings, finding by finding, and who is retrieved too often.

Shapes: N samples, Q queries, M distinct candidate vectors, T nearest, L distinct label vectors, C findings.

MERGED: Figures and tables from the nearest candidates of every direction, gathered for one result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from ctbench_core.alignment.direction import Direction, Truth
from ctbench_core.alignment.nearest import Labels, Nearest, ideal_jaccard_gain, mean_jaccard
from ctbench_core.alignment.ragged import Ragged
from ctbench_core.alignment.vectors import Side

# The ideal order by label-Jaccard compares every two distinct label vectors.
MOST_LABEL_VECTORS = 20_000
TOO_MANY_LABELS = f"more than {MOST_LABEL_VECTORS:,} distinct label vectors"

# Depth at which hubs are counted, as is usual (Radovanovic et al., JMLR 2010).
HUB_DEPTH = 10
_HUBS_KEPT = 50
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class NeighbourSet:
    """The nearest candidates of one direction, by sample.

    Attributes:
        nearest: of each query kind; ``of_sample`` int (N,) names the kind of each sample.
        gallery: the candidates.
        within: both sides are one, and each query's own sample is left out.
    """

    nearest: Nearest
    of_sample: np.ndarray
    gallery: Side
    within: bool

    @property
    def n_candidates(self) -> int:
        """Samples each query is compared with."""
        return len(self.gallery.of_sample) - self.within

    def first_of_kind(self) -> np.ndarray:
        """Return one sample of each query kind, int (Q,)."""
        return np.unique(self.of_sample, return_index=True)[1]

    def rows(self) -> Iterator[slice]:
        """Cut the query kinds into runs of bounded size."""
        for start in range(0, len(self.nearest.item), _ROWS_AT_ONCE):
            yield slice(start, start + _ROWS_AT_ONCE)


def graded(retrieved: NeighbourSet, labels: Labels, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return figures by sample (N,): mean label-Jaccard of the first k, and nDCG at k with it as gain.

    Ties by expectation. Without a candidate that shares a finding nDCG is NaN.
    """
    query = labels.of_sample[retrieved.first_of_kind()]
    codes, near = labels.of_sample, retrieved.nearest
    of_vector = Ragged.collect(retrieved.gallery.of_sample, codes, len(retrieved.gallery.vectors), torch.device("cpu"))
    wanted = [k for k in ks if k <= near.item.shape[1] or near.item.shape[1] == len(retrieved.gallery.vectors)]
    found: dict[str, np.ndarray] = {}
    for name in [f"{kind}_at_{k}" for k in wanted for kind in ("jaccard", "ndcg")]:
        found[name] = np.full(len(near.item), np.nan)
    many = len(labels.distinct) > MOST_LABEL_VECTORS
    ideal = {} if many else {k: ideal_jaccard_gain(labels, k, retrieved.within)[query] for k in wanted}
    for rows in retrieved.rows():
        some = near.take(rows)
        alike = mean_jaccard(some, query[rows], of_vector, labels, retrieved.within)
        for k in wanted:
            if retrieved.n_candidates:
                found[f"jaccard_at_{k}"][rows] = (some.expected(k) * alike).sum(axis=1) / min(k, retrieved.n_candidates)
            if k in ideal:
                best = ideal[k][rows]
                gain = (some.discount(k) * alike).sum(axis=1)
                found[f"ndcg_at_{k}"][rows] = np.divide(gain, best, out=np.full(len(best), np.nan), where=best > 0)
    return {name: values[retrieved.of_sample] for name, values in found.items()}


def by_finding(retrieved: NeighbourSet, targets: np.ndarray, names: Sequence[str], ks: Sequence[int]) -> pd.DataFrame:
    """Return a row a finding: of the queries with it, the share of the first k that have it too, chance, and lift.

    targets: (N, C) in {0, 1, NaN}; unknown counts as absent. Columns finding, queries, prevalence, precision_at_k,
    lift_at_k.
    """
    present = (targets == 1).astype(np.float32)
    shares = np.bincount(retrieved.gallery.of_sample, minlength=len(retrieved.gallery.vectors))
    of_vector = (
        np.stack(
            [np.bincount(retrieved.gallery.of_sample, column, minlength=len(shares)) for column in present.T], axis=1
        )
        / shares[:, None]
    )
    of_vector = of_vector.astype(np.float32)
    repeats = np.bincount(retrieved.of_sample)
    query = present[retrieved.first_of_kind()] * repeats[:, None]
    hits = {k: np.zeros(len(names)) for k in ks}
    for rows in retrieved.rows():
        some = retrieved.nearest.take(rows)
        weights = {k: some.expected(k).astype(np.float32) for k in ks}
        for c in range(len(names)):
            mine = np.flatnonzero(query[rows, c])
            has = of_vector[some.item[mine], c]
            for k in ks:
                hits[k][c] += query[rows, c][mine] @ (weights[k][mine] * has).sum(axis=1)
    queries = present.sum(axis=0)
    chance = (queries - retrieved.within) / max(retrieved.n_candidates, 1)
    frame = pd.DataFrame({"finding": list(names), "queries": queries.astype(int), "prevalence": present.mean(axis=0)})
    for k in ks:
        slots = queries * min(k, retrieved.n_candidates)
        precision = np.divide(hits[k], slots, out=np.full(len(names), np.nan), where=slots > 0)
        frame[f"precision_at_{k}"] = precision
        frame[f"lift_at_{k}"] = np.divide(precision, chance, out=np.full(len(names), np.nan), where=chance > 0)
    return frame


def occurrences(retrieved: NeighbourSet, k: int = HUB_DEPTH) -> np.ndarray:
    """Return how often each sample stands among the first k of a query, expected under ties, float64 (N,)."""
    counted = np.zeros(len(retrieved.gallery.vectors))
    repeats = np.bincount(retrieved.of_sample)
    for rows in retrieved.rows():
        some = retrieved.nearest.take(rows)
        weights = some.expected(k) * repeats[rows][:, None]
        counted += np.bincount(some.item.ravel(), weights.ravel(), minlength=len(counted))
    shares = np.bincount(retrieved.gallery.of_sample, minlength=len(counted))
    return (counted / shares)[retrieved.gallery.of_sample]


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
    order = np.argsort(-counts, kind="stable")[:_HUBS_KEPT]
    return pd.DataFrame({"sample": order, "occurrences": counts[order]})


def neighbours(retrieved: NeighbourSet, groups: np.ndarray, kept: int) -> pd.DataFrame:
    """Return a row a sample: its nearest candidates as lists: sample, similarity, copies, hit.

    A candidate vector that several samples share is named by one of the query's own group where there is one, else
    by its first sample; ``copies`` counts them.
    """
    near, gallery = retrieved.nearest, retrieved.gallery.of_sample
    item, n_vectors = near.item[:, :kept], len(retrieved.gallery.vectors)
    first = np.full(n_vectors, len(gallery))
    np.minimum.at(first, gallery, np.arange(len(gallery)))
    pairs, sample = np.unique(groups.astype(np.int64) * n_vectors + gallery, return_index=True)
    query = groups[retrieved.first_of_kind()]
    wanted = query[:, None].astype(np.int64) * n_vectors + item
    spot = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    hit = (pairs[spot] == wanted) & (near.size[:, :kept] > 0)
    named = np.where(hit, sample[spot], first[item])
    columns = {"sample": named.astype(np.int32), "similarity": near.similarity[:, :kept], "hit": hit}
    columns["copies"] = near.size[:, :kept]
    return pd.DataFrame({name: list(values[retrieved.of_sample]) for name, values in columns.items()})


# Nearest candidates a query that are stored for browsing.
STORED = 20


@dataclass
class NeighbourReport:
    """Figures by sample (N,) and by name, plain figures, tables, and why something is undefined."""

    by_query: dict[str, np.ndarray] = field(default_factory=dict)
    plain: dict[str, float] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)

    def figures(self) -> dict[str, Any]:
        """Return the means of all figures."""
        found: dict[str, Any] = dict(self.plain)
        for name, values in self.by_query.items():
            known = values[~np.isnan(values)]
            found[name] = float(known.mean()) if len(known) else float("nan")
        return found

    def add(
        self,
        way: str,
        one: NeighbourSet,
        groups: np.ndarray,
        ks: Sequence[int],
        labels: Labels | None,
        names: Sequence[str],
    ) -> None:
        """Take what the nearest candidates of a direction tell; they need not be kept after it."""
        depth = one.nearest.item.shape[1]
        depths = [k for k in ks if k <= depth or depth == len(one.gallery.vectors)]
        counts = occurrences(one)
        self.plain |= {f"{way}_hub_{name}": value for name, value in hubness(counts).items()}
        self._append("hubs", hubs(counts).assign(direction=way))
        if not one.within:
            self.tables[f"neighbours_{way}"] = neighbours(one, groups, STORED)
        if labels is not None:
            self.by_query |= {f"graded_{way}_{name}": value for name, value in graded(one, labels, depths).items()}
            self._append("findings", by_finding(one, labels.targets, names, depths).assign(direction=way))
            if len(labels.distinct) > MOST_LABEL_VECTORS:
                self.undefined |= {f"graded_{way}_ndcg_at_{k}": TOO_MANY_LABELS for k in depths}

    def _append(self, name: str, table: pd.DataFrame) -> None:
        before = [self.tables[name]] if name in self.tables else []
        self.tables[name] = pd.concat([*before, table], ignore_index=True)


def ctclip_map(
    image: Side, labels: Labels, ks: Sequence[int], device: torch.device, depth: int
) -> dict[str, np.ndarray]:
    """Return MAP@K in CT-CLIP's sense, by sample (N,): the mean label-Jaccard of the K nearest volumes with a finding.

    As in its scripts all volumes are queries and only volumes with a finding are candidates, so that a query without
    a finding scores 0; unlike there a query is not its own candidate. It is no average precision in the usual sense.
    """
    rows = np.flatnonzero((labels.targets == 1).any(axis=1))
    if len(rows) < 2:
        return {}
    kept, folded = np.unique(image.of_sample[rows], return_inverse=True)
    side = Side(image.vectors[kept], folded)
    direction = Direction(side, side, Truth(np.arange(len(rows)), None), (1,), device)
    found = direction.run(1024, lambda done: None, None, count_pairs=False, nearest=depth)
    assert found.nearest is not None
    one = NeighbourSet(found.nearest, direction.of_sample, side, within=True)
    figures = graded(one, Labels(labels.distinct, labels.of_sample[rows]), ks)
    by_sample = {}
    for k in ks:
        if f"jaccard_at_{k}" in figures:
            values = by_sample[f"ctclip_v_to_v_map_at_{k}"] = np.zeros(len(labels.of_sample))
            values[rows] = figures[f"jaccard_at_{k}"]
    return by_sample
