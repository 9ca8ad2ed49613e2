"""The exported head is that of the checkpoint, its card's code gives the run's scores, and the cards state the results."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ctbench_core.export import export_run
from ctbench_core.formatting import format_metric
from ctbench_core.runs import open_run, read_metrics

Run = Callable[..., Path]


def unpack(folder: Path, target: Path) -> Path:
    """Export a run, unpack its zip, and return the folder in it."""
    zipfile.ZipFile(export_run(folder)["path"]).extractall(target)
    return target / folder.name


@pytest.mark.parametrize(
    "changes",
    [{}, {"model._target_": "linear", "data.standardise": "zscore"}, {"model._target_": "knn"}],
    ids=["mlp", "linear with z-scores", "knn"],
)
def test_the_head_is_that_of_the_checkpoint(evaluated_run: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = evaluated_run(changes)
    exported = unpack(folder, tmp_path)
    stored = torch.load(folder / "checkpoints" / "final_model.pt", weights_only=True)
    weights = load_file(exported / "model.safetensors")
    assert weights.keys() == stored.keys()
    for name, tensor in stored.items():
        assert torch.equal(weights[name].nan_to_num(9.0), tensor.nan_to_num(9.0)), name
        assert weights[name].dtype == tensor.dtype
    with safe_open(exported / "model.safetensors", "pt") as file:
        assert json.loads(file.metadata()["findings"]) == list(open_run(folder).best()["val_metrics"]["per_class"])
    card = (exported / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert ("features and labels of the training volumes" in card) == (changes.get("model._target_") == "knn")


@pytest.mark.parametrize("standardise", ["none", "zscore"])
def test_the_code_of_the_card_gives_the_scores_of_the_run(
    evaluated_run: Run, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standardise: str
) -> None:
    folder = evaluated_run({"data.standardise": standardise})
    exported = unpack(folder, tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (exported / "MODEL_CARD.md").read_text(encoding="utf-8"), re.DOTALL)
    table = pd.read_parquet(open_run(folder).paths.evaluation("test").scores)
    files = [tiny_data / "features" / "image" / f"{name.rsplit('_', 1)[0]}.npz" for name in table["volumename"]]
    names: dict[str, Any] = {"features": torch.as_tensor(np.stack([np.load(file)["arr_0"][0] for file in files]))}
    monkeypatch.chdir(exported)
    exec(compile(code, "MODEL_CARD.md", "exec"), names)
    findings = [column.removeprefix("prob_") for column in table if column.startswith("prob_")]
    expected = table[[f"prob_{name}" for name in findings]].to_numpy()
    np.testing.assert_allclose(names["probabilities"].numpy(), expected, atol=1e-5)


def test_the_cards_state_results_sizes_and_prevalence(evaluated_run: Run, tmp_path: Path) -> None:
    folder = evaluated_run({"data.label_origin": "report-derived", "model.inputs": "text"})
    exported = unpack(folder, tmp_path)
    model, data = ((exported / f"{name}_CARD.md").read_text(encoding="utf-8") for name in ("MODEL", "DATA"))
    metrics = read_metrics(open_run(folder).paths.evaluation("test").metrics)
    assert metrics is not None
    for finding, one in metrics.findings.items():
        (row,) = [line for line in model.splitlines() if line.startswith(f"| {finding} |")]
        assert format_metric(one.value("auroc")) in row
        (row,) = [line for line in data.splitlines() if line.startswith(f"| {finding} |")]
        assert row.endswith(f"| {format_metric(one.value('prevalence'))} |")
    assert "measure label leakage, not diagnosis" in model
    assert "evaluated 1 time" in model
    assert "no medical device" in model
    counts = metrics.n
    assert f"| test | {counts['volumes']} | {counts['exams']} | {counts['patients']} |" in data
    assert "| Label origin | report-derived |" in data


def test_a_damaged_checkpoint_is_named_and_the_results_are_exported(evaluated_run: Run) -> None:
    folder = evaluated_run()
    (folder / "checkpoints" / "final_model.pt").write_bytes(b"damaged")
    result = export_run(folder)
    (warning,) = result["warnings"]
    assert "final_model.pt" in warning
    assert "paper/test/table.tex" in result["files"]
    assert "MODEL_CARD.md" not in result["files"]
