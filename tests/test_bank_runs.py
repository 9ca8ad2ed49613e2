"""Several runs as one bank: each writes its own run directory, whatever happens to the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError
from ctbench_core.experiment import bank_key, queue_run, run_bank, run_experiment
from ctbench_core.runs import open_run, read_history

Build = Callable[..., Config]


def test_a_bank_key_depends_on_shape_and_data_alone(make_config: Build, tiny_data: Path) -> None:
    plain = bank_key(make_config(tiny_data))
    own = {
        "utils.seed": 7,
        "training.learning_rate": 0.5,
        "training.weight_decay": 0.1,
        "model.params.dropout": 0.1,
        "training.max_epochs": 9,
        "training.early_stopping_patience": 2,
        "data.train_manifest": "valid.csv",
        "training.loss.pos_weight": "none",
        "paths.run_dir": "elsewhere",
    }
    shared = {
        "model.params.hidden_dims": [9],
        "model._target_": "linear",
        "model.inputs": "text",
        "training.batch_size": 8,
        "training.optimizer": "sgd",
        "training.precision": "float64",
        "data.standardise": "l2",
    }
    assert {bank_key(make_config(tiny_data, {name: value})) for name, value in own.items()} == {plain}
    others = {bank_key(make_config(tiny_data, {name: value})) for name, value in shared.items()}
    assert len(others - {plain}) == len(shared)


def test_each_run_of_a_bank_has_a_complete_directory(make_config: Build, tiny_data: Path) -> None:
    configs = [make_config(tiny_data, {"utils.seed": seed}) for seed in (1, 2, 3)]
    queued = queue_run(configs[1])
    results = run_bank(configs, [None, queued, None])
    assert [result["state"] for result in results] == ["finished"] * 3
    assert results[1]["run_dir"] == str(queued)
    for config, result in zip(configs, results):
        run = open_run(result["run_dir"])
        assert (run.status.state, run.status.epoch) == ("finished", 3)
        assert run.config.utils.seed == config.utils.seed
        assert len(read_history(run.paths.metrics)) == 3
        for path in (run.paths.best_metrics, run.paths.final_model, run.paths.last_state, run.paths.provenance):
            assert path.is_file()
        alone = run_experiment(config)
        assert alone["best_val"] == pytest.approx(result["best_val"], abs=1e-4)


def test_a_run_that_fails_has_its_error_and_the_others_finish(make_config: Build, tiny_data: Path) -> None:
    wild = {"training.learning_rate": 1e30, "utils.seed": 2}
    results = run_bank([make_config(tiny_data, changes) for changes in ({}, wild, {"utils.seed": 3})])
    assert [result["state"] for result in results] == ["finished", "failed", "finished"]
    assert "Lower training.learning_rate" in results[1]["error"]


def test_runs_of_different_shape_are_refused(make_config: Build, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="group them by bank_key"):
        run_bank([make_config(tiny_data), make_config(tiny_data, {"training.batch_size": 8})])


BUDGETS = (20, 7, 60, 33, 60)


@pytest.mark.parametrize("hidden", [[], [8], [8, 6]])
@pytest.mark.parametrize("standardise", ["none", "zscore"])
def test_heads_of_different_budgets_equal_their_solo_runs(
    make_config: Build, tiny_data: Path, hidden: list[int], standardise: str
) -> None:
    """Each with its own rows, learning rate, decay and end; in one stack and in any order, to 1e-8."""
    from ctbench_core.experiment import load_training
    from ctbench_core.train.epoch_report import EpochReport
    from ctbench_core.train.trainer import Trainer

    configs, datasets = [], []
    for k, budget in enumerate(BUDGETS):
        changes = {
            "training.precision": "float64",
            "model.params.hidden_dims": hidden,
            "data.standardise": standardise,
            "utils.seed": k,
            "training.learning_rate": 0.01 * (1 + k % 2),
            "training.weight_decay": 0.01 * k,
        }
        configs.append(make_config(tiny_data, changes))
        data = load_training(configs[-1])
        data.matrix = datasets[0].matrix if datasets else data.matrix
        data.rows["train"] = data.rows["train"][:budget]
        data.manifests["train"] = data.manifests["train"].select(np.arange(len(data.manifests["train"])) < budget)
        datasets.append(data)
    bank = Trainer(configs, datasets)
    for epoch in (1, 2, 3):
        bank.run_epoch([epoch] * 5)
    rest = bank.subset([3, 1])
    outcomes = rest.run_epoch([4, 4])
    assert outcomes is not None
    for place, k in enumerate((3, 1)):
        solo = Trainer([configs[k]], [datasets[k]])
        for epoch in (1, 2, 3, 4):
            alone = solo.run_epoch([epoch])
        assert alone is not None
        one, other = alone[0], outcomes[place]
        assert isinstance(one, EpochReport)
        assert isinstance(other, EpochReport)
        assert other.train_loss == pytest.approx(one.train_loss, abs=1e-8)
        assert other.val_loss == pytest.approx(one.val_loss, abs=1e-8)
        for name, tensor in solo.state_dict(0).items():
            np.testing.assert_allclose(rest.state_dict(place)[name], tensor, atol=1e-8)
