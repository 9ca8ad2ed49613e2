"""Several texts an image, or images a text: hits are of the same group, by brute force in float64."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.alignment import align
from ctbench_core.alignment.engine import AlignmentOptions
from ctbench_core.errors import FeatureError, InputError

sys.path.insert(0, str(Path(__file__).parent))

from brute_force import query_metrics, similarities

KS = [1, 5, 10, 50]
DIRECTIONS = {"v_to_t": (0, 1), "t_to_v": (1, 0), "v_to_v": (0, 0), "t_to_t": (1, 1)}


def random_case(seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return N images and M texts full of ties, and their groups, some of which one side lacks."""
    rng = np.random.default_rng(seed)
    width, items = int(rng.choice([2, 8, 33])), int(rng.integers(1, 15))
    sides, groups = [], []
    for count in rng.integers(1, 50, 2):
        side = rng.integers(-1, 2, (count, width)) if seed % 2 else rng.standard_normal((count, width))
        side = np.array(side, np.float32)[rng.integers(0, count, count)]
        side[rng.random(count) < 0.1] = 0.0
        sides.append(side)
        groups.append(rng.integers(0, items, count))
    groups[1][0] = groups[0][0]
    return sides, groups


def expected(scores: np.ndarray, own: np.ndarray, theirs: np.ndarray, within: bool) -> dict[str, float]:
    """Return the means of one direction over the queries that have a candidate of their group."""
    scored, without = [], 0
    for query, row in enumerate(scores):
        gallery = np.ones(len(row), bool)
        gallery[query : query + 1] = not within  # a query among its own kind is not its own candidate
        relevant = (theirs == own[query])[gallery]
        if relevant.any():
            scored.append(query_metrics(row[gallery], relevant, KS))
        else:
            without += 1
    means = {"queries": len(scores), "queries_without_relevant": without}
    means["median_rank"] = float(np.median([one["rank"] for one in scored])) if scored else np.nan
    names = ["map", "mrr"] + [f"{name}_at_{k}" for k in KS for name in ("recall", "chance", "ndcg", "fraction_recall")]
    return means | {name: float(np.mean([one[name] for one in scored])) if scored else np.nan for name in names}


@pytest.mark.parametrize("seed", range(12))
def test_every_metric_equals_its_definition(seed: int) -> None:
    sides, groups = random_case(seed)
    result = align(
        *sides, groups[0], k=KS, tile=7, options=AlignmentOptions(within=True, nearest=10), text_groups=groups[1]
    )
    metrics = result.metrics
    assert (metrics["images_analyzed"], metrics["texts_analyzed"]) == (len(sides[0]), len(sides[1]))
    for direction, (query, gallery) in DIRECTIONS.items():
        scores = similarities(sides[query], sides[gallery])
        wanted = expected(scores, groups[query], groups[gallery], query == gallery)
        for name, value in wanted.items():
            assert metrics[f"{direction}_{name}"] == pytest.approx(value, abs=1e-6, nan_ok=True), (direction, name)
    matrix = similarities(*sides)
    paired = groups[0][:, None] == groups[1]
    assert metrics["mean_paired_similarity"] == pytest.approx(matrix[paired].mean(), abs=1e-6)
    rest = matrix[~paired].mean() if (~paired).any() else np.nan
    assert metrics["mean_unpaired_similarity"] == pytest.approx(rest, abs=1e-6, nan_ok=True)
    assert result.pairs["instance", "paired"].sum() == paired.sum()
    assert result.pairs["instance", "unpaired"].sum() == (~paired).sum()


def test_most_queries_may_have_no_partner() -> None:
    rng = np.random.default_rng(8)
    for _ in range(5):
        image, text = rng.standard_normal((9, 5)).astype(np.float32), rng.standard_normal((12, 5)).astype(np.float32)
        own, theirs = np.arange(9), np.array([0, 0, 0, 0, *range(20, 28)])
        metrics = align(image, text, own, k=KS, text_groups=theirs).metrics
        wanted = expected(similarities(image, text), own, theirs, False)
        for name, value in wanted.items():
            assert metrics[f"v_to_t_{name}"] == pytest.approx(value, abs=1e-6), name


def test_groups_of_pairs_are_pairs() -> None:
    rng = np.random.default_rng(3)
    image, text = rng.standard_normal((2, 30, 8)).astype(np.float32)
    names, order = np.array([f"item {i}" for i in range(30)]), rng.permutation(30)
    plain = align(image, text, np.arange(30), k=KS).metrics
    grouped = align(image, text[order], names, k=KS, text_groups=names[order]).metrics
    for name in ("v_to_t_recall_at_5", "t_to_v_mrr", "mean_paired_similarity", "mean_unpaired_similarity"):
        assert grouped[name] == pytest.approx(plain[name], abs=1e-12), name


