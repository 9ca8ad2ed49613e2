"""Make runs of the older system: trained in plain PyTorch, with its folders and file formats."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score
from torch import nn

# Every key of the older tree that ours still knows, by its dotted name, at the value it had or may have had.
OLD_KEYS: dict[str, Any] = {
    "paths.data_root": "data/features",
    "paths.manifest_dir": "data/manifests",
    "paths.outputs_root": "outputs",
    "paths.job_base_dir": "${paths.outputs_root}/${hydra:job.name}",
    "paths.run_dir": "${hydra:run.dir}",
    "paths.output_dir": "${paths.run_dir}",
    "paths.checkpoint_dir": "${paths.output_dir}/checkpoints/",
    "paths.latest_run_pointer": "${paths.job_base_dir}/latest_run.json",
    "paths.checkpoint_path": None,
    "data.train_manifest": "train.csv",
    "data.val_manifest": "valid.csv",
    "data.test_manifests": ["test.csv"],
    "data.preload_features": True,
    "data.auto_split.enabled": False,
    "data.auto_split.val_fraction": 0.1,
    "data.auto_split.stratify": True,
    "data.auto_split.seed": None,
    "data.columns.visual_feature": "visual_feature_path",
    "data.columns.text_feature": None,
    "data.columns.labels": "${training.target_labels}",
    "data.columns.grouping_col": "volumename",
    "training.batch_size": 16,
    "training.num_workers": 0,
    "training.learning_rate": "1e-3",  # YAML 1.1 reads text, Hydra a number
    "training.weight_decay": 0.0,
    "training.max_epochs": 2,
    "training.early_stopping_patience": 15,
    "training.task_type": "classification",
    "training.resume.enabled": False,
    "training.resume.state_path": None,
    "training.loss._target_": "torch.nn.BCEWithLogitsLoss",
    "training.target_labels": ["Lung nodule", "Lung opacity"],
    "model._target_": "classification.models.mlp.MLP",
    "model.model_name": "mlp_visual",
    "model.params.in_features": 16,
    "model.params.hidden_dims": [8, 4],
    "model.params.dropout": 0.35,
    "evaluation.checkpoint_name": "final_model.pt",
    "evaluation.negative_class_name": "No pathology",
    "utils.seed": 42,
    "analysis.filter_normal_cases": False,
    "optuna.seed": 42,
    "optuna.disable_pruning": False,
    "optuna.pruner_startup_trials": 10,
    "optuna.pruner_warmup_steps": 5,
    "optuna.pruner_interval_steps": 1,
    "logging.logger_name": None,
    "logging.project_name": "ct-rate-feature-benchmarks",
    "logging.entity": None,
    "logging.group": None,
    "logging.run_name": None,
    "logging.job_type": None,
    "logging.tags": [],
    "logging.log_model": False,
    "logging.watch": {"log": None, "log_freq": 100},
}
HYDRA = {"run": {"dir": "${paths.job_base_dir}/${now:%Y-%m-%d_%H-%M-%S}"}, "output_subdir": ".hydra"}
DEFAULTS = [
    "_self_",
    {"data": "default_features"},
    {"model": "mlp_visual"},
    {"override hydra/job_logging": "default"},
    {"override hydra/hydra_logging": "default"},
]
GROUPS = {"data": "default_features", "model": "mlp_visual"}


def nested(keys: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted names into the nested form of a YAML file."""
    tree: dict[str, Any] = {}
    for name, value in keys.items():
        *parents, last = name.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def write_tree(folder: Path, changes: dict[str, Any] | None = None) -> None:
    """Write a config tree of every old key: config.yaml, the same under another name, and its two groups."""
    tree = nested(OLD_KEYS | (changes or {}))
    files: dict[str, Any] = {f"{group}/{name}.yaml": tree.pop(group) for group, name in GROUPS.items()}
    for name in ("config.yaml", "best_manual_labels_config.yaml"):
        files[name] = {"defaults": DEFAULTS, **tree, "hydra": HYDRA}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# @package _global_\n" * ("/" not in name) + yaml.safe_dump(content, sort_keys=False))


class MLP(nn.Module):
    """The older head: Linear, ReLU, Dropout a hidden layer, then Linear, all in ``network``."""

    def __init__(self, in_features: int, hidden_dims: list[int], out_features: int, dropout: float) -> None:
        super().__init__()
        widths, layers = [in_features, *hidden_dims], []
        for inner, out in zip(widths, hidden_dims):
            layers += [nn.Linear(inner, out), nn.ReLU(), nn.Dropout(dropout)]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def read_split(data: Path, manifest: str, labels: list[str], root: str = "features") -> tuple[torch.Tensor, np.ndarray]:
    """Read a manifest one np.load a row: features (N, D) and targets (N, C)."""
    with (data / "manifests" / manifest).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    vectors = [np.load(data / root / row["visual_feature_path"])["arr_0"].reshape(-1) for row in rows]
    return torch.tensor(np.stack(vectors)), np.array([[float(row[label]) for label in labels] for row in rows])


def epoch_metrics(targets: np.ndarray, probabilities: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """Compute the older system's metrics of an epoch with scikit-learn, with its extra class of volumes without findings."""
    precision, recall, f1, support = precision_recall_fscore_support(targets, probabilities >= 0.5, zero_division=0)
    auprc = average_precision_score(targets, probabilities, average=None)
    auroc = roc_auc_score(targets, probabilities, average=None)
    per_class = {
        label: {"precision": precision[c], "recall": recall[c], "f1": f1[c], "support": float(support[c])}
        for c, label in enumerate(labels)
    }
    per_class["No pathology"] = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 3.0}
    macros = {"auprc": auprc.mean(), "auroc": auroc.mean(), "f1_macro": f1.mean()}
    return {name: float(value) for name, value in macros.items()} | {"per_class": per_class}


