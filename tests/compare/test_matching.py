"""Runs are matched by the volumes and targets of their test sets, whatever the files are called, and never by row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ctbench_core.compare import ModelScores, common_sets, compare_runs, config_differences, read_model_scores
from ctbench_core.compare.comparability import keep_common
from ctbench_core.compare.comparison import comparison_set
from ctbench_core.compare.recipes import recipes_of
from ctbench_core.config import Config, recipe_values, set_key, set_keys
from ctbench_core.errors import InputError
from ctbench_core.evaluate import ScoreOptions, score_table
from ctbench_core.experiment import run_experiment
from ctbench_core.manifest import read_manifest
from ctbench_core.runs import Run, new_status, open_run, set_id_of, unique_names, write_config, write_status
from tests.model_scores import model_scores

Keep = Callable[..., Path]


def table(rows: int = 60, seed: int = 0, findings: tuple[str, ...] = ("X",), **columns: Any) -> pd.DataFrame:
    """Return a table of predictions of one model."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"volumename": [f"valid_{i}_a_1" for i in range(rows)]})
    for finding in findings:
        target = np.arange(rows) % 2
        frame[f"target_{finding}"] = target
        frame[f"prob_{finding}"] = np.clip(0.4 * target + 0.6 * draw.random(rows), 0, 1)
    return frame.assign(**columns)


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """Return a function that keeps a table of predictions in the run store and returns its run."""

    def make(frame: pd.DataFrame, file: str) -> Path:
        frame.to_csv(tmp_path / file, index=False)
        config = Config()
        config.paths.outputs_root = str(tmp_path / "outputs")
        return Path(score_table(tmp_path / file, ScoreOptions(name=file), config)["run_dir"])

    return make


def test_two_files_of_one_test_set_are_compared(keep: Keep, cli: Any) -> None:
    runs = [keep(table(seed=1), "first_model.csv"), keep(table(seed=2)[::-1], "second_model.csv")]
    assert common_sets([open_run(run) for run in runs]) == {"first_model": ["first_model", "second_model"]}
    result = cli("compare", *map(str, runs)).json
    assert (result["on"], result["left_out"], result["warnings"]) == ("first_model", 0, [])
    assert result["test_set"]["volumes"] == 60
    opened = [open_run(run) for run in runs]
    for on in ("second_model.csv", result["test_set"]["id"]):
        assert comparison_set(opened, on) == ("first_model", ["first_model", "second_model"])
    auroc = next(row for row in result["differences"] if (row["metric"], row["label"]) == ("auroc", "X"))
    one, other = table(seed=1), table(seed=2)
    delta = roc_auc_score(other["target_X"], other["prob_X"]) - roc_auc_score(one["target_X"], one["prob_X"])
    assert auroc["delta"] == pytest.approx(delta, abs=1e-12)


def test_a_subset_of_the_findings_shares_the_volumes(keep: Keep) -> None:
    runs = [keep(table(findings=("X", "Y")), "one.csv"), keep(table(seed=3, findings=("Y",)), "two.csv")]
    comparison = compare_runs(runs)
    assert comparison.common.labels == ["Y"]
    assert comparison.test_set["id"] == set_id_of(open_run(runs[1]), "two")  # that of the rows in common


def test_other_volumes_under_another_name_are_no_common_set(keep: Keep) -> None:
    runs = [keep(table(), "one.csv"), keep(table(rows=50), "two.csv")]
    with pytest.raises(InputError, match="no test set in common"):
        compare_runs(runs)


def test_a_set_of_the_same_name_is_compared_on_its_common_volumes(keep: Keep, tmp_path: Path) -> None:
    first = keep(table(), "test.csv")
    runs = [first, keep(table(rows=50, seed=1), "test.csv")]
    assert common_sets([open_run(run) for run in runs]) == {"test": ["test", "test"]}
    common = keep_common([read_model_scores(run, "test") for run in runs])
    assert (common.left_out, len(common.volumes)) == (10, 50)


@pytest.mark.parametrize("names", ["blank", "numbers of an old store"])
def test_rows_without_names_are_never_matched(keep: Keep, names: str) -> None:
    frame = table().drop(columns="volumename")
    runs = [keep(frame, "one.csv"), keep(table(seed=1).drop(columns="volumename"), "two.csv")]
    for run in runs:
        scores = next(run.glob("evaluation/*/scores.parquet"))
        assert set(pd.read_parquet(scores)["volumename"]) == {""}
        if names != "blank":
            pd.read_parquet(scores).assign(volumename=[str(i) for i in range(60)]).to_parquet(scores, index=False)
            status = open_run(run).status
            write_status(run / "status.json", status, format=1)
    with pytest.raises(InputError, match=r"volumename.*data\.columns\.volume"):
        compare_runs(runs)


def test_rows_with_real_numbers_as_names_are_matched(keep: Keep) -> None:
    names = [str(i) for i in range(60)]
    runs = [keep(table(seed=n, volumename=names), "test.csv") for n in (1, 2)]
    assert len(keep_common([read_model_scores(run, "test") for run in runs]).volumes) == 60


