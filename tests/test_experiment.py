"""From one config to a run on disk, through the Python interface."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import ctbench_core
from ctbench_core.config import Config
from ctbench_core.errors import CheckpointError, InputError
from ctbench_core.experiment import queue_run, run_experiment
from ctbench_core.runs import open_run, read_status

Build = Callable[..., Config]


def test_the_python_interface_trains_evaluates_and_lists(config: Config) -> None:
    result = ctbench_core.run_experiment(config)
    assert result["state"] == "finished"
    (run,) = ctbench_core.RunStore(config.paths.outputs_root).runs()
    assert str(run.paths.root) == result["run_dir"]
    assert run.best()["epoch"] == result["best_epoch"]
    evaluated = ctbench_core.evaluate_run(result["run_dir"])
    assert evaluated["test"]["test.csv"]["n"]["patients"] == 12
    assert ctbench_core.open_run(result["run_dir"]).evaluations() == ["test"]


def test_the_same_config_gives_the_same_run(make_config: Build, tiny_data: Path) -> None:
    runs = [open_run(run_experiment(make_config(tiny_data))["run_dir"]) for _ in range(2)]
    assert runs[0].paths.metrics.read_bytes() == runs[1].paths.metrics.read_bytes()
    other = open_run(run_experiment(make_config(tiny_data, {"utils.seed": 1}))["run_dir"])
    assert other.paths.metrics.read_bytes() != runs[0].paths.metrics.read_bytes()


def test_a_run_does_not_change_its_config(config: Config) -> None:
    before = config.copy()
    result = run_experiment(config)
    assert config == before
    assert open_run(result["run_dir"]).config == before


def test_a_run_cancelled_before_it_starts_is_resumable(config: Config) -> None:
    cancel = threading.Event()
    cancel.set()
    result = run_experiment(config, cancel=cancel)
    assert (result["state"], result["epochs"], result["best_epoch"]) == ("cancelled", 0, None)
    assert result["best_val"] == {"auprc": None, "auroc": None, "f1_macro": None}
    with pytest.raises(CheckpointError, match=r"final_model.pt does not exist"):
        ctbench_core.evaluate_run(result["run_dir"])
    again = run_experiment(config, Path(result["run_dir"]), resume=True)
    assert (again["state"], again["epochs"]) == ("finished", 3)


def test_progress_names_phases_and_counts_to_their_end(make_config: Build, tiny_data: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    config = make_config(tiny_data, {"model.inputs": "concat", "evaluation.after_training": True})
    run_experiment(config, progress=lambda phase, done, total: seen.append((phase.split(" (")[0], done, total)))
    phases = list(dict.fromkeys(phase for phase, _, _ in seen))
    assert phases == ["reading visual features", "reading text features", "training", "evaluating"]
    assert [(done, total) for phase, done, total in seen if phase == "training"] == [(1, 3), (2, 3), (3, 3)]


def test_a_queued_run_waits_on_disk(config: Config) -> None:
    run_dir = queue_run(config)
    status = read_status(run_dir / "status.json")
    assert (status.state, status.max_epochs) == ("queued", 3)
    assert status.label == "mlp 8 · seed 42"
    assert not (run_dir / "metrics.jsonl").exists()


def test_a_label_can_be_given_and_linear_heads_name_no_widths(make_config: Build, tiny_data: Path) -> None:
    def label(**changes: str) -> str:
        run_dir = queue_run(make_config(tiny_data, {key.replace("__", "."): v for key, v in changes.items()}))
        return read_status(run_dir / "status.json").label

    assert label(logging__run_name="my run") == "my run"
    assert label(model___target_="linear", model__model_name="linear") == "linear · seed 42"


def test_a_moved_run_is_still_evaluated(config: Config, tmp_path: Path) -> None:
    first = Path(run_experiment(config)["run_dir"])
    moved = Path(shutil.move(first, tmp_path / "elsewhere"))
    assert ctbench_core.evaluate_run(moved)["run_dir"] == str(moved)
    assert (moved / "evaluation" / "test" / "metrics.json").is_file()
    assert not first.exists()


def test_evaluation_without_the_training_manifest_warns_that_leaks_are_unchecked(
    make_config: Build, data: Path
) -> None:
    result = run_experiment(make_config(data))
    (data / "manifests" / "train.csv").unlink()
    evaluated = ctbench_core.evaluate_run(result["run_dir"])
    assert evaluated["test"]["test.csv"]["auroc"] > 0
    assert any("could not be checked" in text for text in evaluated["warnings"])


def test_evaluation_without_a_test_manifest_explains_how_to_name_one(make_config: Build, data: Path) -> None:
    result = run_experiment(make_config(data))
    (data / "manifests" / "test.csv").unlink()
    with pytest.raises(InputError, match=r"No test manifest.*data.test_manifests"):
        ctbench_core.evaluate_run(result["run_dir"])


def test_validation_metrics_are_those_of_the_saved_model(config: Config) -> None:
    """Evaluating the validation manifest as a test set gives the metrics of the best epoch."""
    result = run_experiment(config)
    again = ctbench_core.evaluate_run(result["run_dir"], ["valid.csv"])["test"]["valid.csv"]
    for name in ("auprc", "auroc", "f1_macro"):
        assert again[name] == pytest.approx(result["best_val"][name], abs=1e-6)


def test_standardised_runs_are_evaluated_on_raw_features(make_config: Build, tiny_data: Path) -> None:
    for kind in ("zscore", "l2"):
        result = run_experiment(make_config(tiny_data, {"data.standardise": kind}))
        again = ctbench_core.evaluate_run(result["run_dir"], ["valid.csv"])["test"]["valid.csv"]
        assert again["auprc"] == pytest.approx(result["best_val"]["auprc"], abs=1e-6)


def test_a_run_uses_the_threads_it_is_given_and_says_so(make_config: Build, tiny_data: Path) -> None:
    before = torch.get_num_threads()
    result = run_experiment(make_config(tiny_data, {"training.threads": 1}))
    assert json.loads((Path(result["run_dir"]) / "provenance.json").read_text())["threads"] == 1
    assert torch.get_num_threads() == before
