"""Every head, optimiser, schedule and precision trains and evaluates from overrides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.config import KEYS
from ctbench_core.declared import HEADS, LOSSES, OPTIMIZERS, SCHEDULES
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
        "training.loss._target_=asymmetric training.loss.pos_weight=none training.loss.margin=0.2",
        "training.loss.smoothing=0.1 training.loss.pos_weight=[1,2,0.5]",
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


def test_every_registered_choice_is_tried_above() -> None:
    """Adding one means trying it."""
    (tried,) = (mark.args[1] for mark in test_trains_evaluates_and_can_be_evaluated_again.pytestmark)  # type: ignore[attr-defined]
    words = {value for choice in tried for word in choice.split() for value in word.split("=")[1:]}
    words |= {"mlp", "bce", "adam", "none"}  # the defaults
    for registry in (HEADS, LOSSES, OPTIMIZERS, SCHEDULES):
        assert [item.name for item in registry.values() if not words & {item.name, *item.aliases}] == []


REFUSED = [
    (
        "model=logistic model.inputs=gated",
        "model.inputs=gated needs a head that learns the gate: mlp or linear, not logistic",
    ),
    ("model=zero_shot", "zero_shot needs model.prompts"),
    ("model=zero_shot model.prompts=p.npz data.standardise=zscore", "Set data.standardise to none or l2"),
    (
        "model=knn training.loss._target_=focal",
        "kNN is not trained with a loss, so training.loss._target_=focal has no",
    ),
    (
        "model=logistic training.loss.smoothing=0.1",
        "training.loss.smoothing=0.1 has no effect. Set training.loss.smoothing=0",
    ),
    ("training.loss.pos_weight=[1,2]", "expected auto, none, or one number for each of the 3 findings"),
    ("training.loss.pos_weight=balanced", "expected auto, none, or one number for each"),
    ("model._target_=mpl", "Unknown head 'mpl'. Known: mlp"),
    ("training.loss._target_=focl", "Unknown loss 'focl'. Known: focal"),
]


@pytest.mark.parametrize(("choice", "message"), REFUSED)
def test_what_cannot_be_trained_is_refused_alike_by_check_train_and_study(
    cli: Callable[..., Any], overrides: list[str], tmp_path: Path, choice: str, message: str
) -> None:
    words = [*overrides, *choice.split()]
    check, train = cli("check", *words), cli("train", *words)
    assert (check.code, train.code) == (2, 2)
    assert message in check.json["errors"][-1]
    assert message in train.json["error"]
    assert "features" not in train.err or "findings" in message  # refused before any feature is read
    if "findings" not in message:  # known once a manifest has been read
        planned = cli("train", "-m", *words, "utils.seed=1,2")
        assert planned.code == 2
        assert planned.json["error"] == train.json["error"]
    assert not list((tmp_path / "outputs").glob("*/*/config.yaml"))


@pytest.mark.parametrize("key", ["training.optimizer", "training.scheduler"])
def test_an_unknown_choice_lists_the_registered_ones(cli: Callable[..., Any], overrides: list[str], key: str) -> None:
    ended = cli("train", *overrides, f"{key}=lion")
    assert ended.code == 2
    assert f"{key} is 'lion'. Known: {', '.join(KEYS[key].registry)}" in ended.json["error"]
