"""K-fold runs are compared by recipe over their held-out folds, and the answer is that of a study of the same runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from ctbench_core.compare import Comparison, ModelScores
from ctbench_core.compare import folds as folds_module
from ctbench_core.compare.folds import compare_folds, fold_set
from ctbench_core.config import Config, set_keys
from ctbench_core.errors import InputError
from ctbench_core.report.comparison import methods_paragraph, paper_frame
from ctbench_core.runs import Run, RunPaths, Status
from tests.model_scores import RECIPE_LABELS, recipe_scores

FOLDS, LABEL = 4, RECIPE_LABELS[0]
QUALITY = {"weak": 0.3, "strong": 1.2}


def _run(name: str, seed: int, fold: int) -> Run:
    keys = {"data.kfold.folds": FOLDS, "data.kfold.fold": fold, "utils.seed": seed}
    return Run(RunPaths(Path(f"{name}/{seed}")), Status(), set_keys(Config(), keys))


def _frame(name: str, seed: int, fold: int) -> Any:
    """Return the rows of a seed's model whose patient is in a fold."""
    frame = recipe_scores(name, QUALITY[name], 2)[str(seed)].frame
    return frame[frame["patient"].str.removeprefix("v_").astype(int) % FOLDS == fold]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Comparison]:
    """Return a function that compares recipes of two seeds and four folds, without the folds that are left out."""

    def read(folder: Path, name: str) -> ModelScores:
        return ModelScores(name, _frame(folder.parent.name, int(folder.name), int(name.removeprefix("fold_"))))

    monkeypatch.setattr(folds_module, "read_model_scores", read)

    def compare(missing: tuple[tuple[str, int], ...] = ()) -> Comparison:
        recipes = {
            name: [_run(name, seed, f) for seed in (0, 1) for f in range(FOLDS) if (name, seed) not in missing or f]
            for name in QUALITY
        }
        return compare_folds(recipes)

    return compare


def test_the_difference_is_the_mean_over_folds_with_the_corrected_t(compared: Callable[..., Comparison]) -> None:
    by_fold = {
        name: np.array(
            [
                [
                    roc_auc_score(part[f"target_{LABEL}"].astype(int), part[f"prob_{LABEL}"])
                    for part in (_frame(name, seed, fold) for seed in (0, 1))
                ]
                for fold in range(FOLDS)
            ]
        ).mean(axis=1)
        for name in QUALITY
    }
    gaps = by_fold["strong"] - by_fold["weak"]
    error = np.sqrt((1 / FOLDS + 1 / (FOLDS - 1)) * gaps.var(ddof=1))
    one = compared()
    row = one.differences.set_index(["metric", "label"]).loc["auroc", LABEL]
    assert row["delta"] == pytest.approx(gaps.mean(), abs=1e-12)
    assert row["p"] == pytest.approx(2 * stats.t.sf(gaps.mean() / error, FOLDS - 1), rel=1e-9)
    assert row["hi"] - row["delta"] == pytest.approx(stats.t.ppf(0.975, FOLDS - 1) * error, rel=1e-9)
    assert row["models_lo"] < row["delta"] < row["models_hi"]
    assert (row["seeds"], row["question"]) == (2, "this way of training")
    assert (row["a_value"], row["b_value"]) == pytest.approx([by_fold[x].mean() for x in ("strong", "weak")], abs=1e-12)
    values = one.metrics.set_index(["model", "metric", "finding"])
    assert values.loc[("weak", "auroc", LABEL), "value"] == pytest.approx(by_fold["weak"].mean(), abs=1e-12)
    assert {"weak sd", "weak lo", "strong hi"} <= set(paper_frame(one))
    text = methods_paragraph(one)
    assert "means over 4 folds" in text and "t with 3 degrees of freedom" in text and "1/4 + 0.33" in text
    for absent in ("bootstrap", "Of two seeds", "Satterthwaite", "Obuchowski"):
        assert absent not in text, absent
    assert one.with_swaps(19) is one


def test_a_seed_without_all_its_folds_does_not_count(compared: Callable[..., Comparison]) -> None:
    one = compared((("weak", 1),))
    assert one.settings["seeds"] == [1, 2]
    assert set(one.differences["seeds"]) == {1}
    table = one.differences  # the strong recipe has two seeds: its value beside the difference is of the common one
    np.testing.assert_allclose(table["a_value"] - table["b_value"], table["delta"], atol=1e-12)
    with pytest.raises(InputError, match="weak has no seed with all its folds"):
        compared((("weak", 0), ("weak", 1)))
    assert fold_set(_run("weak", 0, 3)) == "fold_3"


def test_a_study_and_compare_agree_to_the_last_digit(cli: Any, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(
        "name: folds\nbase: {training.max_epochs: 2, training.learning_rate: 1e-2, model.params.hidden_dims: [8]}\n"
        "grid: {utils.seed: [1], model: [mlp_visual, linear_probe]}\nprotocol: {kfold: 3}\n",
        encoding="utf-8",
    )
    places = [f"paths.data_root={tiny_data / 'features'}", f"paths.manifest_dir={tiny_data / 'manifests'}"]
    ended = cli("study", str(tmp_path / "study.yaml"), *places, f"paths.outputs_root={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    folders = sorted(str(path.parent) for path in Path(ended.json["study_dir"]).glob("*/status.json"))
    compared = cli("compare", *folders, "by=recipe").json
    assert compared["on"] == "out of fold"
    names = ("delta", "lo", "hi", "p", "p_adjusted", "models_lo", "models_hi", "models_p", "detectable")
    tables = [
        {(row["metric"], row["label"]): [row[name] for name in names] for row in rows}
        for rows in (compared["differences"], ended.json["differences"])
    ]
    assert tables[0].keys() == tables[1].keys()
    for key, (delta, low, high, *rest) in tables[0].items():
        first = [delta, low, high, *rest]
        flipped = [None if x is None else -x for x in (delta, high, low)] + [rest[0], rest[1]]
        flipped += [None if x is None else -x for x in (rest[3], rest[2])] + rest[4:]
        assert tables[1][key] in (first, flipped), key
