"""Runs compared as a reader does: on common ground, by the verb, and as a paper's table."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ctbench_core.compare import MACRO, compare_label_sets, compare_models, published_frame
from ctbench_core.compare.tables import Scored, common_ground, unique_names
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.report.comparison import latex_table, methods_paragraph, paper_frame
from ctbench_core.runs import open_run

LABELS = ("Lung nodule", "50% & more_#1")


def scored(name: str, quality: float, rows: int = 240, seed: int = 0) -> Scored:
    truth, noise = np.random.default_rng(7), np.random.default_rng(seed)
    frame = pd.DataFrame({"volumename": [f"v_{i // 2}_a_{i % 2}" for i in range(rows)]})
    frame["exam"] = frame["patient"] = [f"v_{i // 2}" for i in range(rows)]
    for label in LABELS:
        y = np.repeat(truth.random(rows // 2) < 0.3, 2)
        frame[f"target_{label}"] = pd.array(y.astype(int), dtype="Int8")
        frame[f"prob_{label}"] = 1 / (1 + np.exp(-(quality * y + np.repeat(noise.normal(size=rows // 2), 2))))
    return Scored(name, frame)


@pytest.fixture(scope="module")
def found() -> Any:
    models = [scored("base · 1", 0.5), scored("better", 2.5, seed=1), scored("same", 0.5, seed=0)]
    return compare_models(models, "test", resamples=200, swaps=199)


def test_only_common_volumes_and_findings_count() -> None:
    first, second = scored("a", 1), scored("b", 1, seed=1)
    second = Scored("b", second.frame.iloc[10:].drop(columns=[f"prob_{LABELS[1]}", f"target_{LABELS[1]}"]))
    common = common_ground([first, second])
    assert common.labels == [LABELS[0]]
    assert (common.n["volumes"], common.left_out, common.disagreeing) == (230, 10, 0)
    rows = first.frame.iloc[10:]
    np.testing.assert_array_equal(common.scores[0][:, 0], rows[f"prob_{LABELS[0]}"])
    with pytest.raises(InputError, match="no volume in common"):
        common_ground([first, Scored("c", second.frame.assign(volumename="x"))])
    with pytest.raises(InputError, match="two runs or more"):
        compare_models([first], "test")


def test_differences_are_against_the_first_and_adjusted_over_the_table(found: Any) -> None:
    table = found.differences
    assert len(table) == 2 * 2 * 3
    assert set(table["b"]) == {"base · 1"}
    better = table[(table["a"] == "better") & (table["label"] == MACRO)].set_index("metric")
    assert (better["delta"] > 0.1).all()
    assert (better["p_adjusted"] < 0.05).all()
    same = table[table["a"] == "same"]
    np.testing.assert_array_equal(same["delta"], 0)
    np.testing.assert_array_equal(same["p_adjusted"], 1)
    assert table["family"].str.startswith("12 tests").all()
    with_delong = table[table["p_delong"].notna()]
    assert set(with_delong["metric"]) == {"auroc"}
    assert MACRO not in set(with_delong["label"])
    assert (with_delong[with_delong["a"] == "same"]["p_delong"] == 1).all()
    assert (with_delong[with_delong["a"] == "better"]["p_delong"] < 0.05).all()
    figures = found.figures.set_index(["model", "metric", "finding"])
    base = scored("base", 0.5).frame
    expected = roc_auc_score(base[f"target_{LABELS[0]}"].astype(int), base[f"prob_{LABELS[0]}"])
    assert figures.loc[("base · 1", "auroc", LABELS[0]), "value"] == pytest.approx(expected, abs=1e-12)
    assert found.best["auprc"].marked
    assert found.common.names[found.best["auprc"].index] == "better"


def test_numbers_of_the_latex_table_are_those_of_the_csv(found: Any) -> None:
    frame, text = paper_frame(found), latex_table(found)
    printed = []
    for line in text.splitlines():
        if " & " in line and "[" in line:
            printed += [float(number) for number in re.findall(r"(?<![\d\w])\d?\.\d{3}", line)]
    stored = frame[[c for c in frame if c.endswith((" value", " lo", " hi"))]].to_numpy()
    assert printed == stored[~np.isnan(stored)].tolist()
    assert text.count("dagger") - 1 == sum((frame[c] < 0.05).sum() for c in frame if c.endswith("p_adjusted"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(found: Any, tmp_path: Path) -> None:
    body = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + latex_table(found) + "\\end{document}"
    (tmp_path / "table.tex").write_text(body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 0


def test_methods_say_what_was_done(found: Any) -> None:
    text = methods_paragraph(found)
    for part in (
        "240 volumes",
        "120 patients",
        "200 bootstrap resamples",
        "199 random",
        "over the 12 tests",
        "base · 1",
    ):
        assert part in text
    assert "trained on frozen" not in text  # no run, no training to tell of
    assert "left out" not in text


def test_other_labels_are_paired_by_volume() -> None:
    model = scored("m", 2)
    labels = pd.DataFrame({"volumename": model.frame["volumename"]})
    labels[LABELS[0]] = model.frame[f"target_{LABELS[0]}"].astype(float)
    labels.loc[:19, LABELS[0]] = 1 - labels.loc[:19, LABELS[0]]
    labels.loc[20:29, LABELS[0]] = np.nan
    table = compare_label_sets(model, labels, resamples=100).set_index("metric")
    row = table.loc["auroc"]
    kept = np.r_[0:20, 30:240]
    p = model.frame[f"prob_{LABELS[0]}"].to_numpy()[kept]
    own = roc_auc_score(model.frame[f"target_{LABELS[0]}"].astype(int).to_numpy()[kept], p)
    other = roc_auc_score(labels[LABELS[0]].to_numpy()[kept], p)
    assert row["delta"] == pytest.approx(other - own, abs=1e-12)
    assert row["agreement"] == pytest.approx(210 / 230)
    assert (row["volumes"], row["hi"] < 0) == (230, True)


def test_published_figures_say_why_they_are_not_comparable() -> None:
    table = published_frame("auroc", [str(i) for i in range(18)], 741, "text")
    assert len(table) > 5
    assert not table["comparable"].any()
    assert table["why"].str.contains("ours reads text inputs").all()


def test_repeated_names_are_numbered() -> None:
    assert unique_names(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]


@pytest.fixture
def runs(tiny_data: Path, make_config: Callable[..., Config]) -> list[Path]:
    folders = []
    for seed in (1, 2):
        folder = Path(run_experiment(make_config(tiny_data, {"utils.seed": seed}))["run_dir"])
        evaluate_run(folder)
        folders.append(folder)
    return folders


def test_the_verb_compares_runs_and_writes_the_paper(cli: Any, runs: list[Path], tmp_path: Path) -> None:
    ended = cli("compare", str(runs[0]), str(runs[1]), f"paper={tmp_path / 'paper'}")
    assert ended.code == 0, ended.err
    result = ended.json
    assert result["on"] == "test"
    assert result["openings"] == 2
    assert {"a", "b", "metric", "label", "delta", "lo", "hi", "p", "p_adjusted", "family"} <= set(
        result["differences"][0]
    )
    assert "2 openings" in (tmp_path / "paper" / "methods.txt").read_text(encoding="utf-8")
    assert (tmp_path / "paper" / "table.tex").is_file()
    validation = cli("compare", str(runs[0]), str(runs[1]), "on=validation").json
    assert validation["n"]["patients"] == 14
    said = methods_paragraph(
        compare_models([scored("a", 1), scored("b", 1)], "test", 50, 50), [open_run(r) for r in runs]
    )
    assert "(seeds 1, 2)" in said
    assert "adam" in said


def test_openings_are_counted_from_wherever_the_runs_are_named(
    cli: Any, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = runs[0].parent, runs[0].parent.parent
    names = [run.name for run in runs]
    for folder, words in (
        (store, [f"{job.name}/{name}" for name in names]),
        (job, names),  # a bare name has no parent that could tell the job
        (runs[0], [".", f"../{names[1]}"]),
    ):
        monkeypatch.chdir(folder)
        assert cli("compare", *words, f"paper={store / 'paper'}").json["openings"] == 2, words
        assert "2 openings" in (store / "paper" / "methods.txt").read_text(encoding="utf-8")


def test_a_relative_store_keeps_its_openings_from_elsewhere(
    cli: Any, tiny_data: Path, make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = []
    for seed in (1, 2):
        changes = {"utils.seed": seed, "paths.outputs_root": "outputs"}
        folders.append(Path(run_experiment(make_config(tiny_data, changes))["run_dir"]).resolve())
        evaluate_run(folders[-1])
    monkeypatch.chdir(folders[0].parent)
    for words in ([str(folder) for folder in folders], [folder.name for folder in folders]):
        assert cli("compare", *words).json["openings"] == 2


def test_runs_without_a_common_set_are_refused(cli: Any, runs: list[Path]) -> None:
    assert cli("compare", str(runs[0])).code == 2
    shutil.rmtree(runs[1] / "evaluation")
    shutil.rmtree(runs[1] / "validation")
    ended = cli("compare", str(runs[0]), str(runs[1]))
    assert ended.code == 2
    assert "no test set opened in common" in ended.err
    assert cli("compare", str(runs[0]), str(runs[1]), "on=other").code == 2
