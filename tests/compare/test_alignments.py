"""Two alignment results: the difference of each metric, and its paired interval."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ctbench_core.alignment import run_alignment
from ctbench_core.compare import compare_alignments
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from tests.inference.cohorts import effective, left_out

PREFIX = {"v_to_t": "v_to_t_", "t_to_v": "t_to_v_"}


@pytest.fixture
def results(data: Path, make_config: Callable[..., Config]) -> tuple[Path, Path]:
    """Measure two encoders on one manifest: the second one's reports are noisy, and its rows in another order."""
    folders = []
    for _ in range(2):
        config = make_config(data, {"data.train_manifest": "train.csv", "analysis.k": [1, 5], "job_name": "align"})
        folders.append(Path(run_alignment(config)["run_dir"]) / "alignment" / "train")
        rng = np.random.default_rng(1)
        for file in (data / "features" / "text").glob("*.npz"):
            with np.load(file) as stored:
                vector = stored[stored.files[0]]
            np.savez(file, vector + 0.7 * rng.normal(size=vector.shape).astype(np.float32))
        table = pd.read_csv(data / "manifests" / "train.csv")
        table.iloc[::-1].to_csv(data / "manifests" / "train.csv", index=False)
    return folders[0], folders[1]


def test_differences_are_those_of_the_stored_metrics_with_the_jackknife_of_patients(
    results: tuple[Path, Path],
) -> None:
    frame = compare_alignments(*results, "instance").set_index(["direction", "metric"])
    stored = [json.loads((folder / "metrics.json").read_text()) for folder in results]
    assert set(frame.index.get_level_values("metric")) == {"recall_at_1", "recall_at_5", "mrr", "map"}
    for (way, metric), row in frame.iterrows():
        values = [metrics[f"{way}_{metric}"] for metrics in stored]
        assert (row["first"], row["second"]) == pytest.approx(values, abs=1e-12)
        assert row["delta"] == pytest.approx(values[0] - values[1], abs=1e-12)
    ranks = [pd.read_parquet(folder / "ranks.parquet") for folder in results]
    one, other = (
        rows[(rows["direction"] == "t_to_v") & (rows["truth"] == "instance")].set_index("volumename") for rows in ranks
    )
    pairs = (one["reciprocal_rank"] - other["reciprocal_rank"]).to_numpy()
    patients = one.index.str.rsplit("_", n=2).str[0]
    codes = np.unique(patients, return_inverse=True)[1]
    error = np.sqrt((left_out(lambda kept: float(pairs[kept].mean()), codes) ** 2).sum())
    half = stats.t.ppf(0.975, effective(codes, np.ones(len(codes), bool)) - 1) * error
    row = frame.loc[("t_to_v", "mrr")]
    assert (row["lower"], row["upper"]) == pytest.approx((pairs.mean() - half, pairs.mean() + half), abs=1e-12)
    # Paired: what makes a query hard for both cancels out.
    bounds = [np.subtract(*metrics["intervals"]["t_to_v_mrr"][::-1]) for metrics in stored]
    assert row["upper"] - row["lower"] < np.hypot(*bounds)


def test_a_result_of_before_has_recall_where_no_query_ties(results: tuple[Path, Path]) -> None:
    new = compare_alignments(*results, "instance").set_index(["direction", "metric"])["delta"]
    file = results[0] / "ranks.parquet"
    ranks = pd.read_parquet(file).drop(columns=["recall_at_1", "recall_at_5"])
    ranks.assign(tied=False).to_parquet(file)
    old = compare_alignments(*results, "instance").set_index(["direction", "metric"])["delta"]
    assert "recall_at_5" in new.index.get_level_values("metric")
    untied = new.index[[not name.startswith("recall") for _, name in new.index]]
    assert set(old.index) == set(new.index)
    pd.testing.assert_series_equal(old[untied], new[untied])
    ranks.assign(tied=True).to_parquet(file)
    assert set(compare_alignments(*results, "instance")["metric"]) == {"mrr", "map"}


def test_results_of_different_volumes_have_no_paired_difference(
    results: tuple[Path, Path], data: Path, make_config: Callable[..., Config]
) -> None:
    other = make_config(data, {"data.train_manifest": "test.csv", "job_name": "align"})
    folder = Path(run_alignment(other)["run_dir"]) / "alignment" / "test"
    with pytest.raises(InputError, match=r"different volumes: 60 and 24, 0 of them in both"):
        compare_alignments(results[0], folder, "instance")
    shutil.copytree(folder, folder.with_name("bare"))
    (folder.with_name("bare") / "samples.parquet").unlink()
    with pytest.raises(InputError, match="no names of volumes"):
        compare_alignments(folder, folder.with_name("bare"), "instance")
