"""The zip of a run: config, command, ledger, tables that carry their marks, and the paper's files."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, evaluate_run, score_table
from ctbench_core.experiment import run_experiment
from ctbench_core.export import export_run

Run = Callable[..., Path]


@pytest.fixture
def run(make_config: Callable[..., Config], tiny_data: Path) -> Run:
    """Return a maker of finished, evaluated runs; dotted keys come as a mapping."""

    def make(changes: dict[str, Any] | None = None, openings: int = 1) -> Path:
        folder = Path(run_experiment(make_config(tiny_data, changes or {}))["run_dir"])
        for _ in range(openings):
            evaluate_run(folder)
        return folder

    return make


def unpacked(folder: Path) -> dict[str, bytes]:
    """Export a run; return the files of its zip by their place in it."""
    result = export_run(folder)
    with zipfile.ZipFile(result["path"]) as archive:
        found = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert sorted(found) == sorted(result["files"])
    return found


def test_the_zip_holds_config_command_and_ledger(run: Run) -> None:
    folder = run()
    files = unpacked(folder)
    assert f"paths.outputs_root={folder.parents[1]}" in files["command.txt"].decode()
    assert [entry["manifest"] for entry in json.loads(files["openings.json"])] == ["test.csv"]
    assert files["config.yaml"] == (folder / "config.yaml").read_bytes()
    assert "checkpoints/final_model.pt" in files
    assert "checkpoints/last_state.pt" not in files


def test_every_table_of_the_zip_carries_its_marks(run: Run) -> None:
    run({"utils.seed": 2})
    folder = run({"data.label_origin": "report-derived", "model.inputs": "concat"}, openings=2)
    stored = pd.read_csv(folder / "evaluation" / "test" / "per_class.csv")
    assert set(stored["test_openings"]) == {3}
    evaluate_run(folder)  # one opening more, after those files
    (folder / "evaluation" / "test" / "extra.csv").write_text("a\n1\n", encoding="utf-8")
    files = unpacked(folder)
    tables = {name: text for name, text in files.items() if name.endswith(".csv") and name != "selection_index.csv"}
    assert {"per_class.csv", "calibration.csv", "extra.csv", "table.csv"} == {Path(name).name for name in tables}
    for name, text in tables.items():
        table = pd.read_csv(io.BytesIO(text))
        assert set(table["test_openings"]) == {4}, name
        assert set(table["leak_patients"]) == {0}, name
        assert set(table["label_origin"]) == {"report-derived"}, name
        assert table["warning"].str.contains("label leakage, not diagnosis").all(), name
    marks = json.loads(files["evaluation/test/marks.json"])
    assert (marks["openings"], marks["opened_by_runs"], marks["label_origin"]) == (4, 2, ["report-derived"])
    assert "not diagnosis" in marks["warning"]
    for name in ("paper/test/table.tex", "paper/test/methods.txt"):
        text = files[name].decode()
        assert "report-derived" in text
        assert "not diagnosis" in text
        assert re.search(r"opened 4 times by 2 runs|4 openings of this test set by 2 runs", text)
    figures = pd.read_csv(io.BytesIO(files["evaluation/test/per_class.csv"]))
    pd.testing.assert_frame_equal(figures[["finding", "auprc", "auroc"]], stored[["finding", "auprc", "auroc"]])
    metrics = json.loads(files["evaluation/test/metrics.json"])
    assert metrics["openings"] == 4
    assert metrics["label_origin"] == ["report-derived"]


def test_a_leak_is_on_every_table(run: Run, data: Path) -> None:
    test, train = data / "manifests" / "test.csv", data / "manifests" / "train.csv"
    lines = train.read_text(encoding="utf-8").splitlines()
    test.write_text("\n".join([*test.read_text(encoding="utf-8").splitlines(), lines[5]]) + "\n", encoding="utf-8")
    files = unpacked(run({"paths.manifest_dir": str(data / "manifests")}))
    assert set(pd.read_csv(io.BytesIO(files["paper/test/table.csv"]))["leak_patients"]) == {1}
    assert "1 patient of it also stood in the training" in files["paper/test/methods.txt"].decode()
    assert "leak: 1 patient" in files["paper/test/table.tex"].decode()


def test_the_verb_takes_the_folder_it_stands_in(run: Run, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run()
    for words, where in ((".", folder), (folder.name, folder.parent), (f"../{folder.name}", folder)):
        monkeypatch.chdir(where)
        ended = cli("export", words)
        assert ended.code == 0, ended.err
        assert Path(ended.json["path"]) == folder.with_name(f"{folder.name}.zip")
        assert {"config.yaml", "paper/test/table.tex"} <= set(ended.json["files"])


def test_the_paper_table_holds_the_stored_figures_as_printed(run: Run) -> None:
    folder = run()
    files = unpacked(folder)
    table = pd.read_csv(io.BytesIO(files["paper/test/table.csv"])).set_index("finding")
    metrics = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))
    for label, values in metrics["per_class"].items():
        for name in ("auprc", "auroc", "f1", "f1_tuned"):
            assert table.loc[label, f"{name} value"] == pytest.approx(values[name], abs=5.1e-4)
    assert table.loc["macro", "auroc value"] == pytest.approx(metrics["auroc"], abs=5.1e-4)
    numbers = table[[name for name in table if name.endswith((" value", " lo", " hi"))]].to_numpy()
    lines = [line for line in files["paper/test/table.tex"].decode().splitlines() if " & " in line]
    printed = [float(n) for line in lines for n in re.findall(r"(?<![\d\w])\d?\.\d{3}", line)]
    assert printed == numbers[~np.isnan(numbers)].tolist()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("packages", ["", "\\usepackage{booktabs,graphicx}"], ids=["bare", "booktabs"])
def test_the_paper_table_compiles(run: Run, tmp_path: Path, packages: str) -> None:
    folder = run({"data.label_origin": "report-derived", "model.inputs": "text"})
    text = unpacked(folder)["paper/test/table.tex"].decode()
    compiles(text, tmp_path, packages)


def compiles(table: str, folder: Path, packages: str) -> None:
    """Compile a table as a document of its own, in a strict pdflatex."""
    body = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{table}\\end{{document}}"
    (folder / "table.tex").write_text(body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (folder / "table.pdf").stat().st_size > 0


def methods(folder: Path) -> str:
    return unpacked(folder)["paper/test/methods.txt"].decode()


def test_methods_name_what_the_config_says(run: Run) -> None:
    said = methods(run({"training.optimizer": "adamw", "training.weight_decay": 0.01, "utils.seed": 7}))
    for part in ("adamw", "weight decay 0.01", "(seed 7)", "for 3 epochs", "hidden width 8", "negatives / positives"):
        assert part in said
    said = methods(run({"training.loss.pos_weight": "none", "model._target_": "linear", "training.monitor": "auroc"}))
    assert "weight decay" not in said
    assert "weighted by" not in said
    assert "Heads (linear)" in said
    assert "validation macro AUROC" in said
    assert "hidden width" not in said


def test_methods_of_heads_that_are_fitted_whole_name_no_optimiser(run: Run) -> None:
    said = methods(run({"model._target_": "logistic", "model.params.c": [0.1, 1.0]}))
    assert "logistic regression" in said
    assert "C = 0.1, 1" in said
    for part in ("adam", "batch size", "epochs", "seed 42"):
        assert part not in said
    said = methods(run({"model._target_": "knn", "model.params.k": [1, 5]}))
    assert "k = 1, 5" in said
    assert "regression" not in said


def test_methods_tell_of_tuning_and_intervals_only_where_they_were(run: Run, data: Path) -> None:
    said = methods(run())
    assert "Thresholds of highest F1 were chosen per finding on the validation set (14 patients)" in said
    assert "1,000 bootstrap resamples of patients" in said
    assert "1 opening of this test set by 1 run" in said
    assert "Label origin: unknown" in said
    bare = methods(run({"evaluation.detail": "scores"}))  # as runs of studies: no intervals, no validation scored
    assert "bootstrap" not in bare
    assert "Thresholds" not in bare
    config = {"paths.manifest_dir": str(data / "manifests")}
    folder = run(config, openings=0)
    (data / "manifests" / "train.csv").unlink()  # validation cannot be scored any more
    evaluate_run(folder)
    files = unpacked(folder)
    assert "Thresholds" not in files["paper/test/methods.txt"].decode()
    assert "tuned" not in files["paper/test/table.csv"].decode() + files["paper/test/table.tex"].decode()


def test_predictions_of_others_tell_of_no_training_and_no_ledger(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"volumename": [f"v_{number}_a_1" for number in range(60)]})
    frame["target_Emphysema"] = draw.integers(0, 2, 60)
    frame["prob_Emphysema"] = draw.random(60)
    frame.to_csv(tmp_path / "theirs.csv", index=False)
    config = Config()
    config.paths.outputs_root, config.data.label_origin = str(tmp_path / "out"), "manual"
    result = score_table(tmp_path / "theirs.csv", ScoreOptions(name="theirs"), config)
    assert result["openings"] is None
    assert result["label_origin"] == ["manual"]
    files = unpacked(Path(result["run_dir"]))
    said = files["paper/theirs/methods.txt"].decode()
    assert "no ledger counts" in said
    assert "Label origin: manual" in said
    assert "trained" not in said.replace("this trained model", "")
    assert pd.read_csv(io.BytesIO(files["paper/theirs/table.csv"]))["test_openings"].isna().all()
