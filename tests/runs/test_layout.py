"""File and folder names that people and scripts rely on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ctbench_core.config import Config, set_key
from ctbench_core.runs import RunPaths, job_dir, new_run_id, run_paths
from ctbench_core.runs.layout import latest_pointer

FILES = {
    "config": "config.yaml",
    "status": "status.json",
    "provenance": "provenance.json",
    "metrics": "metrics.jsonl",
    "best_metrics": "best_metrics.json",
    "final_model": "checkpoints/final_model.pt",
    "last_state": "checkpoints/last_state.pt",
}
BUNDLE = {
    "scores": "scores.parquet",
    "metrics": "metrics.json",
    "per_class": "per_class.csv",
    "curves": "curves.parquet",
    "counts": "counts.parquet",
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_a_run(name: str) -> None:
    assert getattr(RunPaths(Path("run")), name) == Path("run") / FILES[name]


@pytest.mark.parametrize("name", BUNDLE)
def test_files_of_an_evaluation(name: str) -> None:
    assert getattr(RunPaths(Path("run")).evaluation("sub/test.csv"), name) == Path("run/evaluation/test") / BUNDLE[name]


def test_checkpoints_may_have_another_folder() -> None:
    assert RunPaths(Path("run"), Path("big")).last_state == Path("big/last_state.pt")
    assert RunPaths(Path("run"), Path("big")).config == Path("run/config.yaml")


def test_run_ids_hold_the_time_and_differ() -> None:
    ids = {new_run_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", name) for name in ids)


def config_with(**changes: str) -> Config:
    config = Config()
    for name, value in changes.items():
        set_key(config, name.replace("__", "."), value)
    return config


def test_runs_are_in_the_folder_of_their_job() -> None:
    config = config_with(paths__outputs_root="store", job_name="sweep")
    assert run_paths(config).root.parent == Path("store/sweep") == job_dir(config)
    assert latest_pointer(config) == Path("store/sweep/latest_run.json")


def test_folders_can_be_config_with() -> None:
    assert run_paths(config_with(paths__run_dir="exactly/this")).root == Path("exactly/this")
    assert run_paths(config_with(paths__output_dir="older/name")).root == Path("older/name")
    assert run_paths(config_with(paths__run_dir="wins", paths__output_dir="loses")).root == Path("wins")
    assert run_paths(config_with(paths__checkpoint_dir="big")).checkpoints == Path("big")
    assert run_paths(config_with(paths__job_base_dir="base")).root.parent == Path("base")
    assert latest_pointer(config_with(paths__job_base_dir="base")) == Path("base/latest_run.json")
    assert latest_pointer(config_with(paths__latest_run_pointer="here.json")) == Path("here.json")