def test_listed_neighbours_of_a_query_mark_those_of_its_group() -> None:
    image = np.eye(3, dtype=np.float32)
    text = np.eye(3, dtype=np.float32)[[0, 0, 1, 2, 2]]
    options = AlignmentOptions(nearest=3)
    tables = align(
        image, text, np.array([5, 6, 7]), k=[1], options=options, text_groups=np.array([5, 5, 7, 6, 7])
    ).tables
    assert [list(row) for row in tables["neighbours_v_to_t"]["hit"].str[:1]] == [[True], [False], [True]]
    assert tables["neighbours_v_to_t"]["sample"].str[0].tolist() == [0, 2, 4]
    assert tables["neighbours_t_to_v"]["hit"].str[0].tolist() == [True, True, False, False, True]


def test_the_verb_reads_groups_from_arrays(cli: Callable[..., Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    image, text = rng.standard_normal((6, 4)).astype(np.float32), rng.standard_normal((17, 4)).astype(np.float32)
    own, theirs = np.arange(6), np.append(np.arange(16) % 5, 9)
    np.savez(tmp_path / "captions.npz", image=image, text=text, groups_image=own, groups_text=theirs)
    ended = cli("align", f"embeddings={tmp_path / 'captions.npz'}", "analysis.k=[1,5]", "analysis.within=true")
    assert ended.code == 0, ended.err
    wanted = expected(similarities(image, text), own, theirs, False)
    assert ended.json["v_to_t_recall_at_5"] == pytest.approx(wanted["recall_at_5"], abs=1e-6)
    assert ended.json["v_to_t_queries_without_relevant"] == 1
    assert len(ended.json["warnings"]) == 2 and "1 text without a partner" in ended.json["warnings"][1]
    assert "6 images and 17 texts, paired by groups" in ended.out
    folder = Path(ended.json["run_dir"]) / "alignment" / "captions"
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["texts_analyzed"] == 17
    ranks = pd.read_parquet(folder / "ranks.parquet")
    assert ranks.groupby("direction").size().to_dict() == {"v_to_t": 6, "t_to_v": 17, "v_to_v": 6, "t_to_t": 17}
    assert len(pd.read_parquet(folder / "map.parquet")) == 17


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"groups_image": np.arange(4)}, "has groups_image only. Add the other"),
        ({"groups_image": np.arange(3), "groups_text": np.arange(6)}, r"groups_image is \(3,\) for 4 rows"),
        ({"groups_image": np.arange(4), "groups_text": np.array(list("abcdef"))}, "groups are of two types"),
        ({"groups_image": np.zeros(4, "f4,f4"), "groups_text": np.arange(6)}, "groups are of two types"),
        ({"groups_image": np.arange(4), "groups_text": np.arange(6) + 9}, "no group of groups_image is in groups_text"),
        ({}, "or arrays groups_image and groups_text say which rows belong together"),
    ],
)
def test_groups_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    from ctbench_core.alignment.pairs import read_arrays

    np.savez(tmp_path / "x.npz", image=np.ones((4, 3)), text=np.ones((6, 3)), **arrays)
    with pytest.raises(FeatureError, match=message):
        read_arrays(tmp_path / "x.npz")


def test_a_file_that_is_no_archive_or_a_bomb_is_refused(tmp_path: Path) -> None:
    from ctbench_core.alignment.pairs import read_arrays

    np.savez_compressed(tmp_path / "bomb.npz", image=np.zeros(2**25, np.float32), text=np.zeros(2**25, np.float32))
    np.save(tmp_path / "x.npy", np.ones((4, 3)))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    for name, message in (("bomb", "would unpack from .* CTBENCH_MAX_MIB"), ("x", "cannot be read")):
        with pytest.raises(FeatureError, match=message):
            read_arrays(tmp_path / f"{name}.npz")


def test_groups_by_side_go_with_nothing_by_sample() -> None:
    image, text = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32)
    with pytest.raises(InputError, match="2 images, 2 groups of images, 3 texts, 2 groups of texts"):
        align(image, text, np.arange(2), text_groups=np.arange(2))
    with pytest.raises(InputError, match="label_groups"):
        align(image, text, np.arange(2), label_groups=np.arange(2), text_groups=np.zeros(3, int))
