from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.alignment import align, write_alignment


def test_files_hold_the_result(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image, text = rng.standard_normal((2, 12, 5)).astype(np.float32)
    result = align(image, text, np.arange(12), np.arange(12), k=(1, 3))
    names = np.array([f"valid_{i}_a_1" for i in range(12)])
    write_alignment(tmp_path / "valid", result, names)
    folder = tmp_path / "valid"
    assert sorted(path.name for path in folder.iterdir()) == [
        "histogram.csv",
        "metrics.json",
        "ranks.parquet",
        "recall.csv",
    ]

    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["v_to_t_recall_at_3"] == result.metrics["v_to_t_recall_at_3"]
    # Every label is a group's own: no candidate is left without the own exam.
    assert metrics["semantic_others_v_to_t_queries_without_relevant"] == 12
    assert metrics["semantic_others_v_to_t_mrr"] is None
    assert metrics["undefined"]["semantic_others_v_to_t_mrr"] == "no query has a relevant candidate"

    pd.testing.assert_frame_equal(pd.read_csv(folder / "recall.csv"), result.recall_frame(), check_exact=False)
    ranks = pd.read_parquet(folder / "ranks.parquet")
    assert len(ranks) == 2 * 3 * 12
    first = ranks[(ranks["direction"] == "t_to_v") & (ranks["truth"] == "instance")]
    assert first["volumename"].tolist() == names.tolist()
    assert np.isclose(first["reciprocal_rank"].mean(), metrics["t_to_v_mrr"])
    assert np.isclose((first["first_rank"] <= 3).mean(), metrics["t_to_v_recall_at_3"])


def test_result_has_the_metrics_of_the_contract() -> None:
    metrics = align(np.eye(4), np.eye(4), np.arange(4), np.zeros(4)).metrics
    tails = ["recall_at_1", "recall_at_100", "mrr", "map", "ndcg_at_5", "ndcg_at_10", "ndcg_at_50"]
    tails += ["median_rank", "chance_at_1", "tied_queries", "queries_without_relevant"]
    for prefix in ("", "semantic_"):
        assert {f"{prefix}mean_paired_similarity", f"{prefix}mean_unpaired_similarity"} <= set(metrics)
        assert {f"{prefix}{way}_{tail}" for way in ("v_to_t", "t_to_v") for tail in tails} <= set(metrics)
