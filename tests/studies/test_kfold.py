"""K-fold studies: the test over patients on out-of-fold scores, and the two sensitivity tests over folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.inference import fold_differences, paired_difference
from ctbench_core.studies import Study, StudyPaths, differences, load_recipes, read_plan, read_results, run_study

FOLDS, SEEDS = 3, 2


@pytest.fixture(scope="module")
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def test_differences_by_fold_and_seed_are_those_of_scikit_learn(draw: np.random.Generator) -> None:
    targets = (draw.random((90, 2)) < 0.4).astype(float)
    first, second = (targets + draw.normal(size=(SEEDS, 90, 2)) for _ in range(2))
    folds = draw.permutation(np.arange(90) % FOLDS)
    differences = fold_differences(targets, first, second, folds)["auroc"]
    assert differences.shape == (FOLDS * SEEDS, 2)
    expected = [
        roc_auc_score(targets[folds == fold, 1], first[seed, folds == fold, 1])
        - roc_auc_score(targets[folds == fold, 1], second[seed, folds == fold, 1])
        for fold in range(FOLDS)
        for seed in range(SEEDS)
    ]
    np.testing.assert_allclose(differences[:, 1], expected, atol=1e-12)


def test_a_kfold_study_is_tested_over_patients_and_over_folds(make_study: Callable[..., Study]) -> None:
    grid = {"utils.seed": [1, 2], "model": ["mlp_visual", "linear_probe"]}
    paths = StudyPaths(Path(run_study(make_study(grid, protocol={"kfold": FOLDS}))["study_dir"]))
    plan = read_plan(paths)
    recipes = load_recipes(paths, plan, read_results(paths, plan))
    table = differences(plan, recipes, "model")
    one, other = (recipes[(name,)] for name in ("mlp_visual", "linear_probe"))
    assert set(one.folds) == {f"fold_{k}" for k in range(FOLDS)}
    main = paired_difference(one.targets, one.scores.mean(axis=0), other.scores.mean(axis=0), one.patients)
    tested = table[table["p"].notna()]
    assert len(tested)
    for row in tested.to_dict("records"):
        difference = main[row["metric"]]
        at = one.findings.index(row["finding"]) if row["finding"] else None
        assert row["p"] == (difference.macro_p if at is None else difference.p[at])
        assert row["delta"] == pytest.approx(difference.macro if at is None else difference.delta[at])
    with_folds = tested[tested["p_sign_flip"].notna()]
    assert len(with_folds)
    by_fold = fold_differences(one.targets, one.scores, other.scores, one.folds)
    for row in with_folds[with_folds["finding"] != ""].to_dict("records"):
        d = by_fold[row["metric"]][:, one.findings.index(row["finding"])]
        error = np.sqrt((1 / len(d) + 1 / (FOLDS - 1)) * d.var(ddof=1))
        assert row["p_corrected_t"] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, len(d) - 1))
        assert row["p_sign_flip"] * 2 ** len(d) == pytest.approx(round(row["p_sign_flip"] * 2 ** len(d)))
    assert with_folds["note"].str.contains("sensitivity: 6").all()
    assert pd.isna(table[table["p"].isna()]["p_sign_flip"]).all()


def test_the_parts_of_the_variance_are_in_the_json_and_the_cells(make_study: Callable[..., Study]) -> None:
    result = run_study(make_study({"utils.seed": [1, 2]}, protocol={"kfold": FOLDS}))
    paths = StudyPaths(Path(result["study_dir"]))
    plan = read_plan(paths)
    results = read_results(paths, plan)
    at = {run.id: (run.labels["seed"], run.labels["fold"]) for run in plan.runs}
    own = results[(results["finding"] == "") & results["set"].str.startswith("fold_") & (results["metric"] == "auroc")]
    places = pd.MultiIndex.from_tuples([at[name] for name in own["run"]])
    table = pd.Series(own["value"].to_numpy(), index=places).unstack()
    fold, seed, rest = _components(table.to_numpy())
    (cell,) = [cell for cell in result["by_cell"] if cell["metric"] == "auroc"]
    assert [cell[f"{part}_variance"] for part in ("fold", "seed", "rest")] == pytest.approx([fold, seed, rest])
    written = pd.read_csv(paths.cells)
    assert np.isfinite(written.loc[written["finding"] == "", "rest_variance"]).all()


def _components(table: np.ndarray) -> tuple[float, float, float]:
    """Return the variance components of a table (seeds, folds) from sums of squares in plain Python."""
    seeds, folds = table.shape
    mean = table.mean()
    square = {
        "seed": folds * sum((row.mean() - mean) ** 2 for row in table) / (seeds - 1),
        "fold": seeds * sum((column.mean() - mean) ** 2 for column in table.T) / (folds - 1),
    }
    rest = sum(
        (table[s, f] - table[s].mean() - table[:, f].mean() + mean) ** 2 for s in range(seeds) for f in range(folds)
    ) / ((seeds - 1) * (folds - 1))
    return max(0.0, (square["fold"] - rest) / seeds), max(0.0, (square["seed"] - rest) / folds), rest
