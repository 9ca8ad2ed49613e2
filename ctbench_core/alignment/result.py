"""What an alignment found: figures, tables for charts, and its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.alignment.direction import EDGES, INSTANCE
from ctbench_core.alignment.scoring import COMPATIBLE_DEPTH, QueryScores, ideal_gain
from ctbench_core.alignment.ties import expected_first_rank, expected_reciprocal_rank, hit_probability
from ctbench_core.atomic import write_json, write_text, write_with

# Rows of a Parquet group: what browsing reads for one volume.
ROWS_A_GROUP = 256

# Depths at which nDCG is always reported, as researchers' older tables do.
NDCG_DEPTHS = (5, 10, 50)


def prefix_of(truth: str) -> str:
    """Return how the names of a truth's figures begin."""
    return "" if truth == INSTANCE else f"{truth}_"


@dataclass(frozen=True)
class Retrieval:
    """One direction under one truth: figures of each query, and what they average to.

    ``queries`` is a mask (N,) of the samples that are its queries, None for all; ``intervals`` are bounds by figure.
    """

    direction: str
    truth: str
    scores: QueryScores
    k: tuple[int, ...]
    depths: tuple[int, ...]
    queries: np.ndarray | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def scored(self) -> np.ndarray:
        """Which queries have a relevant candidate, bool (Q,); the others are counted, not scored."""
        return self.scores.n_relevant > 0

    def of_queries(self, queries: np.ndarray, truth: str) -> Retrieval:
        """Return the same for some of the queries, a mask, under another name."""
        return Retrieval(self.direction, truth, self.scores.take(queries), self.k, self.depths, queries)

    def figures(self) -> dict[str, float | int]:
        """Return the averages over scored queries; NaN without any."""
        scores = self.scores.take(self.scored)
        block = (scores.above, scores.tied, scores.relevant)
        found: dict[str, float | int] = {
            "queries": len(self.scored),
            "queries_without_relevant": int((~self.scored).sum()),
        }
        for k in self.k:
            found[f"recall_at_{k}"] = _mean(hit_probability(*block, k))
            found[f"chance_at_{k}"] = _mean(_chance(scores, k))
            found[f"fraction_recall_at_{k}"] = _mean(scores.found[:, self.depths.index(k)] / scores.n_relevant)
        found["mrr"] = _mean(expected_reciprocal_rank(*block))
        found["map"] = _mean(scores.ap)
        for place, depth in enumerate(self.depths):
            found[f"ndcg_at_{depth}"] = _mean(scores.gain[:, place] / ideal_gain(scores.n_relevant, depth))
        ranks = expected_first_rank(*block)
        found["median_rank"] = float(np.median(ranks)) if len(ranks) else float("nan")
        found["tied_queries"] = int((scores.tied > scores.relevant).sum())
        return found

    def compatible(self) -> dict[str, float]:
        """Return MAP, MRR and nDCG as older figures of this field define them: nothing below rank 50 counts, a query
        is divided by the relevant found above it, and a query that finds none scores 0."""
        scores = self.scores
        kept = np.where(scores.n_relevant > 0, scores.found[:, self.depths.index(COMPATIBLE_DEPTH)], 0.0)
        found: dict[str, float] = {"map": _mean(_share(scores.cut, kept))}
        near = self.scored & (scores.above < COMPATIBLE_DEPTH)
        block = (scores.above, scores.tied, scores.relevant)
        found["mrr"] = _mean(np.where(near, expected_reciprocal_rank(*block), 0.0))
        for depth in NDCG_DEPTHS:
            ideal = np.interp(kept, np.arange(depth + 1), ideal_gain(np.arange(depth + 1), depth))
            found[f"ndcg_at_{depth}"] = _mean(_share(scores.gain[:, self.depths.index(depth)], ideal))
        return found

    def by_query(self) -> dict[str, np.ndarray]:
        """Return recall at each k, reciprocal rank and average precision of each query; NaN where not scored."""
        block = (self.scores.above, self.scores.tied, self.scores.relevant)
        found = {f"recall_at_{k}": hit_probability(*block, k) for k in self.k}
        found |= {"mrr": expected_reciprocal_rank(*block), "map": self.scores.ap}
        return {name: np.where(self.scored, values, np.nan) for name, values in found.items()}

    def recall_frame(self) -> pd.DataFrame:
        """Return recall, chance, their ratio and the interval at each k."""
        figures = self.figures()
        recall, chance = (np.array([figures[f"{name}_at_{k}"] for k in self.k]) for name in ("recall", "chance"))
        lift = recall / chance  # chance is above 0 for every scored query, and NaN without any
        columns = {"k": list(self.k), "recall": recall, "chance": chance, "lift": lift}
        bounds = np.array([self.intervals.get(f"recall_at_{k}", (np.nan, np.nan)) for k in self.k])
        columns |= {"lower": bounds[:, 0], "upper": bounds[:, 1]}
        return pd.DataFrame({"direction": self.direction, "truth": self.truth, **columns})

    def ranks_frame(self) -> pd.DataFrame:
        """Return a row a query: expected rank of its first relevant candidate, and what it scored."""
        scores, scored = self.scores, self.scored
        block = (scores.above, scores.tied, scores.relevant)
        return pd.DataFrame(
            {
                "direction": self.direction,
                "truth": self.truth,
                "query": np.arange(len(scored)) if self.queries is None else np.flatnonzero(self.queries),
                "first_rank": np.where(scored, expected_first_rank(*block), np.nan),
                "reciprocal_rank": np.where(scored, expected_reciprocal_rank(*block), np.nan),
                "average_precision": scores.ap,
                "n_relevant": scores.n_relevant,
                "tied": scores.tied > scores.relevant,
            }
        )


