"""Where patients are unknown, every surface with an interval says that rows were taken for patients."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.cli import summaries
from ctbench_core.compare import compare_runs
from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.export import export_run
from ctbench_core.report import paper_files
from ctbench_core.report.latex import escape
from ctbench_core.runs import open_run, read_metrics, read_result_csv

ROWS = 60


def _score(folder: Path, name: str, volumes: list[str], seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"volumename": volumes, "target_Mass": np.arange(ROWS) % 2})
    frame["prob_Mass"] = (draw.random(ROWS) * 0.8 + 0.2 * frame["target_Mass"]).round(4)
    (folder / name).mkdir()
    frame.to_csv(folder / name / "test.csv", index=False)
    config = Config()
    config.paths.outputs_root, config.job_name = str(folder / "outputs"), name
    return score_table(folder / name / "test.csv", ScoreOptions(name=name), config)


@pytest.fixture
def unknown(tmp_path: Path) -> list[dict[str, Any]]:
    """Store two models scored on volumes whose names give no patient."""
    return [_score(tmp_path, f"model{seed}", [f"scan{row:03}" for row in range(ROWS)], seed) for seed in (1, 2)]


def _says(text: object) -> bool:
    return "patient" in str(text) and f"{ROWS} " in str(text)


def _plain(note: str, file: str) -> str:
    return escape(note.rstrip(".")) if file.endswith(".tex") else note.rstrip(".")


def test_every_surface_says_so(unknown: list[dict[str, Any]], tmp_path: Path) -> None:
    result = unknown[0]
    folder = Path(result["run_dir"])
    metrics = read_metrics(folder / "evaluation" / "test" / "metrics.json")
    assert metrics is not None
    assert metrics.unknown_patients == result["unknown_patients"] == ROWS
    (note,) = (text for text in metrics.warnings if _says(text))
    assert note in result["warnings"]
    assert f"Warning: {note}" in summaries.score_table(result, "theirs")
    for name in ("per_class.csv", "calibration.csv"):
        table = read_result_csv(folder / "evaluation" / "test" / name)
        assert table["warning"].map(_says).all(), name
    with zipfile.ZipFile(export_run(folder)["path"]) as archive:
        files = {name.partition("/")[2]: archive.read(name).decode("utf-8", "ignore") for name in archive.namelist()}
    for name in (
        "paper/test/table.csv",
        "paper/test/table.tex",
        "paper/test/methods.txt",
        "evaluation/test/marks.json",
    ):
        assert _plain(note, name) in files[name], name


def test_a_comparison_says_so(unknown: list[dict[str, Any]]) -> None:
    folders = [one["run_dir"] for one in unknown]
    comparison = compare_runs(folders)
    content = comparison.to_json(folders)
    (note,) = {text for text in content["warnings"] if _says(text)}
    assert note.rstrip(".") in summaries.comparison_table(comparison)
    files = paper_files(comparison, [open_run(folder) for folder in folders])
    for name in ("table.csv", "table.tex", "methods.txt", "differences.csv"):
        assert _plain(note, name) in files[name], name
    assert note in json.loads(files["comparison.json"])["warnings"]


def test_nothing_is_said_where_patients_are_known(tmp_path: Path) -> None:
    result = _score(tmp_path, "known", [f"valid_{row // 2}_a_{row}" for row in range(ROWS)], 1)
    assert result["unknown_patients"] == 0
    assert not any(map(_says, result["warnings"]))