def test_a_volume_in_two_rows_is_refused() -> None:
    model = model_scores("a", 1)
    twice = ModelScores("twice", pd.concat([model.frame, model.frame.iloc[[3]]]))
    name = model.frame["volumename"].iloc[3]
    with pytest.raises(InputError, match=rf"twice has several rows of {name} \(1 volume\)"):
        keep_common([model, twice])


def test_contradicting_labels_are_marked_everywhere(keep: Keep, cli: Any, tmp_path: Path) -> None:
    frame = table(seed=2, findings=("X", "Y"))
    frame.loc[[0, 1, 2], "target_Y"] = 1 - frame.loc[[0, 1, 2], "target_Y"]
    runs = [keep(table(findings=("X", "Y")), "one.csv"), keep(frame, "two.csv")]
    ended = cli("compare", *map(str, runs), f"paper={tmp_path / 'paper'}")
    text = "3 of 120 labels of two.csv differ from those of one.csv (Y 3): those of one.csv are used for both."
    assert ended.json["warnings"] == [text]
    assert ended.json["disagreeing_labels"] == 3
    assert text in ended.out + ended.err
    assert text in (tmp_path / "paper" / "methods.txt").read_text(encoding="utf-8")
    assert set(pd.read_csv(tmp_path / "paper" / "table.csv")["warning"]) == {text.rstrip(".")}


def test_equal_names_are_told_apart_by_their_settings() -> None:
    def settings(**changes: Any) -> dict[str, Any]:
        config = Config()
        for name, value in changes.items():
            set_key(config, name, value)
        return recipe_values(config)

    few, many = settings(**{"data.budget": 20}), settings(**{"data.budget": 50})
    deep = settings(**{"data.budget": 50, "model.params.hidden_dims": [64, 32]})
    names = unique_names(["demo · linear", "demo · linear"], [few, many])
    assert [name.replace("label ", "") for name in names] == ["demo · linear · budget 20", "demo · linear · budget 50"]
    names = unique_names(["a", "b", "a", "a"], [few, many, many, deep])
    assert names[1] == "b"
    assert [part in name for part, name in zip(("20", "50", "64-32"), (names[0], *names[2:]))] == [True] * 3
    assert unique_names(["a", "a"], [few, deep])[1].endswith("budget 50")  # one setting is enough
    assert unique_names(["a", "a"], [few, few]) == ["a (1)", "a (2)"]
    assert unique_names(["a", "a", "a"], [few, few, many])[2].endswith("50")
    assert unique_names(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]


def test_recipes_and_runs_are_named_by_what_differs(tmp_path: Path) -> None:
    runs = []
    for number, budget in enumerate((20, 50)):
        config = Config()
        config.data.budget, config.paths.data_root = budget, "features/demo"
        config.model._target_ = config.model.model_name = "linear"
        write_config(tmp_path / str(number) / "config.yaml", config)
        write_status(tmp_path / str(number) / "status.json", new_status("same"), state="finished")
        runs.append(open_run(tmp_path / str(number)))
    names = [name.replace("label ", "") for name in recipes_of(runs)]
    assert names == ["budget 20 · linear", "budget 50 · linear"]


def test_a_setting_without_effect_is_no_difference(tmp_path: Path) -> None:
    def write(name: str, **keys: Any) -> Run:
        config = set_keys(Config(), {key.replace("__", "."): value for key, value in keys.items()})
        write_config(tmp_path / name / "config.yaml", config)
        write_status(tmp_path / name / "status.json", new_status(name), state="finished")
        return open_run(tmp_path / name)

    linear = [
        write("a", model___target_="linear", model__params__hidden_dims=[8], utils__seed=1),
        write("b", model___target_="linear", model__params__dropout=0.1, utils__seed=2),
    ]
    assert config_differences(linear).to_numpy().tolist() == [["utils.seed", "1", "2"]]
    assert list(config_differences(linear, ["here", "there"])) == ["setting", "here", "there"]
    table = config_differences([linear[0], write("c", model__params__hidden_dims=[16, 4], utils__seed=1)])
    assert table.set_index("setting").T.to_dict("list") == {
        "model._target_": ["Linear", "MLP"],
        "model.params.hidden_dims": ["–", "16, 4"],
    }


def test_the_id_of_a_comparison_is_that_of_the_ledger(
    make_config: Callable[..., Config], tiny_data: Path, cli: Any
) -> None:
    folders = []
    for seed in (1, 2):
        changes = {"utils.seed": seed, "training.max_epochs": 1, "evaluation.after_training": True}
        changes |= {"evaluation.detail": "scores"}
        folders.append(run_experiment(make_config(tiny_data, changes))["run_dir"])
    result = cli("compare", *folders).json
    own = read_manifest(tiny_data / "manifests" / "test.csv").identity.id
    assert result["test_set"] == {"id": own, "name": "test", "volumes": 24}
    assert (result["openings"], result["opened_by_runs"]) == (2, 2)
