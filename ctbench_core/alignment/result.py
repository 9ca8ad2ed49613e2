"""The result of an alignment: metrics, tables for charts, and its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.alignment.direction import EDGES
from ctbench_core.alignment.scoring import (
    COMPATIBLE_DEPTH,
    QueryScores,
    expected_first_rank,
    expected_reciprocal_rank,
    hit_probability,
    ideal_gain,
)
from ctbench_core.atomic import write_json
from ctbench_core.declared import retrieval_prefix
from ctbench_core.inference import MeanInterval
from ctbench_core.runs import announce_change, write_parquet
from ctbench_core.tables import write_sheet

# Rows of a Parquet group: browsing reads one group for one volume.
ROWS_PER_GROUP = 256

# The interval of a result whose patients are not known.
NO_PATIENTS = MeanInterval(np.nan, np.nan, np.nan, "patients are not known")

# Depths at which nDCG is always reported, as in researchers' older tables.
NDCG_DEPTHS = (5, 10, 50)


@dataclass(frozen=True)
class Retrieval:
    """One direction under one truth: the scores of each query, and the metrics that are their averages.

    ``queries`` is a mask (N,) of the samples that are queries, None for all; ``intervals`` are by metric.
    """

    direction: str
    truth: str
    scores: QueryScores
    k: tuple[int, ...]
    depths: tuple[int, ...]
    queries: np.ndarray | None = None
    intervals: dict[str, MeanInterval] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Prefix of its metrics in the `align` JSON."""
        return retrieval_prefix(self.truth, self.direction)

    @property
    def scored(self) -> np.ndarray:
        """Queries with a relevant candidate, bool (Q,); the others are counted, not scored."""
        return self.scores.n_relevant > 0

    def of_queries(self, queries: np.ndarray, truth: str) -> Retrieval:
        """Return the retrieval of some queries, a mask, under the name of another truth."""
        return Retrieval(self.direction, truth, self.scores.take(queries), self.k, self.depths, queries)

    def metrics(self) -> dict[str, float | int]:
        """Return the averages over scored queries; NaN without any."""
        metrics: dict[str, float | int] = {
            "queries": len(self.scored),
            "queries_without_relevant": int((~self.scored).sum()),
        }
        if self.intervals:
            metrics["query_patients"] = self.intervals["median_rank"].patients
        scores = self.scores.take(self.scored)
        metrics |= {f"chance_at_{k}": _mean(_chance(scores, k)) for k in self.k}
        metrics |= {name: _mean(values[self.scored]) for name, values in self.by_query().items()}
        ranks = self.first_rank()[self.scored]
        metrics["median_rank"] = float(np.median(ranks)) if len(ranks) else float("nan")
        metrics["tied_queries"] = int((scores.tied > scores.relevant).sum())
        return metrics

    def compatible_metrics(self) -> dict[str, float]:
        """Return MAP, MRR and nDCG as older tools of this field define them.

        Only the first 50 ranks count, a query's sum is divided by the number of relevant candidates among them, and a
        query without one scores 0.
        """
        scores = self.scores
        hits = np.where(scores.n_relevant > 0, scores.hits[:, self.depths.index(COMPATIBLE_DEPTH)], 0.0)
        metrics: dict[str, float] = {"map": _mean(_share(scores.precisions, hits))}
        near = self.scored & (scores.above < COMPATIBLE_DEPTH)
        metrics["mrr"] = _mean(np.where(near, expected_reciprocal_rank(*scores.block), 0.0))
        for depth in NDCG_DEPTHS:
            ideal = np.interp(hits, np.arange(depth + 1), ideal_gain(np.arange(depth + 1), depth))
            metrics[f"ndcg_at_{depth}"] = _mean(_share(scores.gain[:, self.depths.index(depth)], ideal))
        return metrics

    def by_query(self) -> dict[str, np.ndarray]:
        """Return the metrics in [0, 1] of each query, (Q,), whose means are reported; NaN where not scored."""
        scores = self.scores
        metrics = {"mrr": expected_reciprocal_rank(*scores.block), "map": scores.ap}
        for k in self.k:
            metrics[f"recall_at_{k}"] = hit_probability(*scores.block, k)
            metrics[f"fraction_recall_at_{k}"] = _share(scores.hits[:, self.depths.index(k)], scores.n_relevant)
        for place, depth in enumerate(self.depths):
            metrics[f"ndcg_at_{depth}"] = _share(scores.gain[:, place], ideal_gain(scores.n_relevant, depth))
        return {name: np.where(self.scored, values, np.nan) for name, values in metrics.items()}

    def first_rank(self) -> np.ndarray:
        """Return the expected rank of each query's first relevant candidate, (Q,); NaN where not scored."""
        return np.where(self.scored, expected_first_rank(*self.scores.block), np.nan)

    def by_sample(self, values: np.ndarray) -> np.ndarray:
        """Return values of queries (Q,) by sample, (N,); NaN for samples that are no queries."""
        if self.queries is None:
            return values
        whole = np.full(len(self.queries), np.nan)
        whole[self.queries] = values
        return whole

    def recall_frame(self) -> pd.DataFrame:
        """Return recall, chance, their ratio, the interval or why there is none, and the queries at each k."""
        metrics = self.metrics()
        recall, chance = (np.array([metrics[f"{name}_at_{k}"] for k in self.k]) for name in ("recall", "chance"))
        lift = recall / chance  # chance is above 0 for every scored query, and NaN without any
        intervals = [self.intervals.get(f"recall_at_{k}", NO_PATIENTS) for k in self.k]
        columns = {
            "direction": self.direction,
            "truth": self.truth,
            "k": list(self.k),
            "recall": recall,
            "chance": chance,
            "lift": lift,
            "lower": [interval.lo for interval in intervals],
            "upper": [interval.hi for interval in intervals],
            "queries": metrics["queries"],
            "scored": int(self.scored.sum()),
            "patients": [interval.patients for interval in intervals],
            "no_interval": [interval.reason for interval in intervals],
        }
        return pd.DataFrame(columns)

    def ranks_frame(self) -> pd.DataFrame:
        """Return a row per query: the expected rank of its first relevant candidate, and its scores."""
        scores, scored, by_query = self.scores, self.scored, self.by_query()
        return pd.DataFrame(
            {
                "direction": self.direction,
                "truth": self.truth,
                "query": np.arange(len(scored)) if self.queries is None else np.flatnonzero(self.queries),
                "first_rank": self.first_rank(),
                "reciprocal_rank": by_query["mrr"],
                "average_precision": scores.ap,
                **{name: by_query[name] for k in self.k if (name := f"recall_at_{k}")},
                "n_relevant": scores.n_relevant,
                "tied": scores.tied > scores.relevant,
            }
        )


