"""The older system's whole config tree and its overrides run without edits, with every key it had."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.cli.compose import compose_config
from ctbench_core.config import KEYS, get_key
from ctbench_core.runs import open_run
from tests.old_system import OLD_KEYS, write_tree

Cli = Callable[..., Any]


@pytest.fixture
def project(tiny_data: Path, tmp_path: Path) -> Path:
    """Write configs/ of every old key beside data/, in the folder where the command line is run."""
    folder = tmp_path / "working"
    write_tree(folder / "configs")
    shutil.copytree(tiny_data, folder / "data")
    return folder


def test_the_whole_tree_trains_and_evaluates_unedited(project: Path, cli: Cli) -> None:
    trained = cli("train", "hydra.job.name=mine")
    assert trained.code == 0, trained.err
    assert "Warning" not in trained.err
    run = open_run(trained.json["run_dir"])
    assert run.config.training.learning_rate == 1e-3
    assert (run.config.data.columns.text_feature, run.config.model._target_) == (None, "classification.models.mlp.MLP")
    pointer = json.loads((project / "outputs" / "mine" / "latest_run.json").read_text())
    assert Path(pointer["run_dir"]) == run.paths.root


@pytest.mark.parametrize(
    "overrides",
    [
        ["hydra.job.name=mine"],
        ["hydra.job.name=mine", "paths.latest_run_pointer=outputs/mine/latest_run.json"],
        ["paths.checkpoint_path=outputs/mine/one/checkpoints/final_model.pt"],
        ["hydra.job.name=other", "paths.checkpoint_path=outputs/mine/one/checkpoints/final_model.pt"],
    ],
    ids=["job", "pointer", "checkpoint", "checkpoint before job"],
)
def test_evaluate_finds_the_run_as_it_did(project: Path, cli: Cli, overrides: list[str]) -> None:
    """`python -m classification.evaluate` took the newest run of a job, or the folder of a checkpoint."""
    assert cli("train", "hydra.job.name=mine", "hydra.run.dir=outputs/mine/one").code == 0
    ended = cli("evaluate", *overrides)
    assert ended.code == 0, ended.err
    assert Path(ended.json["run_dir"]) == Path("outputs/mine/one")
    assert list(ended.json["test"]) == ["test.csv"]


def test_evaluate_without_a_run_says_what_it_looked_for(project: Path, cli: Cli) -> None:
    ended = cli("evaluate", "hydra.job.name=nobody")
    assert ended.code == 2
    assert "run=<run directory>" in ended.json["error"]
    assert str(Path("outputs", "nobody", "latest_run.json")) in ended.json["error"]


@pytest.mark.parametrize("name", ["best_manual_labels_config.yaml", "best_manual_labels_config"])
def test_a_named_config_of_the_tree_is_used(project: Path, cli: Cli, name: str) -> None:
    (project / "configs" / "config.yaml").unlink()
    ended = cli("train", "--config-name", name, "training.max_epochs=1", "data.auto_split.enabled=false")
    assert ended.code == 0, ended.err
    assert open_run(ended.json["run_dir"]).config.training.target_labels == ["Lung nodule", "Lung opacity"]


def test_a_config_may_be_named_with_its_folder(project: Path, cli: Cli) -> None:
    shutil.move(project / "configs", project / "trees")
    ended = cli("check", "--config-name", "trees/best_manual_labels_config.yaml")
    assert ended.code == 0, ended.err
    assert list(ended.json["prevalence"]["train"]) == ["Lung nodule", "Lung opacity"]


def test_every_old_key_is_known() -> None:
    assert set(OLD_KEYS) <= set(KEYS)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("training.batch_size=64", "training.batch_size", 64),
        ('paths.data_root="data/features/CT-CLIP_v2"', "paths.data_root", "data/features/CT-CLIP_v2"),
        ('data.train_manifest="train_medium.csv"', "data.train_manifest", "train_medium.csv"),
        ("data.test_manifests=[manual_kfold_f1_test.csv]", "data.test_manifests", ["manual_kfold_f1_test.csv"]),
        ("training.resume.enabled=true", "training.resume.enabled", True),
        ("model.params.hidden_dims=[512,256]", "model.params.hidden_dims", [512, 256]),
        ("logging.watch.log=gradients", "logging.watch", "gradients"),
        ("logging.log_model=all", "logging.log_model", "all"),
        ("logging.tags=[manual,phase3]", "logging.tags", ["manual", "phase3"]),
        ("hydra.run.dir=outputs/gpt_budget/train_n50_s42", "paths.run_dir", "outputs/gpt_budget/train_n50_s42"),
        ("optuna.pruner_warmup_steps=0", "optuna.pruner_warmup_steps", 0),
    ],
)
def test_old_overrides_keep_their_meaning(project: Path, override: str, key: str, value: Any) -> None:
    composed = compose_config([override], config_dir=project / "configs")
    assert get_key(composed.config, key) == value
    assert not composed.warnings


def test_a_foreign_key_is_a_warning_with_the_nearest_known_one(project: Path) -> None:
    path = project / "configs" / "config.yaml"
    path.write_text(path.read_text().replace("batch_size:", "batchsize: 8\n  batch_size:"))
    (warning,) = compose_config([], config_dir=project / "configs").warnings
    assert "'training.batchsize' is ignored" in warning
    assert "training.batch_size" in warning
