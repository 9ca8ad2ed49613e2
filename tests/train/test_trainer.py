"""The trainer: it learns, folds its scaling away, and gives a head the same weights in any stack."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import nn

from ctbench_core.atomic import dump_json
from ctbench_core.config import Config
from ctbench_core.dataset import Dataset, SharedData
from ctbench_core.errors import ConfigError, RunError
from ctbench_core.experiment import load_training
from ctbench_core.train import network
from ctbench_core.train.epoch_report import EpochReport
from ctbench_core.train.trainer import Trainer, choose_device

Build = Callable[..., Config]
DOUBLE = {"training.precision": "float64"}


@pytest.fixture
def make_trainer(make_config: Build, tiny_data: Path) -> Callable[..., Trainer]:
    """Return a builder of trainers on the tiny data set."""

    def build(changes: dict[str, Any] | None = None, seeds: tuple[int, ...] = (1,)) -> Trainer:
        configs = [make_config(tiny_data, {**(changes or {}), "utils.seed": seed}) for seed in seeds]
        return Trainer(configs, [load_training(config) for config in configs])

    return build


def train(trainer: Trainer, epochs: int) -> list[EpochReport]:
    """Train some epochs and return the last report of each head; a head's error is raised."""
    reports: list[EpochReport | RunError] | None = None
    for epoch in range(1, epochs + 1):
        reports = trainer.run_epoch([epoch] * len(trainer.seeds))
        for report in reports or []:
            if isinstance(report, RunError):
                raise report
    assert reports is not None
    return [report for report in reports if isinstance(report, EpochReport)]


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("hidden", [[], [16]])
def test_learns_what_can_be_learnt(make_trainer: Callable[..., Trainer], optimizer: str, hidden: list[int]) -> None:
    changes = {"model.params.hidden_dims": hidden, "training.learning_rate": 0.03, "training.optimizer": optimizer}
    trainer = make_trainer(changes)
    first, last = train(trainer, 1)[0], train(trainer, 40)[0]
    assert last.train_loss < first.train_loss / 2
    assert last.macros["auroc"] > 0.8


@pytest.mark.parametrize("loss", ["bce", "focal", "asymmetric"])
def test_every_loss_trains(make_trainer: Callable[..., Trainer], loss: str) -> None:
    """Every seed learns to order its training volumes; 14 exams of validation judge the mean of six seeds only.

    One seed's validation AUROC lies anywhere from .78 to .92, whichever the loss.
    """
    seeds = tuple(range(6))
    trainer = make_trainer({"training.loss._target_": loss, "training.learning_rate": 0.03}, seeds)
    first, last = train(trainer, 1), train(trainer, 40)
    scores = trainer.logits(trainer._train[0], range(6)).numpy()
    targets = trainer._train[0].targets.numpy()
    for k in seeds:
        assert last[k].train_loss < first[k].train_loss / 2
        assert roc_auc_score(targets, scores[k], average="macro") > 0.98
    assert np.mean([report.macros["auroc"] for report in last]) > 0.8


def reference_steps(dataset: Dataset, trainer: Trainer, state: dict[str, torch.Tensor], epochs: int) -> nn.Module:
    """Train the same linear head the conventional way, in the trainer's order of rows."""
    from ctbench_core.train.batches import stream

    head = nn.Linear(16, 3).double()
    head.load_state_dict({name.removeprefix("network.0."): tensor for name, tensor in state.items()})
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    x = torch.from_numpy(dataset.inputs("train")).double()
    y = torch.from_numpy(dataset.manifests["train"].targets).double()
    loss = nn.BCEWithLogitsLoss(pos_weight=(len(y) - y.sum(0)) / y.sum(0))
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(x), generator=stream(1, "batches", epoch)).split(16):
            optimizer.zero_grad()
            loss(head(x[rows]), y[rows]).backward()
            optimizer.step()
    return head


def test_training_is_that_of_plain_pytorch(make_config: Build, tiny_data: Path) -> None:
    config = make_config(
        tiny_data, {**DOUBLE, "model._target_": "linear", "training.learning_rate": 0.01, "utils.seed": 1}
    )
    dataset = load_training(config)
    trainer = Trainer([config], [dataset])
    start = trainer.state_dict(0)
    train(trainer, 4)
    head = reference_steps(dataset, trainer, start, 4)
    torch.testing.assert_close(trainer.state_dict(0)["network.0.weight"], head.weight.detach(), rtol=0, atol=1e-10)
    torch.testing.assert_close(trainer.state_dict(0)["network.0.bias"], head.bias.detach(), rtol=0, atol=1e-10)


