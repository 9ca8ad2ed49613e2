"""What an alignment found: figures, tables for charts, and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.alignment.direction import EDGES, INSTANCE, OTHERS, SEMANTIC
from ctbench_core.alignment.scoring import QueryScores, ideal_gain
from ctbench_core.alignment.ties import expected_first_rank, expected_reciprocal_rank, hit_probability
from ctbench_core.atomic import write_json, write_text, write_with

# Depths at which nDCG is always reported, as researchers' older tables do.
NDCG_DEPTHS = (5, 10, 50)

# Names of the figures of each truth begin so.
PREFIXES = {INSTANCE: "", SEMANTIC: "semantic_", OTHERS: "semantic_others_"}


@dataclass(frozen=True)
class Retrieval:
    """One direction under one truth: figures of each query, and what they average to."""

    direction: str
    truth: str
    scores: QueryScores
    k: tuple[int, ...]
    depths: tuple[int, ...]

    @property
    def scored(self) -> np.ndarray:
        """Which queries have a relevant candidate, bool (Q,); the others are counted, not scored."""
        return self.scores.n_relevant > 0

    def of_queries(self, queries: np.ndarray, truth: str) -> Retrieval:
        """Return the same for some of the queries, under another name."""
        return Retrieval(self.direction, truth, self.scores.take(queries), self.k, self.depths)

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

    def recall_frame(self) -> pd.DataFrame:
        """Return recall, chance and their ratio at each k."""
        figures = self.figures()
        recall, chance = (np.array([figures[f"{name}_at_{k}"] for k in self.k]) for name in ("recall", "chance"))
        lift = recall / chance  # chance is above 0 for every scored query, and NaN without any
        columns = {"k": list(self.k), "recall": recall, "chance": chance, "lift": lift}
        return pd.DataFrame({"direction": self.direction, "truth": self.truth, **columns})

    def ranks_frame(self) -> pd.DataFrame:
        """Return a row a query: expected rank of its first relevant candidate, and what it scored."""
        scores, scored = self.scores, self.scored
        block = (scores.above, scores.tied, scores.relevant)
        return pd.DataFrame(
            {
                "direction": self.direction,
                "truth": self.truth,
                "query": np.arange(len(scored)),
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
    """

    metrics: dict[str, float | int | dict[str, str]]
    retrievals: list[Retrieval]
    pairs: dict[tuple[str, str], np.ndarray]

    def recall_frame(self) -> pd.DataFrame:
        """Return direction, truth, k, recall, chance, lift."""
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
        return pd.concat([retrieval.ranks_frame() for retrieval in self.retrievals], ignore_index=True)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _chance(scores: QueryScores, k: int) -> np.ndarray:
    """Recall@k of a random order: the whole gallery as one tied block."""
    return hit_probability(np.zeros_like(scores.above), scores.n_candidates, scores.n_relevant, k)


def write_alignment(folder: Path, result: AlignmentResult, volumes: np.ndarray | None = None) -> None:
    """Write recall.csv, histogram.csv, ranks.parquet and, last, metrics.json, which marks them complete.

    volumes: names (N,) of the samples, added to the ranks as ``volumename``.
    """
    ranks = result.ranks_frame()
    if volumes is not None:
        ranks.insert(3, "volumename", np.asarray(volumes, dtype=object)[ranks["query"]])
    write_text(folder / "recall.csv", result.recall_frame().to_csv(index=False, lineterminator="\n"))
    write_text(folder / "histogram.csv", result.histogram_frame().to_csv(index=False, lineterminator="\n"))
    write_with(folder / "ranks.parquet", lambda file: ranks.to_parquet(file, index=False))
    write_json(folder / "metrics.json", result.metrics)
