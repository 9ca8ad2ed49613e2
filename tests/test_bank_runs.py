"""Several runs as one bank: each writes its own whole run directory, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ctbench_core.config import Config
from ctbench_core.errors import ConfigError
from ctbench_core.experiment import bank_key, queue_run, run_bank, run_experiment
from ctbench_core.runs import open_run, read_history

Build = Callable[..., Config]


def test_a_bank_key_tells_shape_and_data_apart_and_nothing_else(make_config: Build, tiny_data: Path) -> None:
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


def test_each_run_of_a_bank_has_its_whole_directory(make_config: Build, tiny_data: Path) -> None:
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


def test_a_run_that_fails_is_told_and_the_others_go_on(make_config: Build, tiny_data: Path) -> None:
    wild = {"training.learning_rate": 1e30, "utils.seed": 2}
    results = run_bank([make_config(tiny_data, changes) for changes in ({}, wild, {"utils.seed": 3})])
    assert [result["state"] for result in results] == ["finished", "failed", "finished"]
    assert "Lower training.learning_rate" in results[1]["error"]


def test_runs_of_different_shape_are_refused(make_config: Build, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="group them by bank_key"):
        run_bank([make_config(tiny_data), make_config(tiny_data, {"training.batch_size": 8})])
