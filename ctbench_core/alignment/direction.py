"""One direction of retrieval, tile by tile: every query against the whole gallery, never N x N.

Samples with the same vector, group and label group are one query, scored once. Where both sides are one (volumes
among volumes), each query's own sample is left out of the gallery and of what is relevant.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ctbench_core.alignment.nearest import Nearest
from ctbench_core.alignment.ordering import Ranked, TileOrder
from ctbench_core.alignment.products import Gallery, Workspace
from ctbench_core.alignment.ragged import Ragged
from ctbench_core.alignment.scoring import QueryScores, Scorer, blocks_of, blocks_of_others
from ctbench_core.alignment.tiles import each_tile
from ctbench_core.alignment.vectors import Side
from ctbench_core.errors import Interrupted

# Similarities and relevant items of a tile: on a CPU no more than its caches like, elsewhere enough to
# keep the device busy.
_TILE_CELLS = {"cpu": 6_000_000}
_TILE_CELLS_ELSEWHERE = 64_000_000

# More threads than this gain nothing: they share one interpreter and the memory's speed.
_MOST_THREADS = 8

INSTANCE, SEMANTIC, OTHERS = "instance", "semantic", "semantic_others"
_SELF = "self"

# Edges of the similarity histograms: 200 bins over cosines -1 to 1.
EDGES = np.linspace(-1.0, 1.0, 201)


@dataclass(frozen=True)
class Truth:
    """What is a hit: int groups (N,) from 0 of all samples, alike on both sides.

    ``kinds`` (N,) tells samples apart that are no one query for other reasons.
    """

    groups: np.ndarray
    label_groups: np.ndarray | None
    kinds: np.ndarray | None = None

    def grouped(self) -> dict[str, np.ndarray]:
        """Return the groups of each truth by its name."""
        named = {INSTANCE: self.groups, SEMANTIC: self.label_groups}
        return {name: groups for name, groups in named.items() if groups is not None}


@dataclass(frozen=True)
class Histograms:
    """Pairs a bin, int64 (200,): all pairs, own pairs, and pairs of one label group."""

    all_pairs: np.ndarray
    own: np.ndarray
    semantic: np.ndarray | None


@dataclass(frozen=True)
class DirectionResult:
    """What one direction found: scores of all samples by truth, and what was asked for."""

    scores: dict[str, QueryScores]
    pairs: Histograms | None
    nearest: Nearest | None


@dataclass(frozen=True)
class _Tile:
    """What one tile of queries found."""

    scores: dict[str, QueryScores]
    pairs: dict[str, Tensor]
    nearest: list[Nearest]


class Direction:
    """Retrieval from one side to the other; ``settle_all`` makes every order exact, however deep."""

    def __init__(
        self,
        queries: Side,
        gallery: Side,
        truth: Truth,
        depths: tuple[int, ...],
        device: torch.device,
        settle_all: bool = False,
    ) -> None:
        self.device = device
        self.within = queries is gallery
        self._vectors = torch.from_numpy(queries.vectors)
        shares = np.bincount(gallery.of_sample, minlength=len(gallery.vectors))
        self.gallery = Gallery(
            torch.from_numpy(gallery.vectors).to(device),
            torch.from_numpy(shares).to(device),
            len(gallery.of_sample) if settle_all else max(depths),
        )
        self.scorer = Scorer(self.gallery.size, depths, device)
        self._fold_queries(queries, gallery, truth)

    def _fold_queries(self, queries: Side, gallery: Side, truth: Truth) -> None:
        """Find the distinct queries, and the relevant candidates of each truth."""
        grouped = truth.grouped()
        combined = _combine(*grouped.values())
        kinds = _combine(queries.of_sample, combined, *(() if truth.kinds is None else (truth.kinds,)))
        _, first, kind, repeats = np.unique(kinds, return_index=True, return_inverse=True, return_counts=True)
        # Queries of one label group side by side read the same columns, and tiles hold queries alike.
        order = np.argsort(next(reversed(grouped.values()))[first], kind="stable")
        first, repeats, self.of_sample = first[order], repeats[order], np.argsort(order)[kind]
        self.n_queries = len(first)
        self._vector = torch.from_numpy(queries.of_sample[first])
        self._repeats = self._tensor(repeats)
        self._group = {name: self._tensor(groups[first]) for name, groups in grouped.items()}
        self._relevant = {name: self._lists(groups, gallery) for name, groups in grouped.items()}
        self._own_pairs = Ragged.collect(self.of_sample, gallery.of_sample, self.n_queries, self.device)
        if SEMANTIC in grouped:
            self._group[OTHERS] = self._tensor(combined[first])
            self._relevant[OTHERS] = self._lists(combined, gallery)
        if self.within:
            everyone = np.arange(self.n_queries)
            self._group[_SELF] = self._tensor(everyone)
            own = queries.of_sample[first]
            self._relevant[_SELF] = Ragged.collect(everyone, own, self.n_queries, self.device)

    def _lists(self, groups: np.ndarray, gallery: Side) -> Ragged:
        return Ragged.collect(groups, gallery.of_sample, int(groups.max()) + 1, self.device)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.int64)).to(self.device)

    def run(
        self,
        tile: int,
        report: Callable[[int], None],
        cancel: threading.Event | None,
        count_pairs: bool,
        nearest: int = 0,
    ) -> DirectionResult:
        """Score all queries of every truth, by sample; count pairs by similarity and list the nearest when asked.

        Raises:
            Interrupted: ``cancel`` was set.
        """
        tiles = self._tiles(tile)

        def work(workspace: Workspace, bounds: tuple[int, int]) -> _Tile:
            if cancel is not None and cancel.is_set():
                raise Interrupted("The alignment was stopped; nothing of it was written.")
            return self._score_tile(workspace, bounds, count_pairs, nearest)

        rows = max(stop - start for start, stop in tiles)
        threads = min(torch.get_num_threads(), _MOST_THREADS, len(tiles)) if self.device.type == "cpu" else 1
        found = []
        for (_, stop), part in zip(tiles, each_tile(work, tiles, lambda: Workspace(rows, self.gallery), threads)):
            found.append(part)
            report(stop)
        names = found[0].scores
        scores = {name: QueryScores.join([part.scores[name] for part in found]).take(self.of_sample) for name in names}
        counted = {name: torch.stack([part.pairs[name] for part in found]).sum(0) for name in found[0].pairs}
        near = Nearest.join([some for part in found for some in part.nearest]) if nearest else None
        return DirectionResult(scores, _histograms(counted) if count_pairs else None, near)

    def _score_tile(self, workspace: Workspace, bounds: tuple[int, int], count_pairs: bool, nearest: int) -> _Tile:
        rows = torch.arange(*bounds, device=self.device)
        vector = self._vector[slice(*bounds)]
        order = TileOrder(self._vectors[vector].to(self.device), self.gallery, workspace)
        ranked = self._rank(order, rows)
        pairs = self._count_pairs(order, rows, ranked) if count_pairs else {}
        near = []
        if nearest:
            item, similarity, level = (part.cpu().numpy() for part in order.top(nearest))
            own = vector.numpy() if self.within else None
            near = [Nearest.of(item, similarity, level, self.gallery.shares.cpu().numpy(), own)]
        return _Tile(self._score(ranked, rows), pairs, near)

    def _tiles(self, tile: int) -> list[tuple[int, int]]:
        """Cut the queries so that neither similarities nor relevant items outgrow the memory meant for them."""
        cells = torch.full((self.n_queries,), len(self.gallery.vectors), device=self.device)
        for name, group in self._group.items():
            cells = cells + 4 * self._relevant[name].lengths()[group]  # an item takes several numbers
        filled = torch.cat([cells.new_zeros(1), cells.cumsum(0)]).cpu().numpy()
        most = _TILE_CELLS.get(self.device.type, _TILE_CELLS_ELSEWHERE)
        tiles, start = [], 0
        while start < self.n_queries:
            fits = int(np.searchsorted(filled, filled[start] + most, side="right")) - 1
            stop = min(max(fits, start + 1), start + tile, self.n_queries)
            tiles.append((start, stop))
            start = stop
        return tiles

    def _rank(self, order: TileOrder, rows: Tensor) -> dict[str, Ranked]:
        taken = {name: self._relevant[name].take(group[rows]) for name, group in self._group.items()}
        ranked: dict[str, Ranked] = {}
        for name, exact_against in ((_SELF, None), (OTHERS, None), (INSTANCE, _SELF), (SEMANTIC, OTHERS)):
            if name in taken:
                ranked[name] = order.rank(
                    *taken[name], exact_against=ranked.get(exact_against) if exact_against else None
                )
        return ranked

    def _score(self, ranked: dict[str, Ranked], rows: Tensor) -> dict[str, QueryScores]:
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
            scores[OTHERS] = without(SEMANTIC, INSTANCE, OTHERS)
        return scores

    def _count_pairs(self, order: TileOrder, rows: Tensor, ranked: dict[str, Ranked]) -> dict[str, Tensor]:
        """Count a tile's pairs a similarity bin; what rounding put outside -1 to 1 counts at the ends."""
        inner = torch.from_numpy(EDGES[1:-1]).to(self.device)
        repeats = self._repeats[rows]
        edges = order.positions_of(inner)
        below = (order.counts_below(edges) * repeats[:, None]).sum(0)
        counted = torch.cat([below, self.gallery.size * repeats.sum()[None]])
        pairs = {"all": torch.diff(counted, prepend=counted.new_zeros(1))}
        row, item, count = self._own_pairs.take(rows)
        place = torch.searchsorted(inner, order.keys(row, item), right=True)
        pairs["own"] = torch.zeros_like(counted).index_add_(0, place, count)
        if SEMANTIC in ranked:
            items = ranked[SEMANTIC]
            # Items rise with their position: an edge's place among a row's items is one search.
            start = torch.arange(len(rows), device=self.device)[:, None] * order.n_columns
            place = torch.searchsorted(items.row * order.n_columns + items.position, (start + edges).view(-1))
            weighed = torch.nn.functional.pad((items.count * repeats[items.row]).cumsum(0), (1, 0))
            first = torch.searchsorted(items.row, torch.arange(len(rows), device=self.device))
            below = (weighed[place].view(edges.shape) - weighed[first][:, None]).sum(0)
            pairs["semantic"] = torch.diff(torch.cat([below, weighed[-1:]]), prepend=below.new_zeros(1))
        return pairs


def _combine(*keys: np.ndarray) -> np.ndarray:
    """Number the distinct combinations of int keys (N,) from 0."""
    combined = keys[0]
    for key in keys[1:]:
        _, combined = np.unique(combined * (int(key.max()) + 1) + key, return_inverse=True)
    return combined


def _histograms(counts: dict[str, Tensor]) -> Histograms:
    arrays = {name: values.cpu().numpy() for name, values in counts.items()}
    return Histograms(arrays["all"], arrays["own"], arrays.get("semantic"))
