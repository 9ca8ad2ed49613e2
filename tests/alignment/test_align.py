from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ctbench_core.alignment import align, products
from ctbench_core.errors import FeatureError, InputError, Interrupted

sys.path.insert(0, str(Path(__file__).parent))

from brute_force import query_metrics, retrieval, similarities

KS = [1, 5, 10, 50, 100]


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors full of duplicates, ties, near-ties and zeros; groups from singletons to everyone."""
    rng = np.random.default_rng(seed)
    n, width = int(rng.integers(1, 60)), int(rng.choice([2, 3, 8, 33, 384]))
    sides = []
    # Whole numbers on both sides sum exactly: ties between different vectors, whatever the order of summation.
    whole_numbers = rng.random() < 0.3
    for _ in range(2):
        kind = 0 if whole_numbers else rng.integers(1, 4)
        if kind == 0:
            side = rng.integers(-1, 2, (n, width))
        elif kind == 1:
            side = rng.standard_normal((max(n // 3, 1), width))[rng.integers(0, max(n // 3, 1), n)]  # duplicates
        elif kind == 2:
            # Everything within the rounding of a float32 product.
            side = rng.standard_normal(width) * (1 + 3e-7 * rng.standard_normal((n, width)))
        else:
            side = np.ones((n, width)) if rng.random() < 0.3 else rng.standard_normal((n, width))
        side = np.array(side, np.float32)
        side[rng.random(n) < 0.1] = 0.0
        sides.append(side)
    groups = rng.integers(0, int(rng.choice([1, max(n // 2, 1), 4 * n])), n)
    labels = rng.integers(0, int(rng.choice([1, 3, n + 1])), n)
    return sides[0], sides[1], groups, labels


def exams_of(seed: int, n: int) -> np.ndarray | None:
    """Return exams that differ from the groups, in two cases of three."""
    return None if seed % 3 == 0 else np.random.default_rng(seed + 500).integers(0, max(n // 2, 1), n)


def expected(
    image: np.ndarray, text: np.ndarray, groups: np.ndarray, labels: np.ndarray, exams: np.ndarray | None = None
) -> dict[str, float]:
    matrix = similarities(image, text)
    own, same = np.eye(len(image), dtype=bool), labels[:, None] == labels
    metrics = {"samples_analyzed": len(image)}
    for prefix, paired in (("", own), ("semantic_", same)):
        metrics[f"{prefix}mean_paired_similarity"] = matrix[paired].mean()
        metrics[f"{prefix}mean_unpaired_similarity"] = matrix[~paired].mean() if (~paired).any() else np.nan
    for direction, scores in (("v_to_t", matrix), ("t_to_v", matrix.T)):
        own = groups if exams is None else exams
        truths = {"": (groups, None), "semantic_": (labels, None), "semantic_others_": (labels, own)}
        for prefix, (truth, left_out) in truths.items():
            values = retrieval(scores, truth, KS, left_out)
            metrics |= {f"{prefix}{direction}_{name}": value for name, value in values.items()}
    return metrics


@pytest.mark.parametrize("block", range(20))
def test_equals_brute_force_on_random_cases(block: int) -> None:
    for seed in range(10 * block, 10 * block + 10):
        image, text, groups, labels = random_case(seed)
        exams = exams_of(seed, len(image))
        metrics = align(image, text, groups, labels, exams=exams).metrics
        wanted = expected(image, text, groups, labels, exams)
        assert set(wanted) < set(metrics)
        for name, value in wanted.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-9, atol=1e-11, err_msg=f"seed {seed}: {name}")


def near_ties(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and texts that are equal, nearly equal or far apart; groups and label groups."""
    rng = np.random.default_rng(n)
    centres = rng.standard_normal((n // 3, 48))
    image, text = (
        centres[rng.integers(0, n // 3, n)] + rng.choice([0.0, 1e-7, 1.0], (n, 1)) * rng.standard_normal((n, 48))
        for _ in range(2)
    )
    return image, text, rng.integers(0, n // 2, n), rng.integers(0, 9, n)


@pytest.mark.parametrize(("n", "tiles"), [(1300, (100, 1024)), (120, (1, 7))])
def test_tile_sizes_agree(n: int, tiles: tuple[int, ...]) -> None:
    image, text, groups, labels = near_ties(n)
    whole = align(image, text, groups, labels, tile=n).metrics
    for tile in tiles:
        metrics = align(image, text, groups, labels, tile=tile).metrics
        differences = {
            name: abs(metrics[name] - whole[name]) for name in whole if isinstance(whole[name], (int, float))
        }
        assert max(differences.values()) < 1e-6, max(differences, key=differences.__getitem__)


@pytest.mark.parametrize("is_amd", [True, False])
def test_the_products_of_numpy_and_torch_rank_alike(is_amd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_is_amd", lambda: is_amd)
    image, text, groups, labels = near_ties(300)
    metrics, wanted = align(image, text, groups, labels).metrics, expected(image, text, groups, labels)
    for name, value in wanted.items():
        assert metrics[name] == pytest.approx(value, abs=1e-9), name


def test_reduced_precision_of_torch_changes_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_is_amd", lambda: False)
    image, text, groups, labels = near_ties(1300)
    wanted = align(image, text, groups, labels, tile=50).metrics
    torch.set_float32_matmul_precision("medium")  # bfloat16 on processors that have it: errors of some .005
    try:
        assert align(image, text, groups, labels, tile=50).metrics == wanted
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-7), ("float64", 1e-12)])
def test_queries_of_a_large_gallery_equal_brute_force(precision: str, error: float) -> None:
    rng = np.random.default_rng(5)
    n = 2300
    image = rng.standard_normal((n, 16)).astype(np.float32)
    text = (0.1 * image + rng.standard_normal((n, 16))).astype(np.float32)
    groups, labels = np.arange(n) // 2, rng.integers(0, 200, n)
    ranks = (
        align(image, text, groups, labels, precision=precision).ranks_frame().set_index(["direction", "truth", "query"])
    )
    matrix = similarities(image[:12], text)
    for query, scores in enumerate(matrix):
        for truth, relevant in (("instance", groups == groups[query]), ("semantic", labels == labels[query])):
            wanted, row = query_metrics(scores, relevant, []), ranks.loc["v_to_t", truth, query]
            assert row["first_rank"] == wanted["rank"]
            assert row["reciprocal_rank"] == pytest.approx(wanted["mrr"], abs=1e-12)
            assert row["average_precision"] == pytest.approx(wanted["map"], abs=error)
            assert row["n_relevant"] == relevant.sum()


@pytest.mark.parametrize("sizes", [(40, 3), (7, 1), (23, 23)])
def test_constant_features_score_exactly_chance(sizes: tuple[int, int]) -> None:
    n, n_groups = sizes
    groups = np.arange(n) % n_groups
    result = align(np.ones((n, 8), np.float32), np.full((n, 8), 0.3, np.float32), groups, groups, k=KS)
    frame = result.recall_frame()
    assert (frame["recall"] == frame["chance"]).sum() == len(frame) - frame["recall"].isna().sum()
    assert result.metrics["v_to_t_tied_queries"] == (n if n_groups > 1 else 0)
    assert result.metrics["distinct_images"] == result.metrics["distinct_texts"] == 1


def test_shared_rows_equal_repeated_vectors() -> None:
    rng = np.random.default_rng(2)
    image, text = rng.standard_normal((2, 30, 12)).astype(np.float32)
    rows = rng.integers(0, 30, (2, 70))
    groups = rng.integers(0, 20, 70)
    shared = align(image, text, groups, image_rows=rows[0], text_rows=rows[1])
    assert shared.metrics == align(image[rows[0]], text[rows[1]], groups).metrics


def test_groups_may_be_names() -> None:
    rng = np.random.default_rng(2)
    image, text = rng.standard_normal((2, 9, 4)).astype(np.float32)
    numbers = np.arange(9) % 4
    named = np.array(["exam b", "exam a", "x", "001"])[numbers]
    assert align(image, text, named).metrics == align(image, text, numbers).metrics


def test_normal_and_abnormal_queries_are_also_reported_separately() -> None:
    rng = np.random.default_rng(4)
    image, text = rng.standard_normal((2, 50, 8)).astype(np.float32)
    labels = rng.integers(0, 4, 50)
    metrics = align(image, text, np.arange(50), labels, normal=labels == 0).metrics
    share = (labels == 0).mean()
    for name in ("recall_at_5", "mrr", "map"):
        parts = [metrics[f"semantic_{kind}_t_to_v_{name}"] for kind in ("normal", "abnormal")]
        assert share * parts[0] + (1 - share) * parts[1] == pytest.approx(metrics[f"semantic_t_to_v_{name}"], abs=1e-12)


def test_one_sample_has_no_unpaired_mean_and_says_why() -> None:
    metrics = align(np.ones((1, 3)), np.ones((1, 3)), np.zeros(1)).metrics
    assert np.isnan(metrics["mean_unpaired_similarity"])
    alone = ("mean_unpaired_similarity", "mean_visual_similarity", "mean_text_similarity")
    assert metrics["undefined"] == dict.fromkeys(alone, "no such pair")
    assert metrics["v_to_t_recall_at_1"] == metrics["v_to_t_mrr"] == 1.0


def test_histograms_count_every_pair_once() -> None:
    image, text, groups, labels = random_case(15)
    frame = align(image, text, groups, labels).histogram_frame()
    matrix = similarities(image, text)
    counts = frame.groupby(["truth", "pairs"])["count"].sum()
    n, same = len(image), int((labels[:, None] == labels).sum())
    assert counts.to_dict() == {
        ("instance", "paired"): n,
        ("instance", "unpaired"): n * n - n,
        ("semantic", "paired"): same,
        ("semantic", "unpaired"): n * n - same,
    }
    one = frame[(frame["truth"] == "semantic") & (frame["pairs"] == "unpaired")]
    edges = [*one["bin_left"], one["bin_right"].iloc[-1]]
    wanted = np.histogram(matrix[labels[:, None] != labels], edges)[0]
    # A similarity at an edge of a bin may fall to either side of it.
    assert (
        np.abs(np.cumsum(one["count"]) - np.cumsum(wanted)).max()
        <= np.isclose(matrix[..., None], edges, atol=1e-6).sum()
    )
    assert (one["density"] * (one["bin_right"] - one["bin_left"])).sum() == pytest.approx(1.0)


def test_progress_counts_up_and_cancel_stops() -> None:
    image, text = np.random.default_rng(0).standard_normal((2, 20, 4)).astype(np.float32)
    seen: list[tuple[str, int, int]] = []
    align(image, text, np.arange(20), tile=8, progress=lambda *step: seen.append(step))
    assert seen == [(f"ranking {way}", done, 20) for way in ("v_to_t", "t_to_v") for done in (8, 16, 20)]
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Interrupted, match="stopped"):
        align(image, text, np.arange(20), cancel=cancel)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": np.ones((4, 3))}, "5 images, 4 texts"),
        ({"text": np.ones((5, 2))}, "3 dimensions and texts 2"),
        ({"groups": np.arange(4)}, "4 groups"),
        ({"k": (0, 5)}, "at least 1"),
        ({"image": np.ones(5)}, "matrix"),
        ({"text_rows": np.array([0, 1, 2, 3, 5])}, "0 to 4"),
    ],
)
def test_unfit_arrays_are_refused(change: dict, message: str) -> None:
    arrays = {"image": np.ones((5, 3)), "text": np.ones((5, 3)), "groups": np.arange(5)}
    with pytest.raises(InputError, match=message):
        align(**(arrays | change))


def test_nan_is_refused_with_its_rows() -> None:
    image = np.ones((5, 3))
    image[[1, 3]] = np.nan
    with pytest.raises(FeatureError, match=r"rows 1, 3 \(2 rows\)"):
        align(image, np.ones((5, 3)), np.arange(5))
