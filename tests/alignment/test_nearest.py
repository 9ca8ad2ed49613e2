"""Metrics of the nearest candidates, and retrieval inside one modality, against the whole matrix in float64."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.alignment import AlignmentOptions, align

sys.path.insert(0, str(Path(__file__).parent))

from brute_force import query_metrics, similarities
from test_align import exams_of, random_case

KS = [1, 5, 10]


def targets_of(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 1000)
    targets = (rng.random((n, 4)) < 0.4).astype(float)
    targets[rng.random(targets.shape) < 0.05] = np.nan
    return targets


def jaccard(left: np.ndarray, right: np.ndarray) -> float:
    known = ~np.isnan(left) & ~np.isnan(right)
    either = ((left == 1) | (right == 1))[known].sum()
    return float(((left == 1) & (right == 1))[known].sum() / either) if either else 1.0


def expected_weights(scores: np.ndarray, k: int, discount: bool = False) -> np.ndarray:
    """Return each candidate's probability of the first k over all orders of ties, or its expected discount."""
    weights = np.zeros(len(scores))
    for score in np.unique(scores):
        above, tied = int((scores > score).sum()), int((scores == score).sum())
        places = [rank for rank in range(above + 1, above + tied + 1) if rank <= k]
        weights[scores == score] = sum(1 / math.log2(rank + 1) if discount else 1.0 for rank in places) / tied
    return weights


@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_graded_metrics_findings_and_hubs_equal_brute_force(seed: int) -> None:
    image, text, groups, labels = random_case(seed)
    n, targets = len(image), targets_of(seed, len(image))
    options = AlignmentOptions(targets=targets, names=list("abcd"), nearest=60, within=True)
    result = align(image, text, groups, labels, k=KS, options=options)
    matrix = similarities(image, text)
    overlap = np.array([[jaccard(left, right) for right in targets] for left in targets])
    findings = result.tables["findings"].set_index(["direction", "finding"])
    for way, scores in (("v_to_t", matrix), ("t_to_v", matrix.T)):
        for k in KS:
            first = np.stack([expected_weights(row, k) for row in scores])
            mean = (first * overlap).sum() / n / min(k, n)
            assert result.metrics[f"graded_{way}_jaccard_at_{k}"] == pytest.approx(mean, abs=1e-6)
            gain = (np.stack([expected_weights(row, k, discount=True) for row in scores]) * overlap).sum(axis=1)
            ranks = np.log2(np.arange(2, min(k, n) + 2))
            best = (np.sort(overlap, axis=1)[:, ::-1][:, :k] / ranks).sum(axis=1)
            ndcg = np.mean(gain[best > 0] / best[best > 0]) if (best > 0).any() else np.nan
            assert result.metrics[f"graded_{way}_ndcg_at_{k}"] == pytest.approx(ndcg, abs=1e-6, nan_ok=True)
            for c, name in enumerate("abcd"):
                mine = targets[:, c] == 1
                wanted = (first[mine] @ mine).sum() / max(mine.sum(), 1) / min(k, n) if mine.any() else np.nan
                precision = findings.loc[(way, name), f"precision_at_{k}"]
                assert precision == pytest.approx(wanted, abs=1e-6, nan_ok=True)
        counts = np.stack([expected_weights(row, 10) for row in scores]).sum(axis=0)
        assert result.metrics[f"{way}_hub_most"] == pytest.approx(counts.max(), abs=1e-6)
        near = result.tables[f"neighbours_{way}"]
        for query in range(n):
            best = near["similarity"][query]
            assert (
                best == pytest.approx(np.sort(np.unique(scores[query]))[::-1][: len(best)][0], abs=2e-6)
                or len(best) > 0
            )
            assert np.all(np.diff(best) <= 1e-6)
            for sample, similarity, hit in zip(near["sample"][query], best, near["hit"][query]):
                assert scores[query, sample] == pytest.approx(similarity, abs=2e-6)
                assert not hit or groups[sample] == groups[query]


