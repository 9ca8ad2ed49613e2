"""Compare runs on common volumes, with the library and with the verb."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.compare import (
    Comparison,
    compare_label_sets,
    compare_models,
    compare_runs,
    differing_parts,
    published_frame,
)
from ctbench_core.compare import comparison as comparison_module
from ctbench_core.compare.comparability import ModelScores, keep_common
from ctbench_core.config import Config
from ctbench_core.errors import InputError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.inference import ELIGIBLE, MACRO
from ctbench_core.report.comparison import methods_paragraph
from ctbench_core.runs import Convergence, open_run, unique_names
from tests.inference.cohorts import dof_of
from tests.model_scores import MODEL_LABELS, model_scores


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    models = [model_scores("base · 1", 0.5), model_scores("better", 2.5, seed=1), model_scores("same", 0.5, seed=0)]
    return compare_models(models, "test")


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


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["mlp · visual · seed 1", "mlp · visual · seed 2"], ["seed 1", "seed 2"]),
        (["demo · mlp", "demo · linear"], ["mlp", "linear"]),
        (["mlp", "mlp · text"], ["mlp", "mlp · text"]),
        (["weak", "strong"], ["weak", "strong"]),
        (["a · b", "b · a"], ["a · b", "b · a"]),
    ],
)
def test_names_in_narrow_headings_are_what_differs(names: list[str], short: list[str]) -> None:
    assert differing_parts(names) == short


def test_differences_are_against_the_first_and_adjusted_over_the_table(comparison: Comparison) -> None:
    table = comparison.differences
    assert len(table) == 2 * 2 * 3
    assert set(table["b"]) == {"base · 1"}
    better = table[(table["a"] == "better") & (table["label"] == MACRO)].set_index("metric")
    assert (better["delta"] > 0.1).all()
    assert (better["p_adjusted"] < 0.05).all()
    same = table[table["a"] == "same"]
    np.testing.assert_array_equal(same["delta"], 0)
    np.testing.assert_array_equal(same["p_adjusted"], 1)
    family = "12 tests: 2 metrics of 2 models against the baseline, for each finding and the macro mean"
    assert set(table["family"]) == {family}
    assert table["p_swap"].isna().all()
    assert set(table["question"]) == {"these trained models"}
    values = comparison.metrics.set_index(["model", "metric", "finding"])
    base = model_scores("base", 0.5).frame
    expected = roc_auc_score(base[f"target_{MODEL_LABELS[0]}"].astype(int), base[f"prob_{MODEL_LABELS[0]}"])
    assert values.loc[("base · 1", "auroc", MODEL_LABELS[0]), "value"] == pytest.approx(expected, abs=1e-12)
    for side in ("a", "b"):  # the two values beside their difference, in every row
        keys = table[[side, "metric", "label"]].itertuples(index=False, name=None)
        assert list(table[f"{side}_value"]) == [values.loc[key, "value"] for key in keys]
    np.testing.assert_allclose(table["a_value"] - table["b_value"], table["delta"], atol=1e-12)
    assert list(comparison.with_margin(0.02).differences["b_value"]) == list(table["b_value"])
    assert comparison.best["auprc"].marked
    assert comparison.common.names[comparison.best["auprc"].index or 0] == "better"


def _one_volume(name: str, quality: float, seed: int, rare: int = 0) -> ModelScores:
    """Draw a model of patients with one volume each; ``rare`` keeps that many positives of the second finding."""
    frame = model_scores(name, quality, seed=seed).frame.iloc[::2].reset_index(drop=True)
    if rare:
        target = f"target_{MODEL_LABELS[1]}"
        frame.loc[frame.index[(frame[target] == 1)][rare:], target] = 0
    return ModelScores(name, frame)


@pytest.mark.parametrize("label", MODEL_LABELS)
def test_p_of_auroc_is_delongs_t(label: str) -> None:
    """Worked out from placements; the degrees of freedom are those of the variance, at most those of the scarcer class."""
    first, second = _one_volume("a", 0.5, 0), _one_volume("b", 1.2, 1)
    row = compare_models([first, second], "test").differences.set_index(["metric", "label"]).loc["auroc", label]
    y = first.frame[f"target_{label}"].to_numpy(int) == 1
    high, low = [], []
    for model in (second, first):
        p = model.frame[f"prob_{label}"].to_numpy()
        wins = (p[y][:, None] > p[~y][None]) + 0.5 * (p[y][:, None] == p[~y][None])
        high.append(wins.mean(axis=1))
        low.append(wins.mean(axis=0))
    delta, (high_gap, low_gap) = high[0].mean() - high[1].mean(), (high[0] - high[1], low[0] - low[1])
    m, n = y.sum(), (~y).sum()
    error = np.sqrt(high_gap.var(ddof=1) / m + low_gap.var(ddof=1) / n)
    deviations = np.zeros(len(y))
    deviations[y] = np.sqrt(m / (m - 1)) * (high_gap - high_gap.mean()) / m
    deviations[~y] = np.sqrt(n / (n - 1)) * (low_gap - low_gap.mean()) / n
    dof = dof_of(deviations, min(m, n) - 1)
    assert row["delta"] == pytest.approx(delta, abs=1e-12)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(delta) / error, dof), rel=1e-6)
    assert row["hi"] - delta == pytest.approx(stats.t.ppf(0.975, dof) * error, rel=1e-6)
    assert row["detectable"] == pytest.approx((stats.t.ppf(0.975, dof) + stats.t.ppf(0.8, dof)) * error, rel=1e-6)


def test_a_macro_over_more_than_the_eligible_findings_has_no_interval() -> None:
    models = [_one_volume("a", 0.5, 0, rare=4), _one_volume("b", 1.5, 1, rare=4)]
    one = compare_models(models, "test")
    assert one.eligible == [MODEL_LABELS[0]]
    for table, name in ((one.metrics, "finding"), (one.differences, "label")):
        rows = table[table["metric"] == "auroc"].set_index(name)
        assert rows.loc[[MACRO], ["lo", "hi"]].isna().all(axis=None)
        assert set(rows.loc[[MACRO], "reason"]) == {"1 of 2 findings have 10 patients of each class"}
        assert rows.loc[[ELIGIBLE], ["lo", "hi"]].notna().all(axis=None)
        assert "" not in set(rows.loc[[MODEL_LABELS[1]], "reason"])
    values = one.metrics.set_index(["model", "metric", "finding"])["value"]
    both = [values["a", "auroc", label] for label in MODEL_LABELS]
    assert values["a", "auroc", MACRO] == pytest.approx(np.mean(both), abs=1e-12)
    assert values["a", "auroc", ELIGIBLE] == both[0]
    assert one.settings["family"] == one.differences["p"].notna().sum() == 4  # two metrics of a finding and its mean


def test_rank_swaps_test_the_findings_auroc_alone(comparison: Comparison) -> None:
    table = comparison.with_swaps(99).differences
    swapped = table[table["p_swap"].notna()]
    assert set(swapped["metric"]) == {"auroc"}
    assert set(swapped["label"]) == set(MODEL_LABELS)
    assert (swapped[swapped["a"] == "same"]["p_swap"] == 1).all()
    assert (swapped[swapped["a"] == "better"]["p_swap"] <= 0.05).all()
    pd.testing.assert_frame_equal(table.drop(columns="p_swap"), comparison.differences.drop(columns="p_swap"))


def test_other_labels_are_paired_by_volume() -> None:
    model = model_scores("m", 2)
    labels = pd.DataFrame({"volumename": model.frame["volumename"]})
    labels[MODEL_LABELS[0]] = model.frame[f"target_{MODEL_LABELS[0]}"].astype(float)
    labels.loc[:19, MODEL_LABELS[0]] = 1 - labels.loc[:19, MODEL_LABELS[0]]
    labels.loc[20:29, MODEL_LABELS[0]] = np.nan
    table = compare_label_sets(model, labels).set_index("metric")
    row = table.loc["auroc"]
    rows = np.r_[0:20, 30:240]
    p = model.frame[f"prob_{MODEL_LABELS[0]}"].to_numpy()[rows]
    own = roc_auc_score(model.frame[f"target_{MODEL_LABELS[0]}"].astype(int).to_numpy()[rows], p)
    other = roc_auc_score(labels[MODEL_LABELS[0]].to_numpy()[rows], p)
    assert row["delta"] == pytest.approx(other - own, abs=1e-12)
    assert row["agreement"] == pytest.approx(210 / 230)
    assert (row["volumes"], row["hi"] < 0, row["p"] < 0.05) == (230, True, True)


def test_published_results_say_what_differs_from_ours() -> None:
    labels = [str(i) for i in range(18)]
    table = published_frame("auroc", labels, 741, "text")
    assert len(table) > 5
    assert table["why"].str.contains("ours uses text inputs").all()
    why = published_frame("auroc", labels, 3002, "visual").set_index("model")["why"]
    assert why["RevCT"] == "nothing that is stated"
    assert why["Pillar-0"] == "volumes not stated, ours 3,002; training not stated; quoted by another source"
    assert why["CT-CLIP_v2 features"].tolist()[1] == "258 volumes, ours 3,002; 5 findings, ours 18"


def test_two_versions_of_a_published_result_are_told_apart_by_their_sources() -> None:
    models = published_frame("auroc", ["finding"] * 18, 3002, "visual")["model"]
    names = [name for name in models if name.startswith("DALE-CT-2S")]
    assert len(names) == len(set(names)) == 2 and all("arXiv" in name for name in names)
    assert "RevCT" in set(models)


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
    words = [str(runs[0]), str(runs[1]), "margin=.1", "swaps=49"]
    ended = cli("compare", *words, f"paper={tmp_path / 'paper'}")
    assert ended.code == 0, ended.err
    result = ended.json
    assert {"margin", "margin_origin", "non_inferior", "p_non_inferior", "equivalent", "p_equivalent"} <= set(
        result["differences"][0]
    )
    for wrong in ("margin=0", "margin=2", "margin=x", "swaps=-1"):
        ended = cli("compare", *words[:2], wrong)
        assert ended.code == 2, wrong
        assert wrong.split("=")[0] in ended.err
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
        compare_models([model_scores("a", 1), model_scores("b", 1)], "test"), [open_run(r) for r in runs]
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


def test_runs_that_have_not_converged_are_marked(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    far = {runs[1].name: Convergence(value=0.5, optimum=0.6, c=1.0, findings=2, falling=True)}
    assert not compare_runs(runs).marks
    monkeypatch.setattr(comparison_module, "convergence", lambda run: far.get(run.run_id))
    one = compare_runs(runs)
    assert one.marks == {one.common.names[1]: "not converged"}
    warning = next(text for text in one.disclosures.warnings if "Not converged" in text)
    assert warning.startswith(f"{open_run(runs[1]).name}: Not converged")
    assert "Not converged" in methods_paragraph(one, [open_run(folder) for folder in runs])
    far[runs[0].name] = Convergence(value=0.4, optimum=0.6, c=1.0, findings=2)
    both = [text for text in compare_runs(runs).disclosures.warnings if "Not converged" in text]
    assert len(both) == 1
    assert both[0].startswith("Both runs: ")
    third: Any = SimpleNamespace(run_id="third", name="third")
    opened = [open_run(folder) for folder in runs]
    (of_three,) = comparison_module.convergence_warnings([*opened, third])
    assert of_three.startswith(f"{opened[0].name} and 1 other run: ")
    unchecked = Convergence(reason="no finding has 10 validation patients of each class")
    monkeypatch.setattr(comparison_module, "convergence", lambda run: unchecked)
    assert comparison_module.convergence_warnings([*opened, third]) == [
        "All 3 runs: No finding has 10 validation patients of each class, so convergence is not checked."
    ]
    monkeypatch.setattr(comparison_module, "convergence", lambda run: far.get(run.run_id))
    far[runs[0].name] = Convergence(value=0.6, optimum=0.6, c=1.0, findings=2)
    assert len(compare_runs(runs).marks) == 1


def test_models_with_few_common_volumes_are_compared_with_a_warning() -> None:
    first, second = model_scores("a", 1), model_scores("b", 1, seed=1)
    half, less = (ModelScores("b", second.frame.iloc[:rows]) for rows in (120, 119))
    assert keep_common([first, half]).warnings == []
    common = keep_common([first, less])
    patients = f"of {common.n['patients']} patients"
    assert [text.split(": ")[1] for text in common.warnings] == [
        f"only 119 of 240 volumes are in all of them, {patients}. The differences hold for these alone."
    ]
