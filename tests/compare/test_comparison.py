"""Compare runs on common volumes, with the library and with the verb."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ctbench_core.compare import MACRO, compare_label_sets, compare_models, published_frame
from ctbench_core.compare.comparability import ModelScores, keep_common, unique_names
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.report.comparison import methods_paragraph
from ctbench_core.runs import open_run
from tests.model_scores import MODEL_LABELS, model_scores


@pytest.fixture(scope="module")
def comparison() -> Any:
    models = [model_scores("base · 1", 0.5), model_scores("better", 2.5, seed=1), model_scores("same", 0.5, seed=0)]
    return compare_models(models, "test", resamples=200, swaps=199)


def test_only_common_volumes_and_findings_count() -> None:
    first, second = model_scores("a", 1), model_scores("b", 1, seed=1)
    second = ModelScores(
        "b", second.frame.iloc[10:].drop(columns=[f"prob_{MODEL_LABELS[1]}", f"target_{MODEL_LABELS[1]}"])
    )
    common = keep_common([first, second])
    assert common.labels == [MODEL_LABELS[0]]
    assert (common.n["volumes"], common.left_out, common.disagreeing) == (230, 10, 0)
    rows = first.frame.iloc[10:]
    np.testing.assert_array_equal(common.scores[0][:, 0], rows[f"prob_{MODEL_LABELS[0]}"])
    with pytest.raises(InputError, match="no volume in common"):
        keep_common([first, ModelScores("c", second.frame.assign(volumename="x" + second.frame["volumename"]))])
    with pytest.raises(InputError, match="two runs or more"):
        compare_models([first], "test")


def test_differences_are_against_the_first_and_adjusted_over_the_table(comparison: Any) -> None:
    table = comparison.differences
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
    values = comparison.metrics.set_index(["model", "metric", "finding"])
    base = model_scores("base", 0.5).frame
    expected = roc_auc_score(base[f"target_{MODEL_LABELS[0]}"].astype(int), base[f"prob_{MODEL_LABELS[0]}"])
    assert values.loc[("base · 1", "auroc", MODEL_LABELS[0]), "value"] == pytest.approx(expected, abs=1e-12)
    assert comparison.best["auprc"].marked
    assert comparison.common.names[comparison.best["auprc"].index] == "better"


def test_other_labels_are_paired_by_volume() -> None:
    model = model_scores("m", 2)
    labels = pd.DataFrame({"volumename": model.frame["volumename"]})
    labels[MODEL_LABELS[0]] = model.frame[f"target_{MODEL_LABELS[0]}"].astype(float)
    labels.loc[:19, MODEL_LABELS[0]] = 1 - labels.loc[:19, MODEL_LABELS[0]]
    labels.loc[20:29, MODEL_LABELS[0]] = np.nan
    table = compare_label_sets(model, labels, resamples=100).set_index("metric")
    row = table.loc["auroc"]
    rows = np.r_[0:20, 30:240]
    p = model.frame[f"prob_{MODEL_LABELS[0]}"].to_numpy()[rows]
    own = roc_auc_score(model.frame[f"target_{MODEL_LABELS[0]}"].astype(int).to_numpy()[rows], p)
    other = roc_auc_score(labels[MODEL_LABELS[0]].to_numpy()[rows], p)
    assert row["delta"] == pytest.approx(other - own, abs=1e-12)
    assert row["agreement"] == pytest.approx(210 / 230)
    assert (row["volumes"], row["hi"] < 0) == (230, True)


def test_published_results_have_reasons_why_they_are_not_comparable() -> None:
    table = published_frame("auroc", [str(i) for i in range(18)], 741, "text")
    assert len(table) > 5
    assert not table["comparable"].any()
    assert table["why"].str.contains("ours uses text inputs").all()


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
    assert "evaluated 2 times by 2 runs" in (tmp_path / "paper" / "methods.txt").read_text(encoding="utf-8")
    assert (tmp_path / "paper" / "table.tex").is_file()
    validation = cli("compare", str(runs[0]), str(runs[1]), "on=validation").json
    assert validation["n"]["patients"] == 14
    text = methods_paragraph(
        compare_models([model_scores("a", 1), model_scores("b", 1)], "test", 50, 50), [open_run(r) for r in runs]
    )
    assert "(seeds 1, 2)" in text
    assert "with Adam" in text


def test_openings_are_counted_from_wherever_the_runs_are_named(
    cli: Any, runs: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, store = runs[0].parent, runs[0].parent.parent
    names = [run.name for run in runs]
    for folder, arguments in (
        (store, [f"{job.name}/{name}" for name in names]),
        (job, names),  # a bare name has no parent folder with the job
        (runs[0], [".", f"../{names[1]}"]),
    ):
        monkeypatch.chdir(folder)
        assert cli("compare", *arguments, f"paper={store / 'paper'}").json["openings"] == 2, arguments
        assert "evaluated 2 times by 2 runs" in (store / "paper" / "methods.txt").read_text(encoding="utf-8")


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
    for arguments in ([str(folder) for folder in folders], [folder.name for folder in folders]):
        assert cli("compare", *arguments).json["openings"] == 2


def test_runs_without_a_common_set_are_refused(cli: Any, runs: list[Path]) -> None:
    assert cli("compare", str(runs[0])).code == 2
    shutil.rmtree(runs[1] / "evaluation")
    shutil.rmtree(runs[1] / "validation")
    ended = cli("compare", str(runs[0]), str(runs[1]))
    assert ended.code == 2
    assert "no test set in common" in ended.err
    assert cli("compare", str(runs[0]), str(runs[1]), "on=other").code == 2
