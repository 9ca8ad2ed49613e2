"""One direction of retrieval, tile by tile: every query against the whole gallery, never N x N in memory.

Samples with the same vector, group and label group are one query, scored once. Where both sides are the same (volumes
among volumes), each query's own sample is left out of the gallery and of the relevant candidates.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.nearest import NearestCandidates
from ctbench_core.alignment.ordering import ItemLists, RankedItems, TileOrder
from ctbench_core.alignment.products import Gallery, Workspace, full_precision
from ctbench_core.alignment.scoring import QueryScores, Scorer, blocks_of, blocks_of_others
from ctbench_core.alignment.tiles import map_tiles
from ctbench_core.alignment.vectors import Side
from ctbench_core.declared import INSTANCE, OTHERS, SEMANTIC
from ctbench_core.errors import Interrupted
from ctbench_core.progress import Progress, silent

# Similarities and relevant items of a tile: few enough for the caches of a CPU, enough to keep a GPU busy.
_TILE_CELLS_CPU, _TILE_CELLS_GPU = 6_000_000, 64_000_000

# More threads gain nothing: they share one interpreter and the memory bandwidth.
_MAX_THREADS = 8

_SELF, _EXAM = "self", "exam"

# Edges of the similarity histograms: 200 bins over cosines -1 to 1.
EDGES = np.linspace(-1.0, 1.0, 201)


@dataclass(frozen=True)
class HitGroups:
    """Which candidates are hits: those of the query's group; int groups (N,) from 0, the same on both sides.

    Samples of different ``kinds`` (N,) are never merged to one query. The query's own exam is left out of the gallery
    in metrics of others' hits by label; ``exams`` (N,) None: its own group is. ``gallery_groups`` (M,) are those of the
    candidates where these are not paired with the queries.
    """

    groups: np.ndarray
    label_groups: np.ndarray | None
    kinds: np.ndarray | None = None
    exams: np.ndarray | None = None
    gallery_groups: np.ndarray | None = None

    def grouped(self) -> dict[str, np.ndarray]:
        """Return the groups of each kind of hits by its name."""
        named = {INSTANCE: self.groups, SEMANTIC: self.label_groups}
        return {name: groups for name, groups in named.items() if groups is not None}


@dataclass(frozen=True)
class ComputeSettings:
    """How an alignment is computed: device, most queries of a tile, exactness at every depth, progress, cancellation."""

    device: torch.device
    tile: int = 1024
    resolve_all_ties: bool = False
    progress: Progress = silent
    cancel: threading.Event | None = None


@dataclass(frozen=True)
class DirectionResult:
    """Scores of all samples by truth; pairs and nearest candidates where requested.

    ``pairs``: number of pairs per similarity bin, int64 (200,): all, own, and semantic (of one label group).
    """

    scores: dict[str, QueryScores]
    pairs: dict[str, np.ndarray]
    nearest: NearestCandidates | None


@dataclass(frozen=True)
class _TileResult:
    """Scores, pairs and nearest candidates of one tile of queries."""

    scores: dict[str, QueryScores]
    pairs: dict[str, Tensor]
    nearest: list[NearestCandidates]


class Direction:
    """Retrieval from one side to the other."""

    def __init__(
        self, queries: Side, gallery: Side, truth: HitGroups, depths: tuple[int, ...], settings: ComputeSettings
    ) -> None:
        self.settings, self.device = settings, settings.device
        self.within = queries is gallery
        self._vectors = torch.from_numpy(queries.vectors)
        shares = np.bincount(gallery.of_sample, minlength=len(gallery.vectors))
        self.gallery = Gallery(
            torch.from_numpy(gallery.vectors).to(self.device),
            torch.from_numpy(shares).to(self.device),
            len(gallery.of_sample) if settings.resolve_all_ties else max(depths),
        )
        self.scorer = Scorer(self.gallery.size, depths, self.device)
        self._merge_queries(queries, gallery, truth)

    def _merge_queries(self, queries: Side, gallery: Side, truth: HitGroups) -> None:
        """Find the distinct queries, and the relevant candidates of each truth."""
        grouped = truth.grouped()
        exams = truth.groups if truth.exams is None else truth.exams
        parts = [queries.of_sample, *grouped.values(), exams, *([] if truth.kinds is None else [truth.kinds])]
        kinds = _combine(*parts)
        _, first, kind, repeats = np.unique(kinds, return_index=True, return_inverse=True, return_counts=True)
        # Neighbouring queries of one label group read the same columns, and a tile holds similar queries.
        order = np.argsort(next(reversed(grouped.values()))[first], kind="stable")
        first, repeats, self.of_sample = first[order], repeats[order], np.argsort(order)[kind]
        self.n_queries = len(first)
        self._vector = torch.from_numpy(queries.of_sample[first])
        self._repeats = self._tensor(repeats)
        self._group = {name: self._tensor(groups[first]) for name, groups in grouped.items()}
        owners = grouped if truth.gallery_groups is None else {INSTANCE: truth.gallery_groups}
        self._relevant = {name: self._lists(owners[name], gallery, groups) for name, groups in grouped.items()}
        self._is_paired = truth.gallery_groups is None
        self._own_pairs = (
            self._relevant[INSTANCE]
            if not self._is_paired
            else ItemLists.collect(self.of_sample, gallery.of_sample, self.n_queries, self.device)
        )
        if SEMANTIC in grouped:
            added = {OTHERS: _combine(exams, grouped[SEMANTIC])} | ({} if truth.exams is None else {_EXAM: exams})
            self._group |= {name: self._tensor(groups[first]) for name, groups in added.items()}
            self._relevant |= {name: self._lists(groups, gallery, groups) for name, groups in added.items()}
        if self.within:
            everyone = np.arange(self.n_queries)
            self._group[_SELF] = self._tensor(everyone)
            own = queries.of_sample[first]
            self._relevant[_SELF] = ItemLists.collect(everyone, own, self.n_queries, self.device)

    def _lists(self, owners: np.ndarray, gallery: Side, queries: np.ndarray) -> ItemLists:
        """Return the candidates of each group, by the groups of the candidates and of the queries."""
        count = int(max(owners.max(), queries.max())) + 1
        return ItemLists.collect(owners, gallery.of_sample, count, self.device)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.int64)).to(self.device)

    def run(self, phase: str, count_pairs: bool, nearest: int = 0) -> DirectionResult:
        """Score all queries of every truth, by sample; on request count pairs by similarity and list the nearest."""
        tiles, cancel = self._tiles(), self.settings.cancel

        def work(workspace: Workspace, bounds: tuple[int, int]) -> _TileResult:
            if cancel is not None and cancel.is_set():
                raise Interrupted("The alignment was stopped; nothing of it was written.")
            return self._score_tile(workspace, bounds, count_pairs, nearest)

        rows = max(stop - start for start, stop in tiles)
        threads = min(torch.get_num_threads(), _MAX_THREADS, len(tiles)) if self.device.type == "cpu" else 1
        parts = []
        with full_precision():
            for (_, stop), part in zip(tiles, map_tiles(work, tiles, lambda: Workspace(rows, self.gallery), threads)):
                parts.append(part)
                self.settings.progress(phase, stop, self.n_queries)
        names = parts[0].scores
        scores = {name: QueryScores.join([part.scores[name] for part in parts]).take(self.of_sample) for name in names}
        counts = {name: torch.stack([part.pairs[name] for part in parts]).sum(0) for name in parts[0].pairs}
        pairs = {name: values.cpu().numpy() for name, values in counts.items()}
        near = NearestCandidates.join([tile for part in parts for tile in part.nearest]) if nearest else None
        return DirectionResult(scores, pairs, near)

    def _score_tile(
        self, workspace: Workspace, bounds: tuple[int, int], count_pairs: bool, nearest: int
    ) -> _TileResult:
        rows = torch.arange(*bounds, device=self.device)
        vector = self._vector[slice(*bounds)]
        order = TileOrder(self._vectors[vector].to(self.device), self.gallery, workspace)
        ranked = self._rank(order, rows)
        pairs = self._count_pairs(order, rows, ranked) if count_pairs else {}
        near = []
        if nearest:
            item, similarity, level = (part.cpu().numpy() for part in order.top(nearest))
            own = vector.numpy() if self.within else None
            near = [NearestCandidates.of(item, similarity, level, self.gallery.shares.cpu().numpy(), own)]
        return _TileResult(self._score(ranked, rows), pairs, near)

    def _tiles(self) -> list[tuple[int, int]]:
        """Cut the queries into tiles whose similarities and relevant items stay within the memory limit."""
        cells = torch.full((self.n_queries,), len(self.gallery.vectors), device=self.device)
        for name, group in self._group.items():
            cells = cells + 4 * self._relevant[name].lengths()[group]  # an item takes several numbers
        filled = torch.cat([cells.new_zeros(1), cells.cumsum(0)]).cpu().numpy()
        limit = _TILE_CELLS_CPU if self.device.type == "cpu" else _TILE_CELLS_GPU
        tiles, start = [], 0
        while start < self.n_queries:
            fits = int(np.searchsorted(filled, filled[start] + limit, side="right")) - 1
            stop = min(max(fits, start + 1), start + self.settings.tile, self.n_queries)
            tiles.append((start, stop))
            start = stop
        return tiles

    def _rank(self, order: TileOrder, rows: Tensor) -> dict[str, RankedItems]:
        items = {name: self._relevant[name].take(group[rows]) for name, group in self._group.items()}
        ranked: dict[str, RankedItems] = {}
        for name, other in ((_SELF, ""), (OTHERS, ""), (_EXAM, ""), (INSTANCE, _SELF), (SEMANTIC, OTHERS)):
            if name in items:
                ranked[name] = order.rank(*items[name], exact_against=ranked.get(other))
        return ranked

    def _score(self, ranked: dict[str, RankedItems], rows: Tensor) -> dict[str, QueryScores]:
        totals = {key: self._relevant[key].totals()[group[rows]] for key, group in self._group.items()}
        everyone = torch.full_like(rows, self.gallery.size)
        sizes = (self.gallery.size, len(self.gallery.vectors))

        def without(name: str, own: str, shared: str) -> QueryScores:
            blocks = blocks_of_others(ranked[name], ranked[own], ranked[shared], sizes)
            return self.scorer.score(blocks, totals[name] - totals[shared], everyone - totals[own])

        scores = {}
        for name in (INSTANCE, SEMANTIC):
            if name in ranked and self.within:
                scores[name] = without(name, _SELF, _SELF)
            elif name in ranked:
                blocks = blocks_of(ranked[name], self.gallery.size)
                scores[name] = self.scorer.score(blocks, totals[name], everyone)
        if OTHERS in ranked:
            scores[OTHERS] = without(SEMANTIC, _EXAM if _EXAM in ranked else INSTANCE, OTHERS)
        return scores

    def _count_pairs(self, order: TileOrder, rows: Tensor, ranked: dict[str, RankedItems]) -> dict[str, Tensor]:
        """Count a tile's pairs per similarity bin; values that rounding put outside -1 to 1 count in the end bins."""
        inner = torch.from_numpy(EDGES[1:-1]).to(self.device)
        repeats = self._repeats[rows]
        edges = order.positions_of(inner)
        below = (order.counts_below(edges) * repeats[:, None]).sum(0)
        cumulative = torch.cat([below, self.gallery.size * repeats.sum()[None]])
        pairs = {"all": torch.diff(cumulative, prepend=cumulative.new_zeros(1))}
        if self._is_paired:
            row, item, count = self._own_pairs.take(rows)
        else:
            row, item, count = self._own_pairs.take(self._group[INSTANCE][rows])
            count = count * repeats[row]
        place = torch.searchsorted(inner, order.keys(row, item), right=True)
        pairs["own"] = torch.zeros_like(cumulative).index_add_(0, place, count)
        if SEMANTIC in ranked:
            items = ranked[SEMANTIC]
            # Items rise with their position: one search finds the place of an edge among a row's items.
            start = torch.arange(len(rows), device=self.device)[:, None] * order.n_columns
            place = torch.searchsorted(items.row * order.n_columns + items.position, (start + edges).view(-1))
            weights = torch.nn.functional.pad((items.count * repeats[items.row]).cumsum(0), (1, 0))
            first = torch.searchsorted(items.row, torch.arange(len(rows), device=self.device))
            below = (weights[place].view(edges.shape) - weights[first][:, None]).sum(0)
            pairs["semantic"] = torch.diff(torch.cat([below, weights[-1:]]), prepend=below.new_zeros(1))
        return pairs


def _combine(*keys: np.ndarray) -> np.ndarray:
    """Number the distinct combinations of int keys (N,) from 0."""
    combined = keys[0]
    for key in keys[1:]:
        _, combined = np.unique(combined * (int(key.max()) + 1) + key, return_inverse=True)
    return combined
