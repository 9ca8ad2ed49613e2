"""Cells: mean and interval are of one estimator, that of the inference room, and stored ones of older rules are renewed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.inference import ELIGIBLE, MACRO, estimate, kfold_estimate, kfold_figures, measure
from ctbench_core.studies import Study, StudyPaths, cell_frame, load_recipes, read_plan, read_results, run_study
from ctbench_core.studies.cells import FOLDS, OWN_THRESHOLDS, PATIENTS, SAME_TRAINING, SEEDS_AND_PATIENTS
from ctbench_core.studies.differences import overlaps_of

MakeStudy = Callable[..., Study]
ENOUGH = {"data.test_manifests": ["train.csv"]}  # 30 patients, so that findings have intervals


def load(result: dict[str, Any]) -> tuple[StudyPaths, pd.DataFrame, pd.DataFrame]:
    paths = StudyPaths(Path(result["study_dir"]))
    results = read_results(paths, read_plan(paths))
    return paths, results, cell_frame(paths, read_plan(paths), results)


def test_mean_and_interval_are_those_of_the_inference_room(make_study: MakeStudy) -> None:
    result = run_study(make_study({"budget": [20, "all"], "utils.seed": [1, 2, 3]}, ENOUGH))
    paths, results, frame = load(result)
    plan = read_plan(paths)
    overlaps = overlaps_of(plan)
    for cell, recipe in load_recipes(paths, plan, results).items():
        own = frame[frame["budget"] == cell[0]]
        for metric, macro in (("auroc", "auroc"), ("f1", "f1_macro")):
            figures = measure(recipe.targets, recipe.scores, recipe.patients, recipe.findings, [metric])[metric]
            expected = estimate(figures, overlap=overlaps[cell])
            for place, column in enumerate(expected.columns):
                finding = "" if column == MACRO else column
                row = own[(own["finding"] == finding) & (own["metric"].isin([metric, macro]))].iloc[0]
                assert row["mean"] == pytest.approx(expected.value[place], nan_ok=True)
                assert list(row[["lo", "hi"]]) == pytest.approx(list(expected.bounds[place]), nan_ok=True)
                assert row["seed_error"] == pytest.approx(expected.seed_error[place], nan_ok=True)
                assert (row["reason"], row["marks"]) == (expected.reasons[place] or "", expected.marks[place])
    assert np.isfinite(frame["lo"]).any()
    covers = frame.groupby("budget")["interval"].first()
    assert covers.to_dict() == {"20": SEEDS_AND_PATIENTS, "all": SAME_TRAINING}
    lacking = frame[frame["lo"].isna()]
    assert (lacking["reason"] != "").all()
    assert set(frame.loc[frame["metric"].str.endswith("_tuned"), "reason"]) == {OWN_THRESHOLDS}


def test_one_seed_answers_for_the_model(make_study: MakeStudy) -> None:
    _, _, frame = load(run_study(make_study({"utils.seed": [1]}, ENOUGH)))
    known = frame[frame["lo"].notna()]
    assert len(known)
    assert set(known["interval"]) == {PATIENTS}
    assert known["seed_error"].isna().all()


def test_a_kfold_has_the_mean_over_folds_with_its_own_interval(make_study: MakeStudy) -> None:
    result = run_study(make_study({"utils.seed": [1, 2]}, protocol={"kfold": 3}))
    paths, results, frame = load(result)
    (recipe,) = load_recipes(paths, read_plan(paths), results).values()
    assert recipe.folds is not None
    figures = kfold_figures(recipe.targets, recipe.scores, recipe.folds, recipe.patients, recipe.findings, ["auroc"])
    expected = kfold_estimate(figures["auroc"], 1 / 2)
    for place, column in enumerate(expected.columns):
        row = frame[(frame["finding"] == ("" if column == MACRO else column)) & (frame["metric"] == "auroc")].iloc[0]
        assert row["mean"] == pytest.approx(expected.value[place])
        assert list(row[["lo", "hi"]]) == pytest.approx(list(expected.bounds[place]), rel=0.02, nan_ok=True)
        assert row["interval"] == FOLDS
    assert np.isfinite(frame["lo"]).any()


def test_the_macro_of_eligible_findings_stands_beside_the_printed_macro(
    make_study: MakeStudy, tiny_data: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(tiny_data / "manifests" / "train.csv")
    rare = table.columns[-1]
    table.loc[4:, rare] = 0
    table.loc[:3, rare] = 1
    table.to_csv(tmp_path / "rare.csv", index=False)
    result = run_study(make_study({"utils.seed": [1, 2, 3]}, {"data.test_manifests": [str(tmp_path / "rare.csv")]}))
    macro, eligible = (next(c for c in result["by_cell"] if c["metric"] == key) for key in ("auroc", "auroc_eligible"))
    assert np.isnan(macro["lo"]) and "2 of 3 findings" in macro["reason"]
    assert eligible["lo"] < eligible["mean"] < eligible["hi"]
    assert (macro["findings"], eligible["findings"]) == (3, 2)
    paths = StudyPaths(Path(result["study_dir"]))
    assert ELIGIBLE in set(pd.read_csv(paths.cells)["finding"])
    by_run = pd.read_csv(paths.table)  # of every surface one macro: the table of runs has the same
    column = next(name for name in by_run if name.startswith("rare_") and name.endswith("_auroc"))
    assert macro["mean"] == pytest.approx(by_run[column].mean(), abs=1e-6)


def test_stored_intervals_of_older_rules_are_computed_again(make_study: MakeStudy) -> None:
    result = run_study(make_study({"utils.seed": [1, 2, 3]}, ENOUGH))
    paths, results, before = load(result)
    stored = pd.read_parquet(paths.intervals)
    old = stored[["key", "finding", "metric", "lo", "hi", "patient_error", "seed_error", "interval", "reason"]]
    for content in (old, stored.assign(key="other", lo=0.0)):  # of the release before; of other rules
        content.to_parquet(paths.intervals, index=False)
        plan = read_plan(paths)
        assert cell_frame(paths, plan, results, cached_only=True)["lo"].isna().all()
        pd.testing.assert_frame_equal(cell_frame(paths, plan, results), before)
