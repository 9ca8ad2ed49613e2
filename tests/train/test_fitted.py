"""Heads that are fitted whole, and the gate: against scikit-learn, brute force and plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

import ctbench_core
from ctbench_core.config import Config
from ctbench_core.errors import ConfigError, FeatureError
from ctbench_core.evaluate import predict_logits
from ctbench_core.experiment import load_training, run_bank, run_experiment
from ctbench_core.runs import open_run, read_history
from ctbench_core.train.logistic import LogisticPath
from ctbench_core.train.prompts import read_prompts
from ctbench_core.train.trainer import Trainer

Build = Callable[..., Config]


def trained(config: Config) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]], np.ndarray]:
    """Train; return the stored head, the history, and the stored head's validation logits."""
    run = open_run(run_experiment(config)["run_dir"])
    state = torch.load(run.paths.final_model, weights_only=True)
    return state, read_history(run.paths.metrics), predict_logits(state, load_training(config), "val", "cpu")


@pytest.mark.parametrize("weight", ["none", [3.0, 0.5, 2.0]])
def test_logistic_finds_scikit_learns_optimum(make_config: Build, tiny_data: Path, weight: Any) -> None:
    changes = {"model._target_": "logistic", "model.params.c": [0.5], "training.loss.pos_weight": weight}
    config = make_config(tiny_data, {**changes, "training.precision": "float64"})
    state, history, _ = trained(config)
    data = load_training(config)
    x, y = data.inputs("train").astype(np.float64), data.manifests["train"].targets
    for c in range(3):
        heavy = 1.0 if weight == "none" else weight[c]
        plain = LogisticRegression(C=0.5, class_weight={0: 1.0, 1: heavy}, tol=1e-12, solver="newton-cholesky")
        plain.fit(x, y[:, c])
        np.testing.assert_allclose(state["network.0.weight"][c], plain.coef_[0], atol=1e-6)
        assert float(state["network.0.bias"][c]) == pytest.approx(plain.intercept_[0], abs=1e-6)
    assert history[0]["c"] == 0.5


def objective(x: np.ndarray, y: np.ndarray, c: float, coef: np.ndarray, bias: float) -> float:
    z = x @ coef + bias
    return float((np.logaddexp(0, z) - y * z).mean() + coef @ coef / (2 * c * len(y)))


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_logistic_on_unscaled_features_and_unknown_labels(spread: float) -> None:
    """Features whose scales differ by e^6, labels of which a third are unknown: the same loss to 1e-6."""
    draw = np.random.default_rng(0)
    x = (draw.normal(size=(900, 20)) * np.exp(draw.normal(size=20) * spread) + draw.normal(size=20)).astype(np.float32)
    y = (draw.normal(size=(900, 3)) + (x - x.mean(0))[:, :3] / x[:, :3].std(axis=0) > 0.5).astype(np.float32)
    known = draw.random(y.shape) > 1 / 3
    weights = torch.from_numpy(known.astype(np.float32))
    path = LogisticPath(torch.from_numpy(x), torch.from_numpy(y * known), weights, weights)
    for c in (1e-3, 1.0, 1e3):
        fit = path.fit(c, None)
        assert fit is not None
        for k in range(3):
            rows = known[:, k]
            wide, labels = x[rows].astype(np.float64), y[rows, k]

            plain = LogisticRegression(C=c, tol=1e-10, max_iter=20_000, solver="newton-cholesky").fit(wide, labels)
            ours = objective(wide, labels, c, fit[0][k, :-1].numpy(), float(fit[0][k, -1]))
            theirs = objective(wide, labels, c, plain.coef_[0], float(plain.intercept_[0]))
            assert ours == pytest.approx(theirs, abs=1e-6)


