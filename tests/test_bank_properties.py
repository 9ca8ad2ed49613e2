"""For every key of a head, a stack or the data: runs with different values train in one bank as they do alone.

One bank trains all values of all keys together, in float64; each run must equal the same run by itself, and must
differ from the run with the other value. A new key shows up here by itself: it needs a context in which it matters, or
a reason why it never does.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctbench_core.config import KEYS, Config, set_keys
from ctbench_core.declared import HEADS, LOSSES
from ctbench_core.experiment import bank_key, run_bank, run_experiment
from ctbench_core.runs import Run, open_run
from tests.key_values import other_value

ROWS = {"train": 48, "valid": 24, "test": 12}
FINDINGS = ["A", "B", "C"]
SPLIT = {"data.auto_split.enabled": True}
FOLDS = {"data.kfold.folds": 3}
INFERRED = {"training.target_labels": None}
FAST = {"training.learning_rate": 0.3, "training.max_epochs": 8}

# key: the settings in which its value matters, and the value where trying finds none that does.
CONTEXTS: dict[str, dict[str, Any]] = {
    "data.columns.labels": INFERRED,
    "data.columns.metadata": INFERRED,
    "data.columns.volume": SPLIT,
    "data.columns.patient": SPLIT,
    "data.columns.exam": SPLIT | {"data.auto_split.group": "exam"},
    "data.columns.grouping_col": SPLIT,
    "data.labels.rename": INFERRED,
    "data.labels.only": INFERRED,
    "data.labels.separator": {"data.labels.list_column": "Findings"},
    "data.auto_split.val_fraction": SPLIT,
    "data.auto_split.stratify": SPLIT,
    "data.auto_split.seed": SPLIT,
    "data.auto_split.group": SPLIT,
    "data.kfold.fold": FOLDS,
    "data.kfold.seed": FOLDS,
    "data.kfold.group": FOLDS,
    "data.budget_unit": {"data.budget": 12},
    "data.budget_draw": {"data.budget": 12},
    "data.budget_seed": {"data.budget": 12},
    "data.reference": {"data.budget": 12},
    "training.early_stopping_patience": FAST,
    "training.monitor": FAST,
    "model.params.c": {"model._target_": "logistic"},
    "model.params.k": {"model._target_": "knn"},
    **{
        f"{place}.{name}": {f"{target}._target_": one.name}
        for place, target, registry in (
            ("training.loss", "training.loss", LOSSES),
            ("model.params", "model", HEADS),
        )
        for one in registry.values()
        for name in one.parameters
        if sum(name in other.parameters for other in registry.values()) < len(registry)
    },
}
VALUES: dict[str, Any] = {
    "paths.manifest_dir": "{folder}/other",
    "data.train_manifest": "train2.csv",
    "data.val_manifest": "valid2.csv",
    "data.columns.labels": ["A", "B"],
    "data.columns.metadata": ["C"],
    "data.columns.volume": "Other",
    "data.columns.patient": "Person",
    "data.columns.exam": "Person",
    "data.columns.split": "Part",
    "data.columns.grouping_col": "Person",
    "data.labels.uncertain": "positive",
    "data.labels.values": {"maybe": 1},
    "data.labels.list_column": "Findings",
    "data.labels.separator": ";",
    "data.labels.rename": {"A": "Renamed"},
    "data.labels.only": ["A", "B"],
    "data.auto_split.enabled": True,
    "data.auto_split.val_fraction": 0.4,
    "data.auto_split.group": "none",
    "data.kfold.group": "none",
    "data.kfold.folds": 3,
    "data.kfold.fold": 1,
    "data.budget": 12,
    "data.budget_unit": "volume",
    "data.reference": "{folder}/other",
    "data.cohort.recon": "first",
    "data.cohort.exclude": "{folder}/exclude.txt",
    "training.target_labels": ["A", "B"],
    "training.learning_rate": 0.01,
    "training.weight_decay": 0.5,
    "training.max_epochs": 3,
    "training.early_stopping_patience": 1,
    "training.loss.pos_weight": "none",
    "training.monitor": "loss",
    "model.params.c": [0.5],
    "model.params.k": [3],
}
WITHOUT_EFFECT = {
    "data.budget_draw": "draws the same units where every finding is frequent; test_budget.py has rare ones",
    "data.on_leak": "decides whether a run trains, not how",
}


def _names() -> list[str]:
    return [name for name, info in KEYS.items() if info.scope in ("head", "stack", "data")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write features of two reconstructions an exam, and manifests with every convention that a key is about."""
    folder, draw = tmp_path_factory.mktemp("property"), np.random.default_rng(3)
    (folder / "features").mkdir()
    directions = draw.normal(size=(3, 6))
    for split, count in ROWS.items():
        rows = [_row(folder, split, k, draw, directions) for k in range(count)]
        for name, part in (("manifests", rows), ("other", rows[: count * 2 // 3])):
            _write(folder / name / f"{split}.csv", part)
        _write(folder / "manifests" / f"{split}2.csv", rows[count // 4 :])
    (folder / "exclude.txt").write_text("train_1_a_1\ntrain_2_a_2\n")
    return folder


def _row(folder: Path, split: str, k: int, draw: np.random.Generator, directions: np.ndarray) -> dict[str, Any]:
    volume, vector = f"{split}_{k // 2 + 1}_a_{k % 2 + 1}", draw.normal(size=6).astype(np.float32)
    np.save(folder / "features" / f"{volume}.npy", vector)
    targets = [int(vector @ direction + draw.normal() > 0) if k > 1 else k for direction in directions]
    labels: list[Any] = list(targets)
    labels[0] = {5: -1, 9: -1, 14: "maybe", 15: "maybe", 20: "", 21: ""}.get(k, labels[0])
    positive = [name for name, target in zip(FINDINGS, targets) if target]
    return {
        "volumename": volume,
        "Other": f"{split}_{k // 4 + 1}_b_{k % 4 + 1}",
        "Person": f"{split} person {k // 6}",
        "PatientSex": "FM"[k // 2 % 2],
        "Part": ["train", "train", "val", "test"][k // 2 % 4],
        "visual_feature_path": f"{volume}.npy",
        "Findings": "|".join(positive) if k % 2 else ";".join(positive),
        **dict(zip(FINDINGS, labels)),
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def pairs(data: Path) -> dict[str, tuple[Config, Config]]:
    """Return for every key the config of its context, and the same with another value of the key."""

    def in_folder(value: Any) -> Any:
        return value.format(folder=data) if isinstance(value, str) else value

    base = {
        "paths.data_root": str(data / "features"),
        "paths.manifest_dir": str(data / "manifests"),
        "paths.outputs_root": str(data / "outputs"),
        "data.labels.uncertain": "unknown",
        "data.labels.values": {"maybe": "unknown"},
        "data.columns.metadata": ["Findings", "Part"],
        "training.target_labels": FINDINGS,
        "training.precision": "float64",
        "training.batch_size": 16,
        "training.max_epochs": 2,
        "training.learning_rate": 1e-3,
        "model.params.hidden_dims": [4],
        "utils.device": "cpu",
    }
    drawn = run_experiment(set_keys(Config(), base | {"data.budget": 12, "training.max_epochs": 1}))
    VALUES["data.selection"] = str(open_run(drawn["run_dir"]).paths.selection)
    found = {}
    for name in _names():
        first = set_keys(Config(), base | CONTEXTS.get(name, {}))
        value = in_folder(VALUES.get(name, other_value(KEYS[name])))
        found[name] = first, set_keys(first.copy(), {name: value})
    return found


@pytest.fixture(scope="module")
def trained(pairs: dict[str, tuple[Config, Config]]) -> Iterator[dict[str, list[tuple[Run, Run]]]]:
    """Train all configs in banks and alone; return for every key both runs of both values: in the bank, and alone."""
    configs = {repr(config): config for pair in pairs.values() for config in pair}
    banks: dict[str, list[str]] = {}
    for text, config in configs.items():
        banks.setdefault(bank_key(config), []).append(text)
    together, alone = {}, {}
    for texts in banks.values():
        for text, result in zip(texts, run_bank([configs[text] for text in texts])):
            together[text] = result
    for text, config in configs.items():
        alone[text] = run_experiment(config) if together[text]["state"] == "finished" else together[text]
    yield {name: [(together[repr(c)], alone[repr(c)]) for c in pair] for name, pair in pairs.items()}


def _outcome(result: dict[str, Any]) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Return every number of a run's history with its name, and its weights."""
    run = open_run(result["run_dir"])
    lines = [*run.history(), run.best()]
    return list(_numbers(lines, "")), torch.load(run.paths.final_model, weights_only=True)


def _numbers(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if "seconds" not in key and key != "time":
                yield from _numbers(item, f"{name}.{key}")
    elif isinstance(value, list):
        for k, item in enumerate(value):
            yield from _numbers(item, f"{name}[{k}]")
    else:
        yield name, value


def _close(a: Any, b: Any) -> bool:
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return a == pytest.approx(b, abs=1e-8, rel=1e-8) if numbers else a == b


def _same(first: Any, second: Any) -> bool:
    (numbers, weights), (others, other_weights) = first, second
    return (
        [name for name, _ in numbers] == [name for name, _ in others]
        and all(_close(a, b) for (_, a), (_, b) in zip(numbers, others))
        and weights.keys() == other_weights.keys()
        and all(weights[k].shape == other_weights[k].shape for k in weights)
        and all(
            torch.allclose(weights[k].double(), other_weights[k].double(), atol=1e-8, equal_nan=True) for k in weights
        )
    )


@pytest.mark.parametrize("name", _names())
def test_runs_of_two_values_train_in_one_bank_as_alone(name: str, trained: Any) -> None:
    for together, _ in trained[name]:
        assert together["state"] == "finished", together.get("error")
    (first, first_alone), (second, second_alone) = ((_outcome(a), _outcome(b)) for a, b in trained[name])
    assert _same(first, first_alone)
    assert _same(second, second_alone)
    assert _same(first, second) is (name in WITHOUT_EFFECT)
