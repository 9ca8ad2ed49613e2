"""An old config tree trains without edits: from a named folder, from ./configs, with overrides, and resumed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctbench_core.runs import open_run

Cli = Callable[..., Any]


@pytest.fixture
def project(tree: Path, data: Path, tmp_path: Path) -> Path:
    """Return a working folder like the old system's: configs/ and data/, with relative paths."""
    folder = tmp_path / "working"
    folder.mkdir(exist_ok=True)
    shutil.move(tree, folder / "configs")
    shutil.copytree(data / "manifests", folder / "data" / "manifests")
    # The tree's feature root is data/features/image, so that manifests' `image/...` lies below it.
    shutil.copytree(data / "features", folder / "data" / "features" / "image")
    return folder


def test_trains_in_a_process_of_its_own_from_its_folder(
    project: Path, start_cli: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_cli("train", "--json", cwd=project)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert re.fullmatch(r"outputs[/\\]train[/\\]\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", result["run_dir"])
    assert (result["state"], result["epochs"]) == ("finished", 2)
    run = open_run(project / result["run_dir"])
    assert run.config.training.target_labels == ["Lung nodule", "Emphysema"]
    assert run.config.utils.seed == 7
    assert (project / result["run_dir"] / "checkpoints" / "final_model.pt").is_file()
    assert (project / "outputs" / "train" / "latest_run.txt").is_file()
    for name in ("training.gradient_clip", "logging.wandb_mode", "model.params.out_features"):
        assert f"Unknown key '{name}' is ignored" in err


def test_trains_from_a_named_folder_with_overrides_on_top(project: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.move(project / "configs", tmp_path / "trees")
    overrides = [
        "model=linear_probe",
        "hydra.job.name=probe",
        f"hydra.run.dir={tmp_path / 'my run'}",
        "training.max_epochs=1",
    ]
    for flag in ("--config-dir", "--config-path"):
        ended = cli("train", flag, str(tmp_path / "trees"), *overrides)
        assert ended.code == 0, ended.err
        run = open_run(tmp_path / "my run")
        assert Path(ended.json["run_dir"]) == run.paths.root
        assert (run.config.model._target_, run.config.job_name, ended.json["epochs"]) == ("linear", "probe", 1)
        assert (project / "outputs" / "probe" / "latest_run.txt").is_file()
        shutil.rmtree(tmp_path / "my run")


def test_another_data_group_trains_on_its_manifest(project: Path, cli: Cli) -> None:
    (project / "data" / "manifests" / "train.csv").rename(project / "data" / "manifests" / "other.csv")
    ended = cli("train", "data=other")
    assert ended.code == 0, ended.err
    assert open_run(ended.json["run_dir"]).config.training.target_labels == ["Lung opacity"]


def test_evaluates_and_resumes_by_the_old_overrides(project: Path, cli: Cli) -> None:
    first = cli("train").json["run_dir"]
    evaluated = cli("evaluate", f"run={first}")
    assert evaluated.code == 0, evaluated.err
    assert list(evaluated.json["test"]) == ["test.csv"]
    none_left = cli("train", "training.resume.enabled=true")
    assert none_left.code == 2
    assert "is finished" in none_left.err
    status = Path(first) / "status.json"
    status.write_text(status.read_text().replace('"finished"', '"interrupted"'))
    resumed = cli("train", "training.resume.enabled=true", "training.max_epochs=4")
    assert resumed.code == 0, resumed.err
    assert (resumed.json["run_dir"], resumed.json["epochs"]) == (first, 4)
    status.write_text(status.read_text().replace('"finished"', '"cancelled"'))
    by_path = cli("train", f"training.resume.state_path={first}/checkpoints/last_state.pt", "training.max_epochs=5")
    assert by_path.code == 0, by_path.err
    assert (by_path.json["run_dir"], by_path.json["epochs"]) == (first, 5)
