"""Compare a recipe with itself, other seeds apart, on the report embeddings of the CT-RATE test data.

``python -m benchmarks.null_real ../shared/data/ctrate [pairs] [model]`` trains seeds of one head on random budgets of
patients, makes recipes of three seeds, and compares them in pairs, on the fixed test set and by K-fold. Every
difference is chance: about one pair in twenty may have p below .05.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from ctbench_core.inference import MACRO
from ctbench_core.studies import Study, StudyPaths, load_recipes, read_plan, read_results, run_study
from ctbench_core.studies.differences import compare

SEEDS, FOLDS, BUDGET = 3, 5, 300


def main(folder: Path, pairs: int = 20, model: str = "linear_probe") -> None:
    """Train and print p by metric."""
    with tempfile.TemporaryDirectory() as scratch:
        base = {
            "paths.data_root": str(folder / "features" / "minilm"),
            "paths.manifest_dir": str(folder / "manifests"),
            "paths.outputs_root": scratch,
            "utils.device": "cpu",
        }
        grid = {"utils.seed": list(range(1, 2 * SEEDS * pairs + 1)), "model": [model]}
        for title, more, folds in (
            (f"fixed test, budgets of {BUDGET} patients", {"data.budget": BUDGET}, 0),
            (f"{FOLDS} folds x {SEEDS} seeds", {}, FOLDS),
        ):
            p = _p_values(Study(f"null-{folds}", base | more, grid, folds))
            for metric, values in p.items():
                small = int((values < 0.05).sum())
                smallest = ", ".join(f"{value:.3f}" for value in np.sort(values)[:3])
                print(
                    f"{title}, {model}, macro {metric}: {small} of {len(values)} below .05; smallest {smallest}",
                    flush=True,
                )


def _p_values(study: Study) -> dict[str, np.ndarray]:
    """Return p of the macro mean of every pair of recipes, by metric."""
    paths = StudyPaths(Path(run_study(study)["study_dir"]))
    plan = read_plan(paths)
    (whole,) = load_recipes(paths, plan, read_results(paths, plan)).values()
    recipes = [
        whole.over(whole.volumes, whole.seeds[at : at + SEEDS], whole.findings)
        for at in range(0, len(whole.seeds), SEEDS)
    ]
    found: dict[str, list[float]] = {}
    for first, second in zip(recipes[::2], recipes[1::2]):
        for metric, one in compare(first, second).items():
            found.setdefault(metric, []).append(float(one.p[one.columns.index(MACRO)]))
    return {metric: np.array(values) for metric, values in found.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(text) for text in sys.argv[2:3]), *sys.argv[3:4])
