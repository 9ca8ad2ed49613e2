"""Every head, optimiser, schedule and precision trains and evaluates from overrides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.runs import open_run

DIMENSIONS = 16


@pytest.fixture
def prompts(tmp_path: Path, labels: list[str]) -> Path:
    """Write a positive and a negative prompt a finding."""
    draw, path = np.random.default_rng(0), tmp_path / "prompts.npz"
    tables = {kind: draw.normal(size=(len(labels), 1, DIMENSIONS)) for kind in ("positive", "negative")}
    np.savez(path, labels=np.array(labels), **tables)
    return path


@pytest.mark.parametrize(
    "choice",
    [
        "model=logistic",
        "model=logistic data.standardise=zscore",
        "model=knn",
        "model=zero_shot model.prompts={prompts}",
        "model=linear_probe",
        "model.inputs=gated",
        "model.inputs=gated model.params.gate=scalar model.params.hidden_dims=[]",
        "model.inputs=concat training.loss._target_=focal",
        "training.loss._target_=asymmetric training.loss.pos_weight=none",
        "training.precision=bf16",
        "training.precision=bf16 model.inputs=gated",
        "training.precision=float64 training.optimizer=sgd training.scheduler=cosine",
        "training.optimizer=adamw training.weight_decay=0.01 training.warmup_epochs=1",
        "training.monitor=loss data.standardise=l2",
    ],
)
def test_trains_evaluates_and_can_be_evaluated_again(
    cli: Callable[..., Any], overrides: list[str], prompts: Path, choice: str
) -> None:
    choices = [override.format(prompts=prompts) for override in choice.split()]
    ended = cli("train", *overrides, *choices, "evaluation.after_training=true")
    assert ended.code == 0, ended.err
    metrics = ended.json["test"]["test.csv"]
    assert 0 <= metrics["auroc"] <= 1
    run = open_run(ended.json["run_dir"])
    assert run.status.state == "finished"
    assert ended.json["best_val"]["auprc"] == pytest.approx(run.best()["val_metrics"]["auprc"])
    again = cli("evaluate", f"run={run.paths.root}")
    assert again.code == 0, again.err
    assert again.json["test"]["test.csv"]["auroc"] == metrics["auroc"]
