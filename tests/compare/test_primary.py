"""A declared primary analysis counts when it was stored before the test set was evaluated; margins follow it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ctbench_core.compare import compare_models, compare_runs
from ctbench_core.compare import primary as primary_module
from ctbench_core.compare.primary import Primary, margin_warnings, margins_of, primary_of
from ctbench_core.config import Config, set_keys
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.inference import ELIGIBLE, MACRO
from ctbench_core.report.comparison import methods_paragraph
from ctbench_core.runs import Opening, Run, RunPaths, Status, open_run
from tests.model_scores import MODEL_LABELS, model_scores

AUROC = {"evaluation.primary.metric": "auroc", "evaluation.primary.margins": {"auroc": 0.05}}
NINE, TEN, NOON = (f"2026-01-01T{hour}:00:00.000+00:00" for hour in ("09", "10", "12"))


def _run(started: str, values: dict[str, Any] | None = None, kind: str = "train") -> Run:
    return Run(
        RunPaths(Path("run")), Status(kind=kind, created=NINE, started=started), set_keys(Config(), values or {})
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[str]], None]:
    """Return a function that sets when the ledger says the test set was evaluated."""

    def set_times(times: Sequence[str]) -> None:
        openings = [Opening(when, "run", "job", "test.csv", "id") for when in times]
        monkeypatch.setattr(primary_module, "openings_of", lambda runs, name: openings)

    set_times([NOON])
    return set_times


def test_a_declaration_counts_before_the_first_evaluation(opened: Any) -> None:
    one = primary_of([_run(TEN, AUROC), _run(TEN)], "test")
    assert one is not None and one.holds
    assert (one.metric, one.findings, one.margins) == ("auroc", (), {"auroc": 0.05})
    assert one.includes("auroc", MACRO) and one.includes("auroc", ELIGIBLE)
    assert not one.includes("auprc", MACRO) and not one.includes("auroc", "Emphysema")
    findings = primary_of([_run(TEN, AUROC | {"evaluation.primary.findings": ["Emphysema"]})], "test")
    assert findings is not None and findings.includes("auroc", "Emphysema") and not findings.includes("auroc", MACRO)


@pytest.mark.parametrize(
    ("runs", "times", "problem"),
    [
        ([_run(TEN, AUROC)], [NINE, NOON], "after the first evaluation"),
        ([_run(TEN, AUROC)], [], "no evaluation on this test set"),
        ([_run(TEN, AUROC)], ["damaged"], "after the first evaluation"),
        # Resumed after the evaluation: the declaration may be of then.
        ([_run("2026-01-01T13:00:00.000+00:00", AUROC)], [NOON], "after the first evaluation"),
        ([_run(TEN, AUROC), _run(TEN, {"evaluation.primary.metric": "auprc"})], [NOON], "different primary"),
    ],
)
def test_any_other_declaration_does_not(runs: list[Run], times: list[str], problem: str, opened: Any) -> None:
    opened(times)
    one = primary_of(runs, "test")
    assert one is not None and not one.holds
    assert problem in one.problem
    assert not one.includes("auroc", MACRO)
    assert not any(margin.is_declared for margin in margins_of(None, one).values())


def test_nothing_is_primary_without_a_declaration_on_validation_or_of_a_table(opened: Any) -> None:
    assert primary_of([_run(TEN)], "test") is None
    assert primary_of([_run(TEN, AUROC)], "validation") is None
    assert primary_of([_run(TEN, AUROC, kind="score")], "test") is None
    margins_alone = primary_of([_run(TEN, {"evaluation.primary.margins": {"auprc": 0.01}})], "test")
    assert margins_alone is not None and not margins_alone.holds
    assert margins_of(None, margins_alone)["auprc"].is_declared


def test_a_margin_is_declared_or_post_hoc() -> None:
    primary = Primary("auroc", margins={"auroc": 0.05})
    assert {name: one.origin for name, one in margins_of(None, primary).items()} == {
        "auroc": "declared before the test set was evaluated"
    }
    same, other = margins_of(0.05, primary), margins_of(0.02, primary)
    assert (same["auroc"].is_declared, same["auprc"].is_declared, other["auroc"].is_declared) == (True, False, False)
    assert other["auroc"].origin == "post hoc"
    assert margins_of(None, None) == {}
    assert not margin_warnings(primary)


@pytest.mark.parametrize("margins", [{"auroc": 0.0}, {"auroc": -0.1}, {"auroc": 1.5}, {"sensitivity": 0.05}])
def test_a_declared_margin_that_cannot_be_used_is_named(margins: dict[str, float]) -> None:
    primary = Primary("auroc", margins=margins)
    assert not margins_of(None, primary)
    (text,) = margin_warnings(primary)
    assert next(iter(margins)) in text
    models = [model_scores("a", 1), model_scores("b", 1, seed=1)]
    one = compare_models(models, "test", primary)
    assert "margin" not in one.differences
    assert text in one.disclosures.warnings


def test_p_of_a_margin_is_the_t_against_it() -> None:
    models = [model_scores("a", 1.5), model_scores("b", 1.3, seed=1)]
    one = compare_models(models, "test")
    table = one.with_margin(0.1).differences
    for row in table.to_dict("records"):
        # Error and degrees of freedom from the interval at two levels: 95 % printed, 80 % power.
        difference = one.pairs[0].differences[row["metric"]]
        place = difference.at(row["label"])
        error, dof = difference.error[place], difference.dof[place]
        assert row["p_non_inferior"] == pytest.approx(stats.t.sf((row["delta"] + 0.1) / error, dof), abs=1e-9)
        assert row["non_inferior"] == (row["lo"] > -0.1)
        half_90 = stats.t.ppf(0.95, dof) * error
        assert row["equivalent"] == (row["delta"] - half_90 > -0.1 and row["delta"] + half_90 < 0.1)
        sides = [stats.t.sf((0.1 + sign * row["delta"]) / error, dof) for sign in (1, -1)]
        assert row["p_equivalent"] == pytest.approx(max(sides), abs=1e-9)
    row = table.iloc[0]
    for factor, shown in ((0.99, False), (1.01, True)):  # just inside and outside of the 95 % limit
        near = one.with_margin(-row["lo"] * factor).differences.iloc[0]
        assert (near["non_inferior"], near["p_non_inferior"] < 0.05) == (shown, True)
    wide, narrow = one.with_margin(0.9).differences, one.with_margin(0.001).differences
    assert wide["equivalent"].all()
    assert not narrow["equivalent"].any()
    assert "margin" not in one.with_margin(0.1).with_margin(None).differences


def test_a_difference_without_an_interval_has_no_answer() -> None:
    frames = [model_scores(name, 1, seed=k).frame for k, name in enumerate("ab")]
    for frame in frames:
        rare = f"target_{MODEL_LABELS[1]}"
        frame.loc[frame.index[frame[rare] == 1][8:], rare] = 0
    models = [dataclasses.replace(model_scores(name, 1), frame=frame) for name, frame in zip("ab", frames)]
    table = compare_models(models, "test").with_margin(0.1).differences.set_index("label")
    rows = table.loc[[MODEL_LABELS[1]]]
    assert all(value is None for name in ("non_inferior", "equivalent") for value in rows[name])
    assert np.isnan(rows["p_non_inferior"].astype(float)).all()


def test_runs_that_declare_a_primary_analysis_have_it_everywhere(
    cli: Any, tiny_data: Path, make_config: Callable[..., Config], tmp_path: Path
) -> None:
    changes = AUROC | {"evaluation.primary.comparison": "second seed against first"}
    folders = [
        Path(run_experiment(make_config(tiny_data, changes | {"utils.seed": seed}))["run_dir"]) for seed in (1, 2)
    ]
    for folder in folders:
        evaluate_run(folder)
    result = cli("compare", *map(str, folders)).json
    assert result["primary"]["metric"] == "auroc" and not result["primary"]["problem"]
    primary = {(row["metric"], row["label"]) for row in result["differences"] if row["primary"]}
    assert primary <= {("auroc", MACRO), ("auroc", ELIGIBLE)} and primary
    origins = {row["metric"]: row["margin_origin"] for row in result["differences"]}
    assert origins == {"auroc": "declared before the test set was evaluated", "auprc": None}
    runs = [open_run(folder) for folder in folders]
    text = methods_paragraph(compare_runs(folders), runs)
    assert "Primary analysis, declared before the test set was evaluated: AUROC, macro mean: second seed" in text
    # A run that declares something only now does not change what was declared before.
    late = Path(run_experiment(make_config(tiny_data, {"evaluation.primary.metric": "auprc"}))["run_dir"])
    evaluate_run(late)
    problem = compare_runs([late, *folders]).primary
    assert problem is not None and "different primary analyses" in problem.problem