@pytest.fixture(params=[1, 2], ids=["whole", "in parts"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a head that steps alone have its first layer in so many parts, small as it is."""
    monkeypatch.setattr(network, "PART", 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("hidden", [[], [8], [8, 6]])
def test_a_head_trains_the_same_alone_and_in_a_stack(
    make_trainer: Callable[..., Trainer], hidden: list[int], parts: int
) -> None:
    changes = {**DOUBLE, "model.params.hidden_dims": hidden, "training.learning_rate": 0.01}
    stack = make_trainer(changes, seeds=(1, 2, 3))
    together = train(stack, 5)
    for k, seed in enumerate((1, 2, 3)):
        solo = make_trainer(changes, seeds=(seed,))
        assert solo.network.parts == (parts if hidden else 1)
        alone = train(solo, 5)[0]
        assert alone.train_loss == pytest.approx(together[k].train_loss, abs=1e-10)
        assert alone.macros["auprc"] == pytest.approx(together[k].macros["auprc"], abs=1e-10)
        for name, tensor in solo.state_dict(0).items():
            torch.testing.assert_close(stack.state_dict(k)[name], tensor, rtol=0, atol=1e-10)


def test_heads_of_other_budgets_train_the_same_alone_and_in_a_stack(make_config: Build, tiny_data: Path) -> None:
    """Each reads its own rows, standardised by its own rows."""
    changes = {**DOUBLE, "data.standardise": "zscore", "training.learning_rate": 0.01, "training.batch_size": 16}
    configs = [make_config(tiny_data, {**changes, "data.budget": budget}) for budget in (16, 30, 44)]
    shared = SharedData(configs)
    datasets = [shared.dataset(config) for config in configs]
    stack = Trainer(configs, datasets)
    train(stack, 3)
    for k, (config, dataset) in enumerate(zip(configs, datasets)):
        solo = Trainer([config], [dataset])
        train(solo, 3)
        for name, tensor in solo.state_dict(0).items():
            torch.testing.assert_close(stack.state_dict(k)[name], tensor, rtol=0, atol=1e-10)


@pytest.mark.parametrize("hidden", [[8], [8, 6]])
def test_a_head_goes_on_where_its_stack_or_checkpoint_left_it(
    make_trainer: Callable[..., Trainer], hidden: list[int], parts: int
) -> None:
    """Left alone by its stack, or restored beside another, it becomes what it is when it never moves."""
    changes = {**DOUBLE, "model.params.hidden_dims": hidden, "training.learning_rate": 0.01}
    whole = make_trainer(changes, seeds=(2,))
    train(whole, 4)

    stack = make_trainer(changes, seeds=(1, 2))
    train(stack, 2)
    left = stack.subset([1])
    half = make_trainer(changes, seeds=(2,))
    train(half, 2)
    beside = make_trainer(changes, seeds=(1, 2))
    beside.restore(1, half.snapshot(0))
    for epoch in (3, 4):
        left.run_epoch([epoch])
        beside.run_epoch([epoch, epoch])
    for name, tensor in whole.state_dict(0).items():
        torch.testing.assert_close(left.state_dict(0)[name], tensor, rtol=0, atol=1e-10)
        torch.testing.assert_close(beside.state_dict(1)[name], tensor, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_narrow_products_learn_beside_wide_ones(
    make_trainer: Callable[..., Trainer], parts: int, seeds: tuple[int, ...]
) -> None:
    """Training in bfloat16 and validation in float32 go through the same network, here with as many rows at a time."""
    changes = {"model.params.hidden_dims": [8], "training.learning_rate": 0.01, "training.batch_size": 28}
    narrow, wide = make_trainer({**changes, "training.precision": "bf16"}, seeds), make_trainer(changes, seeds)
    assert len(narrow.datasets[0].rows["val"]) == narrow.configs[0].training.batch_size
    for report, other in zip(train(narrow, 5), train(wide, 5)):
        assert report.val_loss == pytest.approx(other.val_loss, rel=0.05)
        assert report.train_loss == pytest.approx(other.train_loss, rel=0.05)


def test_the_seed_decides_and_nothing_else(make_trainer: Callable[..., Trainer]) -> None:
    torch.manual_seed(0)
    one = make_trainer()
    first = dump_json(train(one, 2)[0].line())
    torch.manual_seed(999)
    assert dump_json(train(make_trainer(), 2)[0].line()) == first
    assert dump_json(train(make_trainer(seeds=(2,)), 2)[0].line()) != first


def plain_head(state: dict[str, torch.Tensor]) -> nn.Module:
    weights = [tensor for name, tensor in state.items() if name.endswith("weight")]
    layers: list[nn.Module] = []
    for weight in weights[:-1]:
        layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.ReLU(), nn.Dropout(0.35)]
    module = nn.Module()
    module.network = nn.Sequential(*layers, nn.Linear(weights[-1].shape[1], weights[-1].shape[0]))
    module.to(weights[0].dtype).load_state_dict(state)
    return module.eval()


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize("hidden", [[], [8]])
def test_zscore_is_folded_into_the_saved_weights(
    make_config: Build, data: Path, precision: str, tolerance: float, hidden: list[int]
) -> None:
    """The state_dict reads raw features, whatever their scale; one dimension is constant."""
    draw = np.random.default_rng(0)
    shift, scale = draw.normal(size=16) * 10, np.exp(draw.normal(size=16))
    for path in (data / "features" / "image").glob("*.npz"):
        vector = np.load(path)["arr_0"] * scale + shift
        vector[:, 3] = 0.1
        np.savez(path, vector.astype(np.float32))
    changes = {"data.standardise": "zscore", "training.precision": precision, "model.params.hidden_dims": hidden}
    config = make_config(data, changes)
    dataset = load_training(config)
    trainer = Trainer([config], [dataset])
    train(trainer, 3)
    scaled = trainer.features.take(torch.as_tensor(dataset.rows["train"]), trainer._train[0].scaler).double().numpy()
    np.testing.assert_allclose(np.delete(scaled, 3, axis=1).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.delete(scaled.std(axis=0), 3), 1, atol=1e-4)
    assert np.isfinite(scaled).all()
    inside = trainer.logits(trainer._val[0], [0])[0]
    raw = torch.from_numpy(dataset.inputs("val")).to(trainer.dtype)
    outside = plain_head(trainer.state_dict(0)).network(raw)
    torch.testing.assert_close(outside.detach(), inside, rtol=0, atol=tolerance)


def test_reports_are_those_of_scikit_learn(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, DOUBLE)
    dataset = load_training(config)
    trainer = Trainer([config], [dataset])
    report = train(trainer, 2)[0]
    with torch.no_grad():
        logits = plain_head(trainer.state_dict(0)).network(torch.from_numpy(dataset.inputs("val")).double())
    targets, scores = dataset.manifests["val"].targets, torch.sigmoid(logits).numpy()
    assert report.macros["auprc"] == pytest.approx(average_precision_score(targets, scores, average="macro"), abs=1e-12)
    assert report.macros["auroc"] == pytest.approx(roc_auc_score(targets, scores, average="macro"), abs=1e-12)
    assert report.macros["f1_macro"] == pytest.approx(
        f1_score(targets, scores >= 0.5, average="macro", zero_division=0), abs=1e-12
    )
    pos_weight = torch.tensor(
        (dataset.manifests["train"].targets == 0).sum(0) / dataset.manifests["train"].targets.sum(0)
    )
    expected = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(targets).double(), pos_weight=pos_weight.double()
    )
    assert report.val_loss == pytest.approx(expected.item(), abs=1e-6)
    line = report.line()
    assert list(line) == ["epoch", "train_loss", "val_loss", "val_metrics"]
    assert set(line["val_metrics"]["per_class"]["Emphysema"]) >= {
        "auprc",
        "auroc",
        "precision",
        "recall",
        "f1",
        "support",
    }


def test_a_loss_that_is_not_finite_ends_the_run_with_a_way_out(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer({"training.learning_rate": 1e30, "training.optimizer": "sgd"})
    with pytest.raises(RunError, match=r"loss became .* in epoch \d.*Lower training.learning_rate.*standardise"):
        train(trainer, 10)


def test_a_head_that_diverges_leaves_the_others_as_they_are(make_config: Build, tiny_data: Path) -> None:
    rates = {1: 0.01, 2: 1e30, 3: 0.01}
    configs = [
        make_config(tiny_data, {"training.optimizer": "sgd", "utils.seed": seed, "training.learning_rate": rate})
        for seed, rate in rates.items()
    ]
    trainer = Trainer(configs, [load_training(config) for config in configs])
    outcomes = [trainer.run_epoch([epoch] * 3) for epoch in (1, 2)][-1]
    assert outcomes is not None
    assert [isinstance(outcome, RunError) for outcome in outcomes] == [False, True, False]
    alone = Trainer(configs[2:], [load_training(configs[2])])
    last = train(alone, 2)[0]
    other = outcomes[2]
    assert isinstance(other, EpochReport)
    assert other.macros["auprc"] == pytest.approx(last.macros["auprc"], abs=1e-5)


def test_weights_that_overflow_in_the_last_step_are_a_run_error_too(make_trainer: Callable[..., Trainer]) -> None:
    """One batch an epoch: the loss is still finite when the step that ruins the weights is taken."""
    trainer = make_trainer({"training.learning_rate": 1e38, "training.optimizer": "sgd", "training.batch_size": 1000})
    with pytest.raises(RunError, match=r"Lower training.learning_rate"):
        train(trainer, 1)


def test_an_epoch_can_be_stopped_between_batches(make_trainer: Callable[..., Trainer]) -> None:
    answers = iter([False])
    assert make_trainer().run_epoch([1], lambda: next(answers)) is None


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0, 4.0], "1.5"])
def test_weights_must_be_one_a_finding(make_trainer: Callable[..., Trainer], weights: Any) -> None:
    with pytest.raises(ConfigError, match="expected auto, none, or one number for each of the 3 findings"):
        make_trainer({"training.loss.pos_weight": weights})


def test_given_weights_are_used(make_trainer: Callable[..., Trainer]) -> None:
    none, ones = (
        make_trainer({"training.loss.pos_weight": "none"}),
        make_trainer({"training.loss.pos_weight": [1, 1, 1]}),
    )
    assert train(none, 2)[0].train_loss == pytest.approx(train(ones, 2)[0].train_loss, rel=1e-6)
    heavy = make_trainer({"training.loss.pos_weight": [9, 9, 9]})
    assert train(heavy, 2)[0].train_loss > 1.5 * train(none, 3)[0].train_loss


def test_monitor_reads_larger_as_better() -> None:
    report = EpochReport(1, 0.5, 0.25, {"auprc": 0.7, "auroc": 0.8, "f1_macro": 0.6}, {})
    assert [report.monitored(name) for name in ("auprc", "auroc", "f1_macro", "loss")] == [0.7, 0.8, 0.6, -0.25]


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:", "mps"])
def test_unknown_devices_are_refused(name: str) -> None:
    if name == "cpu:":
        assert choose_device(name)
        return
    with pytest.raises(ConfigError, match="Known: auto, cpu, cuda, cuda:N"):
        choose_device(name)


def test_an_absent_gpu_is_refused_and_auto_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    for name in ("cuda", "cuda:0", "cuda:3"):
        with pytest.raises(ConfigError, match="this machine shows 0 CUDA devices"):
            choose_device(name)


def test_unknown_labels_leave_the_others_alone(make_config: Build, tiny_data: Path) -> None:
    """A finding that is unknown everywhere trains on, is undefined, and is left out of the macro."""
    config = make_config(tiny_data, {**DOUBLE, "model.params.hidden_dims": []})
    plain, masked = load_training(config), load_training(config)
    for name, manifest in masked.manifests.items():  # a manifest is shared by all that read it
        targets = np.where(np.arange(manifest.targets.shape[1]) == 1, np.float32(np.nan), manifest.targets)
        masked.manifests[name] = dataclasses.replace(manifest, targets=targets)
    one, other = Trainer([config], [plain]), Trainer([config], [masked])
    report = train(other, 3)[0]
    train(one, 3)
    assert math.isnan(report.per_class["Lung opacity"]["auroc"])
    assert report.macros["auroc"] == pytest.approx(
        np.mean([report.per_class[name]["auroc"] for name in ("Lung nodule", "Emphysema")]), abs=1e-12
    )
    assert torch.isfinite(other.parameters.flat_KP).all()