def train_old_run(
    folder: Path, data: Path, labels: list[str], *, seed: int = 42, epochs: int = 4, **changes: Any
) -> Path:
    """Train a head and write everything to ``folder``, as the older system did; ``changes`` apply to the config.

    ``changes``: ``manifest_dir``, ``train``, ``val``, ``tests``, ``hidden_dims``, ``finished``, ``job``, ``root``.
    """
    torch.manual_seed(seed)
    hidden, dropout = changes.get("hidden_dims", [8]), 0.35
    root = changes.get("root", "features")
    x, y = read_split(data, changes.get("train", "train.csv"), labels, root)
    x_val, y_val = read_split(data, changes.get("val", "valid.csv"), labels, root)
    model = MLP(x.shape[1], hidden, len(labels), dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    lines, best = [], {"value": -1.0, "state": None, "line": {}}
    stale = 0
    for epoch in range(1, epochs + 1):
        model.train()
        for rows in torch.randperm(len(x)).split(16):
            loss = nn.functional.binary_cross_entropy_with_logits(model(x[rows]), torch.tensor(y[rows]).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            probabilities = model(x_val).sigmoid().numpy()
        metrics = epoch_metrics(y_val, probabilities, labels)
        stale += 1
        line = {"epoch": epoch, "train_loss": loss.item(), "val_loss": 0.5, "val_metrics": metrics}
        if metrics["auprc"] > best["value"]:
            state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            best, stale = {"value": metrics["auprc"], "state": state, "line": line}, 0
        lines.append(
            line | {f"best_val_{name}": best["line"]["val_metrics"][name] for name in ("auprc", "auroc", "f1_macro")}
        )
    _write(folder, lines, best["line"])
    _write_config(folder, data, labels, hidden, seed, epochs, changes)
    _write_checkpoints(folder, model, optimizer, best, epochs, stale, changes.get("finished", True))
    return folder


def _write(folder: Path, lines: list[dict[str, Any]], best: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "best_metrics.json").write_text(json.dumps(best, indent=2))
    names = ("auprc", "auroc", "f1_macro")
    pointer = {"run_dir": str(folder.resolve()), "primary_metric": "auprc"}
    pointer |= {f"best_val_{name}": best["val_metrics"][name] for name in names}
    (folder.parent / "latest_run.json").write_text(json.dumps(pointer, indent=2))


def _write_config(
    folder: Path, data: Path, labels: list[str], hidden: list[int], seed: int, epochs: int, changes: dict[str, Any]
) -> None:
    """Save the config as Hydra does: composed, its interpolations unresolved."""
    job = changes.get("job", folder.parent.name)
    config = {
        "paths": {
            "data_root": f"data/{changes.get('root', 'features')}",
            "manifest_dir": changes.get("manifest_dir", "data/manifests"),
            "outputs_root": "outputs",
            "job_base_dir": "${paths.outputs_root}/${hydra:job.name}",
            "run_dir": "${hydra:run.dir}",
            "output_dir": "${paths.run_dir}",
            "checkpoint_dir": "${paths.output_dir}/checkpoints/",
            "latest_run_pointer": "${paths.job_base_dir}/latest_run.json",
            "checkpoint_path": None,
        },
        "data": {
            "train_manifest": changes.get("train", "train.csv"),
            "val_manifest": changes.get("val", "valid.csv"),
            "test_manifests": changes.get("tests", ["test.csv"]),
            "columns": {
                "visual_feature": "visual_feature_path",
                "text_feature": None,
                "labels": "${training.target_labels}",
            },
        },
        "training": {
            "batch_size": 16,
            "learning_rate": 1e-2,
            "max_epochs": epochs,
            "early_stopping_patience": 15,
            "resume": {"enabled": False, "state_path": None},
            "loss": {"_target_": "torch.nn.BCEWithLogitsLoss"},
            "target_labels": labels,
            "gradient_clip": 1.0,
        },
        "model": {
            "_target_": "classification.models.mlp.MLP",
            "model_name": "mlp_visual",
            "params": {"in_features": None, "hidden_dims": hidden, "dropout": 0.35},
        },
        "utils": {"seed": seed},
        "logging": {"logger_name": "wandb", "tags": [], "log_model": False, "watch": {"log": None, "log_freq": 100}},
    }
    hydra = {"hydra": {"job": {"name": job}, "runtime": {"cwd": str(data.parent.resolve()), "version": "1.3.2"}}}
    (folder / ".hydra").mkdir()
    for name, content in (("config", config), ("hydra", hydra)):
        (folder / ".hydra" / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def _write_checkpoints(
    folder: Path, model: nn.Module, optimizer: Any, best: dict[str, Any], epochs: int, stale: int, finished: bool
) -> None:
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    if finished:
        torch.save(best["state"], checkpoints / "final_model.pt")
    state = {
        "epoch": epochs,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best_val_auprc": best["value"],
        "best_val_auroc": best["line"]["val_metrics"]["auroc"],
        "best_primary_metric": best["value"],
        "epochs_no_improve": stale,
        "best_model_state": best["state"],
        "rng_state": {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()},
        "version": 2,
    }
    torch.save(state, checkpoints / "last_state.pt")


def drop_optimiser(folder: Path) -> None:
    """Drop the optimiser from a run's snapshot, as some copies do."""
    state = folder / "checkpoints" / "last_state.pt"
    torch.save(torch.load(state, weights_only=False) | {"optimizer": None}, state)
