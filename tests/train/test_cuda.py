"""Training on a GPU gives the same results as on the CPU; skipped without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ctbench_core.train.inputs as inputs
from ctbench_core.config import Config
from ctbench_core.experiment import load_training, run_experiment
from ctbench_core.runs import open_run
from ctbench_core.train import checkpoint
from ctbench_core.train.trainer import make_trainer

Build = Callable[..., Config]

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def trained(config: Config, device: str, epochs: int = 3) -> tuple[Any, dict[str, torch.Tensor]]:
    """Return the last report and the weights of a head trained on a device."""
    config.utils.device = device
    trainer = make_trainer([config], [load_training(config)])
    for epoch in range(1, trainer.limits(config.training).max_epochs + 1)[:epochs]:
        (report,) = trainer.run_epoch([epoch]) or [None]
    return report, trainer.state_dict(0)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.params.hidden_dims": []},
        {"model.params.hidden_dims": [8, 6]},
        {"model.inputs": "gated"},
        {"data.standardise": "zscore"},
        {"training.optimizer": "adamw", "training.weight_decay": 0.01, "training.scheduler": "cosine"},
        {"training.optimizer": "sgd"},
        {"training.loss._target_": "focal"},
        {"model._target_": "logistic"},
        {"model._target_": "knn"},
    ],
)
def test_a_head_trains_as_on_the_cpu(make_config: Build, tiny_data: Path, changes: dict[str, Any]) -> None:
    config = make_config(tiny_data, {"training.precision": "float64", "training.learning_rate": 0.01, **changes})
    (report, state), (other, expected) = trained(config, "cuda"), trained(config, "cpu")
    tolerance = 1e-5 if changes.get("model._target_") == "logistic" else 1e-8
    assert report.macros["auprc"] == pytest.approx(other.macros["auprc"], abs=tolerance)
    assert report.val_loss == pytest.approx(other.val_loss, abs=tolerance)
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=tolerance)


def test_features_that_do_not_fit_are_read_from_the_memory_map(
    make_config: Build, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tiny_data, {"training.precision": "float64"})
    _, expected = trained(config, "cuda")
    monkeypatch.setattr(inputs, "_fits", lambda host, device: False)
    for name, tensor in trained(config, "cuda")[1].items():
        assert torch.equal(tensor, expected[name])


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_begun_on_the_gpu_goes_on_on_the_cpu(make_config: Build, tiny_data: Path, precision: str) -> None:
    config = make_config(tiny_data, {"utils.device": "cuda", "training.precision": precision})
    run = open_run(run_experiment(config)["run_dir"])
    assert all(t.device.type == "cpu" for t in checkpoint.load(run.paths.last_state)["model"].values())
    config.utils.device, config.training.max_epochs = "cpu", 6
    assert run_experiment(config, run.paths.root, resume=True)["epochs"] == 6
