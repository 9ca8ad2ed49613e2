from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
import torch

from ctbench_core.alignment.scoring import (
    expected_first_rank,
    expected_reciprocal_rank,
    hit_probability,
    precision_sum,
    prefix_sums,
)

BLOCKS = [(above, t, r) for above in (0, 3) for t in range(1, 7) for r in range(1, t + 1)]


def orders(above: int, t: int, r: int) -> list[list[int]]:
    """Ranks of the relevant candidates in every order of a tied block."""
    return [[above + place + 1 for place in places] for places in itertools.combinations(range(t), r)]


@pytest.mark.parametrize("block", BLOCKS)
def test_expectations_equal_the_average_over_all_orders(block: tuple[int, int, int]) -> None:
    ranks, arrays = orders(*block), [np.array([value]) for value in block]
    assert expected_reciprocal_rank(*arrays)[0] == pytest.approx(
        np.mean([1 / min(order) for order in ranks]), abs=1e-14
    )
    assert expected_first_rank(*arrays)[0] == pytest.approx(np.mean([min(order) for order in ranks]), abs=1e-13)
    for k in (1, 2, 5, 20):
        hits = np.mean([min(order) <= k for order in ranks])
        assert hit_probability(*arrays, k)[0] == pytest.approx(hits, abs=1e-14)
    seen = 2
    sums = [sum((seen + i + 1) / rank for i, rank in enumerate(order)) for order in ranks]
    tensors = [torch.tensor([value]) for value in (*block, seen)]
    harmonic = torch.from_numpy(prefix_sums(20, lambda i: 1 / i))
    assert float(precision_sum(*tensors, harmonic)) == pytest.approx(np.mean(sums), abs=1e-13)


@pytest.mark.parametrize(("n", "r", "k"), [(50_188, 2, 100), (741, 1, 10), (741, 95, 50), (30, 30, 1), (5, 2, 100)])
def test_chance_is_the_hypergeometric_term(n: int, r: int, k: int) -> None:
    chance = hit_probability(np.array([0]), np.array([n]), np.array([r]), k)[0]
    assert chance == pytest.approx(1 - comb(n - r, min(k, n)) / comb(n, min(k, n)), abs=1e-13)


def test_no_queries_give_no_metrics() -> None:
    none = np.zeros(0, np.int64)
    assert hit_probability(none, none, none, 5).shape == expected_reciprocal_rank(none, none, none).shape == (0,)
