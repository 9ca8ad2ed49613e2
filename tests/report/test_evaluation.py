"""The paper files of one run on one test set: table, LaTeX and Methods."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.evaluate import ScoreOptions, evaluate_run, score_table
from ctbench_core.report import run_paper
from ctbench_core.report.evaluation import methods_paragraph
from ctbench_core.runs import disclosures_of, open_run, read_metrics

Run = Callable[..., Path]


def test_the_paper_table_holds_the_stored_metrics_as_printed(evaluated_run: Run) -> None:
    folder = evaluated_run()
    files = run_paper(open_run(folder), "test")
    table = pd.read_csv(io.StringIO(files["table.csv"])).set_index("finding")
    metrics = json.loads((folder / "evaluation" / "test" / "metrics.json").read_text(encoding="utf-8"))
    for label, values in metrics["per_class"].items():
        for name in ("auprc", "auroc", "f1", "f1_tuned"):
            assert table.loc[label, f"{name} value"] == pytest.approx(values[name], abs=5.1e-4)
    assert table.loc["macro", "auroc value"] == pytest.approx(metrics["auroc"], abs=5.1e-4)
    numbers = table[[name for name in table if name.endswith((" value", " lo", " hi"))]].to_numpy()
    lines = [line for line in files["table.tex"].splitlines() if " & " in line]
    printed = [float(n) for line in lines for n in re.findall(r"(?<![\d\w])\d?\.\d{3}", line)]
    assert printed == numbers[~np.isnan(numbers)].tolist()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("packages", ["", "\\usepackage{booktabs,graphicx}"], ids=["bare", "booktabs"])
def test_the_paper_table_compiles(evaluated_run: Run, tmp_path: Path, packages: str) -> None:
    folder = evaluated_run({"data.label_origin": "report-derived", "model.inputs": "text"})
    compiles(run_paper(open_run(folder), "test")["table.tex"], tmp_path, packages)


def compiles(table: str, folder: Path, packages: str) -> None:
    """Compile a table as a document, with pdflatex stopping at the first error."""
    body = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{table}\\end{{document}}"
    (folder / "table.tex").write_text(body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (folder / "table.pdf").stat().st_size > 0


def methods(folder: Path) -> str:
    return run_paper(open_run(folder), "test")["methods.txt"]


def test_methods_name_the_config(evaluated_run: Run) -> None:
    text = methods(evaluated_run({"training.optimizer": "adamw", "training.weight_decay": 0.01, "utils.seed": 7}))
    assert "shuffled" not in text
    for part in ("AdamW", "weight decay 0.01", "(seed 7)", "for 3 epochs", "hidden widths 8", "negatives / positives"):
        assert part in text
    text = methods(
        evaluated_run(
            {"training.loss.pos_weight": "none", "model._target_": "linear", "training.monitor": "auroc"}
            | {"training.shuffle": "blocks"}
        )
    )
    assert "weight decay" not in text
    assert "weighted by" not in text
    assert "A head (linear) was trained" in text
    assert "validation macro AUROC" in text
    assert "shuffled within pools of 65,536 neighbouring rows" in text
    assert "hidden width" not in text
    text = methods(evaluated_run({"model.params.hidden_dims": [], "training.loss._target_": "focal"}))
    assert "A head (linear) was trained" in text
    assert "loss focal loss (gamma 2) with positives weighted" in text


def test_methods_of_fitted_heads_name_no_optimiser(evaluated_run: Run) -> None:
    text = methods(evaluated_run({"model._target_": "logistic", "model.params.c": [0.1, 1.0]}))
    assert "logistic regression" in text
    assert "C = 0.1, 1" in text
    for part in ("Adam", "batch size", "epochs", "seed 42"):
        assert part not in text
    text = methods(evaluated_run({"model._target_": "knn", "model.params.k": [1, 5]}))
    assert "k = 1, 5" in text
    assert "regression" not in text


def test_methods_mention_tuning_and_intervals_only_where_they_were_computed(evaluated_run: Run, data: Path) -> None:
    text = methods(evaluated_run())
    assert 'the test set ("test.csv"; 24 volumes' in text
    assert "Thresholds of highest F1 were chosen per finding on the validation set (14 patients)" in text
    assert "No finding is present in 10 patients and absent in 10: no intervals are given" in text
    assert "evaluated 1 time by 1 run" in text
    assert "Label origin: unknown" in text
    bare = methods(evaluated_run({"evaluation.detail": "scores"}))  # as in studies: no intervals, validation not scored
    assert "interval" not in bare
    assert "Thresholds" not in bare
    config = {"paths.manifest_dir": str(data / "manifests")}
    folder = evaluated_run(config, openings=0)
    (data / "manifests" / "train.csv").unlink()  # validation can no longer be scored
    evaluate_run(folder)
    files = run_paper(open_run(folder), "test")
    assert "Thresholds" not in files["methods.txt"]
    assert "tuned" not in files["table.csv"] + files["table.tex"]


def test_methods_of_external_predictions_mention_no_training_and_no_ledger(tmp_path: Path) -> None:
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
    files = run_paper(open_run(result["run_dir"]), "theirs")
    text = files["methods.txt"]
    assert 'the test set ("theirs"; 60 volumes' in text
    assert "no ledger counts" in text
    assert "Label origin: manual" in text
    assert "trained" not in text.replace("this trained model", "")
    assert pd.read_csv(io.StringIO(files["table.csv"]))["test_openings"].isna().all()


def methods_of_table(
    folder: Path, quality: float, positives: tuple[int, int] = (40, 40), origin: str = "manual"
) -> str:
    """Return Methods of a table of `scored_table`."""
    return methods(scored_table(folder, quality, positives, origin))


def scored_table(folder: Path, quality: float, positives: tuple[int, int] = (40, 40), origin: str = "manual") -> Path:
    """Score a table of 100 patients with two volumes each and two findings, and return its run."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(1)
    frame = pd.DataFrame({"volumename": [f"valid_{k // 2}_a_{k % 2 + 1}.nii.gz" for k in range(200)]})
    for name, count in zip("AB", positives):
        target = np.repeat(np.arange(100) < count, 2)
        frame[f"target_{name}"] = target.astype(int)
        frame[f"prob_{name}"] = 1 / (1 + np.exp(-(quality * (target - 0.5) + draw.normal(size=200))))
    frame.to_csv(folder / "test.csv", index=False)
    config = Config()
    config.paths.outputs_root, config.data.label_origin = str(folder / "out"), origin
    return Path(score_table(folder / "test.csv", ScoreOptions(name="test"), config)["run_dir"])


