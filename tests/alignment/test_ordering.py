from __future__ import annotations

import numpy as np
import pytest
import torch

from ctbench_core.alignment.ordering import TileOrder
from ctbench_core.alignment.products import Gallery, Workspace, exact_similarity, rounding_bound
from ctbench_core.alignment.vectors import read_side, sum_within_groups


def unit(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> np.ndarray:
    return read_side("image", 1 + spread * rng.standard_normal(shape)).vectors


@pytest.mark.parametrize("spread", [1e-7, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("width", [2, 17, 512])
def test_rounding_bound_holds(spread: float, width: int) -> None:
    rng = np.random.default_rng(width)
    left, right = unit(rng, (300, width), spread), unit(rng, (300, width), spread)
    error = np.abs(left.astype(np.float64) @ right.T.astype(np.float64) - (left @ right.T))
    assert error.max() < rounding_bound(width)


def test_exact_similarity_is_the_same_alone_and_in_bulk() -> None:
    rng = np.random.default_rng(1)
    left, right = (torch.from_numpy(unit(rng, (60, 385), 1.0)) for _ in range(2))
    row, column = (part.reshape(-1) for part in torch.meshgrid(torch.arange(60), torch.arange(60), indexing="ij"))
    together = exact_similarity(left, right, row, column)
    alone = torch.cat([exact_similarity(left, right, row[i : i + 1], column[i : i + 1]) for i in range(3600)])
    assert torch.equal(together, alone)
    torch.testing.assert_close(together.view(60, 60), left.double() @ right.double().T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("spread", [3e-7, 1e-3, 1.0])
def test_ranks_equal_sorting_exact_similarities(spread: float) -> None:
    rng = np.random.default_rng(7)
    queries, candidates = unit(rng, (5, 64), spread), unit(rng, (200, 64), spread)
    shares = rng.integers(2, 5, len(candidates))
    gallery = Gallery(torch.from_numpy(candidates), torch.from_numpy(shares), exact_depth=1000)
    order = TileOrder(torch.from_numpy(queries), gallery, Workspace(5, gallery))
    row = torch.arange(5).repeat_interleave(len(candidates))
    item = torch.arange(len(candidates)).repeat(5)
    # Relevant once each, and shared, so that every order counts.
    ranked = order.rank(row, item, torch.ones_like(row))
    key = order.keys(row, item)
    by_place = torch.argsort(order._position_by_steps(row, key) + row * len(candidates))
    back = torch.argsort(by_place)
    exact = exact_similarity(torch.from_numpy(queries), gallery.vectors, row, item).view(5, -1).numpy()
    for query in range(5):
        mine = exact[query]
        above = [int(shares[mine > value].sum()) for value in mine]
        tied = [int(shares[mine == value].sum()) for value in mine]
        assert ranked.above[back].view(5, -1)[query].tolist() == above
        assert ranked.tied[back].view(5, -1)[query].tolist() == tied
    # The search by steps, which other devices use, finds the same places.
    by_row = order._position_by_row(row, key)
    assert torch.equal(by_row, order._position_by_steps(row, key))


def test_a_side_folds_identical_vectors_only() -> None:
    matrix = np.array([[3, 4], [0, 0], [0.6, 0.8], [-0.0, 0.0], [4, 3]], np.float32)
    side = read_side("text", matrix, np.array([4, 1, 3, 0, 2, 0]))
    np.testing.assert_allclose(
        side.vectors[side.of_sample], [[0.8, 0.6], [0, 0], [0, 0], [0.6, 0.8], [0.6, 0.8], [0.6, 0.8]]
    )
    assert len(side.vectors) == 3


def test_group_sums_equal_the_matrix() -> None:
    rng = np.random.default_rng(3)
    left, right = (read_side("image", rng.standard_normal((40, 70)), rng.integers(0, 40, 90)) for _ in range(2))
    groups = rng.integers(0, 11, 90)
    matrix = left.vectors[left.of_sample].astype(np.float64) @ right.vectors[right.of_sample].T.astype(np.float64)
    wanted = matrix[groups[:, None] == groups].sum()
    assert sum_within_groups(left, right, groups) == pytest.approx(wanted, abs=1e-10)


def test_the_best_relevant_candidate_is_exact_however_low_it_ranks() -> None:
    rng = np.random.default_rng(3)
    query = unit(rng, (1, 64), 1.0)
    # Of these all lie within the rounding of a product.
    near = unit(rng, (1, 64), 100.0) * (1 + 3e-7 * rng.standard_normal((400, 64)))
    candidates = read_side("text", np.concatenate([query + 0.1 * rng.standard_normal((2600, 64)), near])).vectors
    gallery = Gallery(torch.from_numpy(candidates), torch.ones(len(candidates), dtype=torch.int64), exact_depth=100)
    order = TileOrder(torch.from_numpy(query), gallery, Workspace(1, gallery))
    zero, every = torch.zeros(1, dtype=torch.int64), torch.arange(len(candidates))
    exact = exact_similarity(torch.from_numpy(query), gallery.vectors, torch.zeros_like(every), every)
    for item in range(2600, 3000, 20):
        above = order.rank(zero, torch.tensor([item]), torch.ones_like(zero)).above
        assert int(above) == int((exact > exact[item]).sum()) > 2000