@dataclass(frozen=True)
class AlignmentResult:
    """Alignment of N samples.

    Attributes:
        metrics: the figures, under the names of the `align` JSON.
        retrievals: one entry a direction and truth.
        pairs: pairs a similarity bin, int64 (200,), by truth and "paired" or "unpaired".
        tables: what was asked for besides: findings, hubs, map, neighbours_<direction>.
    """

    metrics: dict[str, Any]
    retrievals: list[Retrieval]
    pairs: dict[tuple[str, str], np.ndarray]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def recall_frame(self) -> pd.DataFrame:
        """Return direction, truth, k, recall, chance, lift, lower, upper."""
        return pd.concat([retrieval.recall_frame() for retrieval in self.retrievals], ignore_index=True)

    def histogram_frame(self) -> pd.DataFrame:
        """Return truth, pairs, bin_left, bin_right, count, density."""
        frames = []
        for (truth, pairs), count in self.pairs.items():
            density = count / max(int(count.sum()), 1) / np.diff(EDGES)
            columns = {"bin_left": EDGES[:-1], "bin_right": EDGES[1:], "count": count, "density": density}
            frames.append(pd.DataFrame({"truth": truth, "pairs": pairs, **columns}))
        return pd.concat(frames, ignore_index=True)

    def ranks_frame(self) -> pd.DataFrame:
        """Return a row a query, direction and truth; queries are numbered as the samples came."""
        whole = [one.ranks_frame() for one in self.retrievals if one.queries is None]
        return pd.concat(whole, ignore_index=True)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _chance(scores: QueryScores, k: int) -> np.ndarray:
    """Recall@k of a random order: the whole gallery as one tied block."""
    return hit_probability(np.zeros_like(scores.above), scores.n_candidates, scores.n_relevant, k)


def write_alignment(
    folder: Path, result: AlignmentResult, volumes: np.ndarray | None = None, samples: pd.DataFrame | None = None
) -> None:
    """Write the tables and, last, metrics.json, which marks them complete.

    volumes: names (N,) of the samples, added to ranks and hubs as ``volumename``; samples: what browsing shows of them
    (ids, findings, report text), N rows.
    """
    ranks, tables = result.ranks_frame(), dict(result.tables)
    if volumes is not None:
        names = np.asarray(volumes, dtype=object)
        ranks.insert(3, "volumename", names[ranks["query"]])
        if "hubs" in tables:
            tables["hubs"] = tables["hubs"].assign(volumename=names[tables["hubs"]["sample"]])
    write_text(folder / "recall.csv", result.recall_frame().to_csv(index=False, lineterminator="\n"))
    write_text(folder / "histogram.csv", result.histogram_frame().to_csv(index=False, lineterminator="\n"))
    _write_parquet(folder / "ranks.parquet", ranks)
    if samples is not None:
        tables["samples"] = samples
    for name, table in tables.items():
        if name in ("findings", "hubs"):
            write_text(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
        else:
            _write_parquet(folder / f"{name}.parquet", table, ROWS_A_GROUP)
    write_json(folder / "metrics.json", result.metrics)


def _write_parquet(path: Path, table: pd.DataFrame, rows_a_group: int = 2**20) -> None:
    """Write a table; in small groups of rows one volume is read without the others."""
    write_with(path, lambda file: table.to_parquet(file, index=False, row_group_size=rows_a_group, compression="zstd"))
