"""K-fold studies: means over folds in cells and differences, and the parts of the variance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.compare import compare_recipes
from ctbench_core.inference import MODELS_COLUMNS
from ctbench_core.studies import (
    Study,
    StudyPaths,
    differences,
    load_recipes,
    read_plan,
    read_results,
    run_study,
)

FOLDS, SEEDS = 3, 2
MakeStudy = Callable[..., Study]


@pytest.fixture(scope="module")
def done(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the JSON of a K-fold study of two heads and two seeds; read only."""
    base = {
        "paths.data_root": str(tiny_data / "features"),
        "paths.manifest_dir": str(tiny_data / "manifests"),
        "paths.outputs_root": str(tmp_path_factory.mktemp("kfold")),
        "training.max_epochs": 3,
        "training.batch_size": 16,
        "model.params.hidden_dims": [8],
    }
    grid = {"utils.seed": list(range(1, SEEDS + 1)), "model": ["mlp_visual", "linear_probe"]}
    return run_study(Study("folds", base, grid, FOLDS))


def test_the_difference_is_that_of_means_over_folds(done: dict[str, Any]) -> None:
    paths = StudyPaths(Path(done["study_dir"]))
    plan = read_plan(paths)
    results = read_results(paths, plan)
    one, other = load_recipes(paths, plan, results).values()
    table = differences(paths, plan, results, "model")
    assert one.folds is not None and set(one.folds) == {f"fold_{k}" for k in range(FOLDS)}
    for c, finding in enumerate(one.findings):
        d = np.array([_area(one, k, c) - _area(other, k, c) for k in range(FOLDS)])
        row = table[(table["metric"] == "auroc") & (table["finding"] == finding)].iloc[0]
        error = np.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * d.var(ddof=1))
        assert row["delta"] == pytest.approx(d.mean())
        assert row["p"] == pytest.approx(
            2 * stats.t.sf(abs(d.mean()) / error, FOLDS - 1), rel=0.02
        )  # folds nearly equal
        assert np.isfinite(row[list(MODELS_COLUMNS)].astype(float)).all()
        own = results[results["set"].str.startswith("fold_") & (results["finding"] == finding)]
        runs = own[own["metric"] == "auroc"].set_index("run")["value"]
        means = [
            runs.reindex([run.id for run in plan.runs if run.labels["model"] == model]).mean()
            for model in ("mlp_visual", "linear_probe")
        ]
        assert row["delta"] == pytest.approx(means[0] - means[1])  # the difference of what the cells show
    assert set(table["question"]) == {"this way of training"}
    assert {row["axis"] for row in done["differences"]} == {"model"}
    assert set(MODELS_COLUMNS) <= set(done["differences"][0])


def _area(recipe: Any, fold: int, finding: int) -> float:
    rows = recipe.folds == f"fold_{fold}"
    truth = recipe.targets[rows, finding]
    return float(np.mean([roc_auc_score(truth, scores[rows, finding]) for scores in recipe.scores]))


def test_the_parts_of_the_variance_are_in_the_json_and_the_cells(done: dict[str, Any]) -> None:
    paths = StudyPaths(Path(done["study_dir"]))
    plan = read_plan(paths)
    results = read_results(paths, plan)
    at = {run.id: (run.labels["seed"], run.labels["fold"]) for run in plan.runs if run.labels["model"] == "mlp_visual"}
    own = results[(results["finding"] == "") & results["set"].str.startswith("fold_") & (results["metric"] == "auroc")]
    own = own[own["run"].isin(at)]
    places = pd.MultiIndex.from_tuples([at[name] for name in own["run"]])
    table = pd.Series(own["value"].to_numpy(), index=places).unstack()
    fold, seed, rest = _components(table.to_numpy())
    cells = [cell for cell in done["by_cell"] if cell["metric"] == "auroc"]
    (cell,) = [cell for cell in cells if cell["cell"]["model"] == "mlp_visual"]
    assert [cell[f"{part}_variance"] for part in ("fold", "seed", "rest")] == pytest.approx([fold, seed, rest])
    assert cell["mean"] == pytest.approx(table.to_numpy().mean())
    written = pd.read_csv(paths.cells)
    assert np.isfinite(written.loc[written["finding"].isna(), "rest_variance"]).all()


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


def test_compare_gives_the_same_answer_as_the_study(done: dict[str, Any]) -> None:
    folders = sorted(path.parent for path in Path(done["study_dir"]).glob("*/status.json"))
    table = compare_recipes(folders).differences
    theirs = {(row["metric"], row["label"]): row for row in table.to_dict("records")}
    ours = {(row["metric"], row["label"]): row for row in done["differences"]}
    assert set(ours) == set(theirs)
    for key, row in ours.items():
        sign = 1 if theirs[key]["a"].endswith("mlp") == (row["a"] == "mlp_visual") else -1
        bounds = [sign * theirs[key]["lo"], sign * theirs[key]["hi"]][::sign]
        expected = [sign * theirs[key]["delta"], *bounds, theirs[key]["p"], theirs[key]["p_adjusted"]]
        values = [row[name] for name in ("delta", "lo", "hi", "p", "p_adjusted")]
        assert values == pytest.approx(expected, abs=1e-9, nan_ok=True)
