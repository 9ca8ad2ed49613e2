"""Epochs of blocks of the packed store, and scaling by rows that are never in memory at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from ctbench_core.config import Config
from ctbench_core.experiment import load_training
from ctbench_core.train import batches, inputs
from ctbench_core.train.network import Dropout, Mlp
from ctbench_core.train.trainer import Trainer

Build = Callable[..., Config]
BLOCKS = {"training.shuffle": "blocks"}


@pytest.fixture
def build(make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trainer]:
    """Return a builder of trainers whose blocks have four rows, two blocks a pool."""
    monkeypatch.setattr(batches, "SHUFFLE_ROWS", 4)
    monkeypatch.setattr(batches, "SHUFFLE_BLOCKS", 2)

    def call(changes: dict[str, Any], seeds: tuple[int, ...] = (1, 2)) -> Trainer:
        configs = [make_config(tiny_data, {**changes, "utils.seed": seed}) for seed in seeds]
        return Trainer(configs, [load_training(config) for config in configs])

    return call


def pools_of(order: torch.Tensor, trainer: Trainer, epoch: int) -> list[int]:
    """Return the pool of each row in the order of an epoch."""
    count = -(-trainer.features.rows // 4)
    pools = torch.randperm(count, generator=batches.stream(0, "blocks", epoch)) // 2
    return pools[trainer._train[0].rows[order] // 4].tolist()


def test_an_epoch_reads_each_row_once_and_pool_after_pool(build: Callable[..., Trainer]) -> None:
    trainer = build(BLOCKS)
    orders = {(k, epoch): trainer._batches._order(k, (1, 2)[k], epoch) for k in (0, 1) for epoch in (1, 2)}
    for (k, epoch), order in orders.items():
        assert sorted(order.tolist()) == list(range(len(trainer._train[k].rows)))
        pools = pools_of(order, trainer, epoch)
        assert pools == sorted(pools)  # each pool is read once, all of it
        assert len(set(pools)) > 2
    assert pools_of(orders[0, 1], trainer, 1) == pools_of(
        orders[1, 1], trainer, 1
    )  # heads read the same pool at a time
    assert not torch.equal(orders[0, 1], orders[1, 1])  # in an order of their own
    rows = [trainer._train[0].rows[orders[0, epoch]] // 4 for epoch in (1, 2)]
    assert not torch.equal(*rows)  # another epoch, another order of blocks


def test_a_head_trains_the_same_alone_and_in_a_stack(build: Callable[..., Trainer]) -> None:
    double = {**BLOCKS, "training.precision": "float64"}
    stack, alone = build(double), build(double, (2,))
    for epoch in (1, 2, 3):
        together, own = stack.run_epoch([epoch] * 2), alone.run_epoch([epoch])
    assert together is not None and own is not None
    assert together[1].train_loss == pytest.approx(own[0].train_loss, abs=1e-10)  # type: ignore[union-attr]


def test_blocks_learn_as_full_shuffling_does(build: Callable[..., Trainer]) -> None:
    """The validation AUPRC of 60 seeds has the same distribution (Kolmogorov and Smirnov) and the same mean."""
    seeds, scores = tuple(range(60)), {}
    for shuffle in ("rows", "blocks"):
        trainer = build({"training.shuffle": shuffle, "training.learning_rate": 0.01, "training.batch_size": 8}, seeds)
        for epoch in range(1, 9):
            reports = trainer.run_epoch([epoch] * len(seeds))
        assert reports is not None
        scores[shuffle] = np.array([report.macros["auprc"] for report in reports])  # type: ignore[union-attr]
    spread = scores["rows"].std()
    assert abs(scores["rows"].mean() - scores["blocks"].mean()) < 3 * spread / np.sqrt(30)
    assert ks_2samp(scores["rows"], scores["blocks"]).pvalue > 0.01


def test_the_scaler_equals_that_of_all_rows_at_once(monkeypatch: pytest.MonkeyPatch, make_config: Build) -> None:
    matrix = np.random.default_rng(0).standard_normal((500, 7)).astype(np.float32) * 1e3 + 1e4
    matrix[:, 3] = 1.1
    rows = np.random.default_rng(1).permutation(500)[:333]
    config = Config()
    config.data.standardise = "zscore"
    monkeypatch.setattr(inputs, "_CHUNK_ROWS", 50)
    dataset: Any = SimpleNamespace(matrix=matrix, rows={"train": rows})
    scaler = inputs.fit_scaler(config, dataset, torch.float64, "cpu")
    assert scaler is not None
    whole = matrix[rows].astype(np.float64)
    np.testing.assert_array_equal(scaler.shift.numpy(), whole.mean(axis=0))
    expected = whole.std(axis=0)
    expected[3] = 1
    np.testing.assert_array_equal(scaler.scale.numpy(), expected)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_the_scaler_of_rows_that_lie_together_is_that_of_all_at_once(kind: Any) -> None:
    matrix = np.random.default_rng(2).standard_normal((1500, 5)).astype(kind)
    rows = np.concatenate([np.arange(3, 900), np.arange(1000, 1400)])
    config = Config()
    config.data.standardise = "zscore"
    dataset: Any = SimpleNamespace(matrix=matrix, rows={"train": rows})
    scaler = inputs.fit_scaler(config, dataset, torch.float64, "cpu")
    assert scaler is not None
    np.testing.assert_array_equal(scaler.shift.numpy(), matrix[rows].astype(np.float64).mean(axis=0))
    np.testing.assert_array_equal(scaler.scale.numpy(), matrix[rows].astype(np.float64).std(axis=0))


@pytest.mark.parametrize("stored", [np.float32, np.float16])
def test_rows_are_standardised_in_the_same_memory_and_the_matrix_stays(stored: Any) -> None:
    matrix = np.random.default_rng(3).standard_normal((40, 5)).astype(stored)
    before, rows = matrix.copy(), torch.arange(7, 27)
    features = inputs.DeviceFeatures(matrix, torch.float32, "cpu")
    scaler = inputs.Scaler(torch.arange(5.0), torch.full((5,), 2.0))
    first = features.take(rows, scaler)
    np.testing.assert_array_equal(first.numpy(), (before[7:27].astype(np.float32) - np.arange(5, dtype=np.float32)) / 2)
    assert features.take(rows + 1, scaler).data_ptr() == first.data_ptr()
    np.testing.assert_array_equal(matrix, before)


def test_heads_of_a_stack_are_standardised_each_by_its_own_rows() -> None:
    matrix = np.random.default_rng(4).standard_normal((6, 5)).astype(np.float32)
    features = inputs.DeviceFeatures(matrix, torch.float32, "cpu")
    scalers = [inputs.Scaler(torch.zeros(5), torch.ones(5)), inputs.Scaler(torch.ones(5), torch.full((5,), 2.0))]
    heads = [inputs.Rows(torch.arange(6), torch.zeros(6, 2), scaler) for scaler in scalers]
    made = batches.Batches(features, heads, 3, Mlp([5, 2], Dropout(0)))
    for block in made.epoch([1, 1], [1, 1]):  # of one seed, so both read the same rows
        torch.testing.assert_close(block.x_SKBD[:, 1], (block.x_SKBD[:, 0] - 1) / 2, rtol=0, atol=0)
        assert block.x_SKBD[:, 0].abs().sum() > 0