def test_methods_name_the_rules_of_the_printed_intervals(tmp_path: Path) -> None:
    """Each sentence stands where its rule was used, and not elsewhere."""
    plain = methods_of_table(tmp_path / "plain", 1.0)
    for part in ("Obuchowski (1997)", "leaving out one patient", "F1", "patients with more volumes weigh more"):
        assert part in plain
    near, exact, partial = "near 1 or 0", "Clopper and Pearson", "eligible finding"
    labels, thresholds = "errors of the labels", "the choice of thresholds"
    for part in (near, exact, partial, labels, thresholds, "No finding is present"):
        assert part not in plain
    perfect = methods_of_table(tmp_path / "perfect", 40.0)
    assert near in perfect and exact in perfect
    assert f"1 {partial} (A)" in methods_of_table(tmp_path / "partial", 1.0, (40, 4))
    assert labels in methods_of_table(tmp_path / "derived", 1.0, origin="report-derived")


def test_methods_of_an_earlier_version_claim_no_rules(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    methods_of_table(folder, 1.0)
    (path,) = folder.glob("out/*/*/evaluation/test/metrics.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["format"] = 2
    path.write_text(json.dumps(content), encoding="utf-8")
    text = methods(path.parents[2])
    assert "are those of an earlier version" in text
    assert "Obuchowski" not in text and "They apply to this trained model" not in text


def test_thresholds_are_a_limit_where_they_were_chosen(tmp_path: Path) -> None:
    run = open_run(scored_table(tmp_path, 1.0))
    metrics, left_out = read_metrics(run.paths.evaluation("test").metrics), "the choice of thresholds"
    assert metrics is not None
    tuned = metrics.with_findings(
        {name: one.with_values({"threshold_tuned": 0.4}) for name, one in metrics.findings.items()}
    )
    for one, expected in ((metrics, False), (tuned, True)):
        text = methods_paragraph(run, one, None, disclosures_of([run], "test"))
        assert (left_out in text) == expected