@dataclass(frozen=True)
class AlignmentResult:
    """Alignment of N samples.

    Attributes:
        metrics: under the names of the `align` JSON.
        retrievals: one for each direction and truth.
        pairs: number of pairs per similarity bin, int64 (200,), by truth and "paired" or "unpaired".
        tables: optional ones: findings, hubs, map, neighbours_<direction>.
    """

    metrics: dict[str, Any]
    retrievals: list[Retrieval]
    pairs: dict[tuple[str, str], np.ndarray]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def recall_frame(self) -> pd.DataFrame:
        """Return direction, truth, k, recall, chance, lift, lower, upper, queries, scored, patients, no_interval."""
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
        """Return a row per query, direction and truth; the number of a query is that of its sample."""
        frames = [retrieval.ranks_frame() for retrieval in self.retrievals if retrieval.queries is None]
        return pd.concat(frames, ignore_index=True)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _chance(scores: QueryScores, k: int) -> np.ndarray:
    """Return Recall@k of a random order: the whole gallery as one tied block."""
    return hit_probability(np.zeros_like(scores.above), scores.n_candidates, scores.n_relevant, k)


def write_alignment(
    folder: Path, result: AlignmentResult, volumes: np.ndarray | None = None, samples: pd.DataFrame | None = None
) -> None:
    """Write the tables and, last, metrics.json, which marks them complete.

    volumes: names (N,) of the samples, added to ranks and hubs as ``volumename``; samples: ids, findings and report text
    for browsing, N rows.
    """
    ranks, tables = result.ranks_frame(), dict(result.tables)
    if volumes is not None:
        names = np.asarray(volumes, dtype=object)
        ranks.insert(3, "volumename", names[ranks["query"]])
        if "hubs" in tables:
            tables["hubs"] = tables["hubs"].assign(volumename=names[tables["hubs"]["sample"]])
    write_sheet(folder / "recall.csv", result.recall_frame())
    write_sheet(folder / "histogram.csv", result.histogram_frame())
    _write_parquet(folder / "ranks.parquet", ranks)
    if samples is not None:
        tables["samples"] = samples
    for name, table in tables.items():
        if name in ("findings", "hubs"):
            write_sheet(folder / f"{name}.csv", table)
        else:
            _write_parquet(folder / f"{name}.parquet", table, ROWS_PER_GROUP)
    write_json(folder / "metrics.json", result.metrics)
    announce_change(folder.parent.parent)


def _write_parquet(path: Path, table: pd.DataFrame, rows_per_group: int = 2**20) -> None:
    """Write a table; small groups of rows let a reader load one volume without the others."""
    write_parquet(path, table, row_group_size=rows_per_group, compression="zstd")