@pytest.mark.parametrize("seed", range(0, 60, 6))
def test_retrieval_within_a_modality_leaves_each_query_out(seed: int) -> None:
    image, text, groups, labels = random_case(seed)
    exams = exams_of(seed // 6, len(image))
    metrics = align(image, text, groups, labels, k=KS, exams=exams, options=AlignmentOptions(within=True)).metrics
    for way, side in (("v_to_v", image), ("t_to_t", text)):
        matrix, n = similarities(side, side), len(side)
        for prefix, truth, left_out in (
            ("", groups, np.arange(n)),
            ("semantic_", labels, np.arange(n)),
            ("semantic_others_", labels, groups if exams is None else exams),
        ):
            scored = []
            for query in range(n):
                gallery = left_out != left_out[query]
                relevant = (truth == truth[query])[gallery]
                if relevant.any():
                    scored.append(query_metrics(matrix[query][gallery], relevant, KS))
            assert metrics[f"{prefix}{way}_queries_without_relevant"] == n - len(scored)
            for name in ("map", "mrr", *(f"{kind}_at_{k}" for k in KS for kind in ("recall", "ndcg", "chance"))):
                wanted = np.mean([values[name] for values in scored]) if scored else np.nan
                assert metrics[f"{prefix}{way}_{name}"] == pytest.approx(wanted, abs=1e-9, nan_ok=True), name


def test_ctclip_map_is_the_mean_overlap_of_the_nearest_volumes_with_a_finding() -> None:
    rng = np.random.default_rng(3)
    image = rng.standard_normal((40, 8)).astype(np.float32)
    targets = (rng.random((40, 5)) < 0.3).astype(float)
    metrics = align(
        image, image, np.arange(40), k=KS, options=AlignmentOptions(targets, list("abcde"), nearest=40, within=True)
    ).metrics
    matrix = similarities(image, image)
    for k in KS:
        means = []
        for query in range(40):
            gallery = [i for i in range(40) if i != query and targets[i].any()]
            top = sorted(gallery, key=lambda i: -matrix[query, i])[:k]
            means.append(np.mean([jaccard(targets[query], targets[i]) for i in top]))
        assert metrics[f"ctclip_v_to_v_map_at_{k}"] == pytest.approx(np.mean(means), abs=1e-6)


def test_intervals_contain_the_metric_and_widen_with_clustered_patients() -> None:
    rng = np.random.default_rng(0)
    n = 400
    image = rng.standard_normal((n, 16)).astype(np.float32)
    text = (
        image + 2.5 * np.repeat(rng.standard_normal((n // 8, 1)) ** 2, 8, axis=0) * rng.standard_normal((n, 16))
    ).astype(np.float32)
    alone, clustered = (
        align(image, text, np.arange(n), options=AlignmentOptions(patients=patients)).metrics
        for patients in (np.arange(n), np.arange(n) // 8)
    )
    for metrics in (alone, clustered):
        for name, (low, high) in metrics["intervals"].items():
            assert low <= metrics[name] <= high
    widths = [np.ptp(metrics["intervals"]["v_to_t_mrr"]) for metrics in (alone, clustered)]
    assert widths[1] > 1.3 * widths[0]
    assert [metrics["v_to_t_query_patients"] for metrics in (alone, clustered)] == [n, n // 8]


def test_what_has_no_interval_says_why() -> None:
    rng = np.random.default_rng(0)
    image, text = rng.standard_normal((2, 40, 16)).astype(np.float32)
    groups, labels, patients = np.arange(40), np.arange(40) >= 37, np.minimum(np.arange(40), 37)
    targets = np.stack([np.arange(40) < 20, labels], axis=1).astype(float)
    options = AlignmentOptions(targets, ["many", "few"], patients, nearest=40)
    result = align(image, text, groups, labels, normal=~labels, k=(1, 40), options=options)
    metrics, few = result.metrics, "patients with a scored query 1: an interval needs 10"
    assert not set(metrics["intervals"]) & set(metrics["no_interval"])
    names = {name for name in metrics if name.endswith(("_mrr", "_map", "_median_rank"))}
    names = {name for name in names if not name.startswith("compat")}
    assert names <= set(metrics["intervals"]) | set(metrics["no_interval"])
    assert {metrics["no_interval"][name] for name in names if "abnormal" in name} == {few}
    # Every query finds its group within the whole gallery; the last patient has three of the 40.
    low, high = metrics["intervals"]["v_to_t_recall_at_40"]
    assert (low, high) == (pytest.approx(0.025 ** ((37 + 9) / 40**2)), 1.0)
    recall = result.recall_frame().set_index(["truth", "direction", "k"])
    assert recall.loc[("semantic_abnormal", "t_to_v", 1), "no_interval"] == few
    assert recall.loc[("semantic_abnormal", "t_to_v", 1), ["queries", "scored", "patients"]].tolist() == [3, 3, 1]
    findings = result.tables["findings"].set_index(["direction", "finding"])
    assert findings.loc[("v_to_t", "few"), "no_interval"] == few
    assert findings.loc[("v_to_t", "many"), "no_interval"] == "K = 40: does not vary between patients"
    assert findings.loc[("v_to_t", "many"), "lower_at_1"] < findings.loc[("v_to_t", "many"), "precision_at_1"]
    unknown = align(image, text, groups).metrics
    assert not unknown["intervals"]
    assert set(unknown["no_interval"].values()) == {"patients are not known"}


def clustered_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples that share vectors, also with a query, and ties between vectors."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    distinct = rng.integers(-1, 2, (max(n // 3, 1), 3)).astype(np.float32)
    targets = (rng.random((n, 3)) < 0.5).astype(float)
    targets[rng.random(targets.shape) < 0.1] = np.nan
    return distinct[rng.integers(0, len(distinct), n)], targets


@pytest.mark.parametrize("seed", range(25))
def test_findings_within_a_modality_leave_each_query_out(seed: int) -> None:
    image, targets = clustered_case(seed)
    n = len(image)
    options = AlignmentOptions(targets, list("abc"), nearest=40, within=True)
    table = align(image, image, np.arange(n), k=KS, options=options).tables["findings"]
    findings, matrix = table.set_index(["direction", "finding"]), similarities(image, image)
    for c, name in enumerate("abc"):
        has, others = targets[:, c] == 1, ~np.eye(n, dtype=bool)
        row = findings.loc[("v_to_v", name)]
        assert row["prevalence"] == pytest.approx(max(has.sum() - 1, 0) / (n - 1))
        for k in KS:
            first = [expected_weights(matrix[q][others[q]], k) @ has[others[q]] / min(k, n - 1) for q in range(n)]
            wanted = np.mean(np.array(first)[has]) if has.any() else np.nan
            assert row[f"precision_at_{k}"] == pytest.approx(wanted, abs=1e-12, nan_ok=True)
            lift = wanted / row["prevalence"] if row["prevalence"] else np.nan
            assert row[f"lift_at_{k}"] == pytest.approx(lift, abs=1e-11, nan_ok=True)


def test_the_modality_gap_is_the_distance_of_the_centres() -> None:
    rng = np.random.default_rng(1)
    image, text = rng.standard_normal((2, 30, 6)) + np.array([[[1.0]], [[-1.0]]])
    metrics = align(image.astype(np.float32), text.astype(np.float32), np.arange(30)).metrics
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image, text)]
    gap = np.linalg.norm(unit[0].mean(axis=0) - unit[1].mean(axis=0))
    assert metrics["modality_gap"] == pytest.approx(gap, abs=1e-6)
    inside = (unit[0] @ unit[0].T)[~np.eye(30, dtype=bool)].mean()
    assert metrics["mean_visual_similarity"] == pytest.approx(inside, abs=1e-6)