def test_the_strength_is_chosen_on_validation(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, {"model._target_": "logistic", "training.max_epochs": 1})
    state, history, _ = trained(config)
    assert [line["c"] for line in history] == config.model.params.c
    best = max(history, key=lambda line: line["val_metrics"]["auprc"])
    again, _, _ = trained(make_config(tiny_data, {"model._target_": "logistic", "model.params.c": [best["c"]]}))
    torch.testing.assert_close(again["network.0.weight"], state["network.0.weight"], atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("standardise", ["none", "zscore"])
def test_neighbours_vote_as_scikit_learns(make_config: Build, tiny_data: Path, standardise: str) -> None:
    changes = {"model._target_": "knn", "model.params.k": [7], "data.standardise": standardise}
    config = make_config(tiny_data, changes)
    state, history, logits = trained(config)
    data = load_training(config)
    x, v = data.inputs("train"), data.inputs("val")
    if standardise == "zscore":
        x, v = (x - x.mean(0)) / x.std(0), (v - x.mean(0)) / x.std(0)
    # Two reconstructions share each vector, so that the seventh neighbour ties with the eighth, which share labels.
    for c in range(3):
        plain = KNeighborsClassifier(7, metric="cosine").fit(x, data.manifests["train"].targets[:, c])
        share = plain.predict_proba(v)[:, 1]
        np.testing.assert_allclose(1 / (1 + np.exp(-logits[:, c])), (share * 7 + 0.5) / 8, atol=1e-6)
    assert history[0]["k"] == 7
    assert int(state["knn.k"]) == 7


def write_prompts(path: Path, labels: list[str], width: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(3)
    table = {kind: draw.normal(size=(len(labels), 2, width)) for kind in ("positive", "negative")}
    if path.suffix == ".npz":
        np.savez(path, labels=np.array(labels), **table)
    else:
        rows = [
            {"label": label, "kind": kind, "embedding": prompt}
            for kind, prompts in table.items()
            for label, own in zip(labels, prompts)
            for prompt in own
        ]
        pd.DataFrame(rows).to_parquet(path)
    return table


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_zero_shot_is_the_difference_of_cosines(
    make_config: Build, tiny_data: Path, tmp_path: Path, labels: list[str], suffix: str
) -> None:
    prompts = tmp_path / f"prompts{suffix}"
    table = write_prompts(prompts, labels[::-1], 16)  # in another order than the manifest's
    config = make_config(tiny_data, {"model._target_": "zero_shot", "model.prompts": str(prompts)})
    _, history, logits = trained(config)
    mean = {kind: unit(unit(values).mean(axis=1))[::-1] for kind, values in table.items()}
    expected = unit(load_training(config).inputs("val")) @ (mean["positive"] - mean["negative"]).T / 0.07
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert len(history) == 1


def test_prompts_that_do_not_fit_are_named(
    make_config: Build, tiny_data: Path, tmp_path: Path, labels: list[str]
) -> None:
    head = {"model._target_": "zero_shot"}
    with pytest.raises(ConfigError, match=r"zero_shot needs model\.prompts"):
        run_experiment(make_config(tiny_data, head))
    cases = [(labels, 8, "prompts are 8 wide, the features 16"), (labels[:2], 16, "no positive prompt of Emphysema")]
    for names, width, message in cases:
        write_prompts(tmp_path / "prompts.npz", names, width)
        with pytest.raises(FeatureError, match=message):
            run_experiment(make_config(tiny_data, {**head, "model.prompts": str(tmp_path / "prompts.npz")}))
    (tmp_path / "bad.npz").write_bytes(b"no prompts")
    with pytest.raises(FeatureError, match=r"bad\.npz cannot be read"):
        run_experiment(make_config(tiny_data, {**head, "model.prompts": str(tmp_path / "bad.npz")}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positive": np.full((3, 2, 16), np.nan)}, "NaN, infinite or not positive"),
        ({"logit_scale": np.array(-1.0)}, "NaN, infinite or not positive"),
        ({"labels": np.array(["a", "a", "b"])}, "names a finding twice"),
        ({"positive": np.zeros((2, 2, 16))}, "holds no prompts"),
        ({"negative": np.eye(3, 16)[[0, 1, 1]] * [[1], [0], [1]]}, "negative prompt of .* is all zeros"),
        ({"positive": np.array(["a", "b", "c"])}, "holds no prompts"),
        ({"positive": np.zeros((3, 16), [("a", "f4")])}, "must be numbers"),
    ],
)
def test_unusable_prompts_are_refused(
    tmp_path: Path, labels: list[str], change: dict[str, np.ndarray], message: str
) -> None:
    table = write_prompts(tmp_path / "prompts.npz", labels, 16)
    np.savez(tmp_path / "prompts.npz", **{"labels": np.array(labels), **table, **change})
    with pytest.raises(FeatureError, match=message):
        read_prompts(str(tmp_path / "prompts.npz"), labels, 16)


@pytest.mark.parametrize("head", ["logistic", "knn", "mlp", "linear"])
@pytest.mark.parametrize("inputs", ["visual", "text", "concat"])
def test_every_head_trains_and_opens_its_test(make_config: Build, tiny_data: Path, head: str, inputs: str) -> None:
    config = make_config(tiny_data, {"model._target_": head, "model.inputs": inputs, "training.learning_rate": 0.05})
    result = ctbench_core.evaluate_run(run_experiment(config)["run_dir"])
    assert result["test"]["test.csv"]["auroc"] > 0.4


@pytest.mark.parametrize("gate", ["scalar", "dimension"])
@pytest.mark.parametrize("hidden", [[], [8], [8, 6]])
@pytest.mark.parametrize("standardise", ["none", "zscore"])
def test_a_gated_head_is_its_formula_in_plain_pytorch(
    make_config: Build, tiny_data: Path, gate: str, hidden: list[int], standardise: str
) -> None:
    changes = {"model.inputs": "gated", "model.params.gate": gate, "model.params.hidden_dims": hidden}
    config = make_config(
        tiny_data,
        {**changes, "training.precision": "float64", "data.standardise": standardise, "training.learning_rate": 0.01},
    )
    state, history, logits = trained(config)
    x = torch.from_numpy(load_training(config).inputs("val")).double()
    linear = torch.nn.functional.linear
    v, t, g = (
        linear(part, state[f"{name}.weight"], state[f"{name}.bias"])
        for name, part in (("visual", x[:, :16]), ("text", x[:, 16:]), ("gate", x))
    )
    assert g.shape[1] == (1 if gate == "scalar" else v.shape[1])
    a = torch.sigmoid(g) * v + (1 - torch.sigmoid(g)) * t
    for i in range(1, len(hidden) + 1):
        a = linear(a.relu(), state[f"network.{3 * i}.weight"], state[f"network.{3 * i}.bias"])
    np.testing.assert_allclose(logits, a.numpy(), atol=1e-9)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_gated_heads_train_the_same_alone_and_in_a_stack(make_config: Build, tiny_data: Path) -> None:
    changes = {"model.inputs": "gated", "training.precision": "float64", "training.learning_rate": 0.01}
    configs = [make_config(tiny_data, {**changes, "utils.seed": seed}) for seed in (1, 2)]
    data = load_training(configs[0])
    stack, solo = Trainer(configs, [data, data]), Trainer(configs[1:], [data])
    for epoch in (1, 2, 3):
        stack.run_epoch([epoch, epoch])
        solo.run_epoch([epoch])
    for name, tensor in solo.state_dict(0).items():
        torch.testing.assert_close(stack.state_dict(1)[name], tensor, rtol=0, atol=1e-8)


def test_bf16_trains_with_wide_weights(make_config: Build, tiny_data: Path) -> None:
    config = make_config(
        tiny_data, {"training.precision": "bf16", "training.max_epochs": 30, "training.learning_rate": 0.03}
    )
    state, history, _ = trained(config)
    assert state["network.0.weight"].dtype == torch.float32
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2


def test_fitted_heads_go_through_the_same_bank_call(make_config: Build, tiny_data: Path) -> None:
    configs = [make_config(tiny_data, {"model._target_": "knn", "utils.seed": seed}) for seed in (1, 2)]
    assert [result["state"] for result in run_bank(configs)] == ["finished", "finished"]


def test_a_fitted_head_has_no_gate(make_config: Build, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="gated needs a head that learns the gate"):
        run_experiment(make_config(tiny_data, {"model._target_": "knn", "model.inputs": "gated"}))
