"""Budgets, folds and selections by config keys: what is learned from, chosen by, and held out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config, differing_keys, recipe_values
from ctbench_core.dataset import SharedData, find_leaks, list_test_sets, make_splits, read_test_manifests
from ctbench_core.errors import ConfigError, InputError, ManifestError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import load_training, run_experiment
from ctbench_core.manifest import read_selections
from ctbench_core.runs import Ledger, read_config, read_json, write_config

Build = Callable[..., Config]


def volumes(config: Config) -> set[str]:
    splits = make_splits(config)
    return {*splits.train.volumes, *splits.val.volumes}


@pytest.mark.parametrize("unit", ["patient", "exam", "volume"])
def test_a_budget_counts_validation_and_grows_by_nesting(make_config: Build, tiny_data: Path, unit: str) -> None:
    used = []
    for budget in (8, 16, 30, None):
        config = make_config(tiny_data, {"data.budget": budget, "data.budget_unit": unit})
        splits = make_splits(config)
        units = {*getattr(splits.train, f"{unit}s"), *getattr(splits.val, f"{unit}s")}
        assert len(units) == (budget or (44 if unit != "volume" else 88))
        assert len(splits.val) > 0
        used.append(volumes(config))
    assert all(smaller < larger for smaller, larger in itertools.pairwise(used))


def test_the_budget_follows_its_own_seed_else_the_run_s(make_config: Build, tiny_data: Path) -> None:
    def drawn(**changes: Any) -> set[str]:
        return volumes(make_config(tiny_data, {"data.budget": 10, **changes}))

    assert drawn(**{"utils.seed": 1}) != drawn(**{"utils.seed": 2})
    fixed = {"data.budget_seed": 5}
    assert drawn(**{"utils.seed": 1, **fixed}) == drawn(**{"utils.seed": 2, **fixed}) == drawn(**{"utils.seed": 5})


def test_a_budget_too_large_or_too_thin_is_said(make_config: Build, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match=r"Budget 45 is not possible: train.csv and valid.csv hold 44 patients"):
        make_splits(make_config(tiny_data, {"data.budget": 45}))
    thin = make_splits(make_config(tiny_data, {"data.budget": 2}))
    (absent,) = [
        text for text in thin.warnings if text.startswith("No positive in training, in the budget of 2 patients")
    ]
    unseen = [label for label, share in thin.train.prevalence().items() if share == 0]
    assert unseen
    assert f": {', '.join(unseen)}; their scores are not learned." in absent
    assert "data.budget_draw=covering" in absent


def test_stored_configs_without_a_draw_keep_the_covering_one(
    make_config: Build, tiny_data: Path, tmp_path: Path
) -> None:
    config = make_config(tiny_data, {"data.budget": 8})
    write_config(tmp_path / "config.yaml", config)
    lines = (tmp_path / "config.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "config.yaml").write_text("".join(line for line in lines if "budget_draw" not in line))
    stored, covering = read_config(tmp_path / "config.yaml"), make_config(tiny_data, {"data.budget": 8})
    covering.data.budget_draw = "covering"
    assert config.data.budget_draw == "random"
    assert volumes(stored) == volumes(covering) != volumes(config)
    assert differing_keys(stored, config) == ["data.budget_draw"]


def test_without_a_budget_the_draw_changes_no_run(make_config: Build, tiny_data: Path) -> None:
    config, other = make_config(tiny_data, {}), make_config(tiny_data, {"data.budget_draw": "covering"})
    assert differing_keys(config, other) == []
    assert recipe_values(config) == recipe_values(other)


def test_folds_cover_each_volume_once_and_divide_no_patient(make_config: Build, tiny_data: Path) -> None:
    held = []
    for fold in range(4):
        splits = make_splits(make_config(tiny_data, {"data.kfold.folds": 4, "data.kfold.fold": fold}))
        assert splits.fold is not None
        parts = [set(part.patients) for part in (splits.train, splits.val, splits.fold)]
        assert not any(a & b for a, b in itertools.combinations(parts, 2))
        assert sum(map(len, (splits.train, splits.val, splits.fold))) == 88  # train.csv and valid.csv
        held += splits.fold.volumes.tolist()
    assert len(held) == len(set(held)) == 88


def test_every_run_of_a_study_has_the_same_folds(make_config: Build, tiny_data: Path) -> None:
    def fold(**changes: Any) -> list[str]:
        held = make_splits(make_config(tiny_data, {"data.kfold.folds": 4, **changes})).fold
        assert held is not None
        return held.volumes.tolist()

    assert fold(**{"utils.seed": 1}) == fold(**{"utils.seed": 2}) == fold(**{"utils.seed": 3, "data.budget": 8})
    assert fold(**{"data.kfold.seed": 1}) != fold(**{"data.kfold.seed": 2})


def test_folds_without_a_validation_manifest_come_from_training_alone(make_config: Build, data: Path) -> None:
    (data / "manifests" / "valid.csv").unlink()
    splits = make_splits(make_config(data, {"data.kfold.folds": 3}))
    assert splits.fold is not None
    assert len(splits.train) + len(splits.val) + len(splits.fold) == 60


def test_a_fold_by_volume_carries_the_mark(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, {"data.kfold.folds": 4, "data.kfold.group": "none"})
    splits = make_splits(config)
    assert splits.fold is not None
    leaks, _ = find_leaks(config, {"train": splits.train, "val": splits.val, "fold_0": splits.fold})
    assert leaks["fold_0"]


def test_the_fold_is_the_test_set(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, {"data.kfold.folds": 4, "data.kfold.fold": 2})
    assert list_test_sets(config) == ["fold_2"]
    labels = make_splits(config).train.labels
    backwards = read_test_manifests(config, labels[::-1])["fold_2"]
    assert (backwards.name, backwards.labels) == ("fold_2", labels[::-1])
    named = make_config(tiny_data, {"data.kfold.folds": 4, "data.test_manifests": ["test.csv", "fold_0"]})
    assert [len(test) for test in read_test_manifests(named, labels).values()] == [24, 22]
    with pytest.raises(ConfigError, match="Fold 4 does not exist"):
        make_splits(make_config(tiny_data, {"data.kfold.folds": 4, "data.kfold.fold": 4}))


def test_out_of_fold_scores_cover_every_volume_and_are_counted(make_config: Build, tiny_data: Path) -> None:
    scores = []
    for fold in range(2):
        changes = {"data.kfold.folds": 2, "data.kfold.fold": fold, "training.max_epochs": 1}
        config = make_config(tiny_data, changes)
        run = Path(run_experiment(config)["run_dir"])
        assert list(evaluate_run(run)["test"]) == [f"fold_{fold}"]
        scores.append(pd.read_parquet(run / "evaluation" / f"fold_{fold}" / "scores.parquet"))
        selection = read_selections(run / "selection_index.csv")[0]
        assert set(selection.test) == set(scores[-1]["volumename"])
    frame = pd.concat(scores)
    assert frame["volumename"].is_unique
    assert len(frame) == 88
    openings = Ledger(config.paths.outputs_root).openings()
    assert [opening.manifest for opening in openings] == ["fold_0", "fold_1"]
    assert openings[0].test_set != openings[1].test_set


def relabel(data: Path) -> Path:
    """Write another label source over the same volumes: labels flipped, rows shuffled."""
    for name in ("train.csv", "valid.csv"):
        frame = pd.read_csv(data / "manifests" / name)
        frame[frame.columns[3:]] = 1 - frame[frame.columns[3:]]
        (data / "other").mkdir(exist_ok=True)
        frame.sample(frac=1, random_state=0).to_csv(data / "other" / name, index=False)
    return data / "other"


@pytest.mark.parametrize("folds", [None, 4])
def test_label_sources_share_volumes_through_a_selection(make_config: Build, data: Path, folds: int | None) -> None:
    keys = {"data.budget": 30, "data.kfold.folds": folds, "data.auto_split.val_fraction": 0.3}
    config = make_config(data, keys)
    run = Path(run_experiment(config)["run_dir"])
    path = run / "selection_index.csv"
    other = make_config(data, keys | {"paths.manifest_dir": str(relabel(data)), "data.selection": str(path)})
    here, there = make_splits(config), make_splits(other)
    for mine, theirs in ((here.train, there.train), (here.val, there.val), (here.fold, there.fold)):
        if mine is None or theirs is None:
            assert folds is None
            continue
        assert mine.volumes.tolist() == theirs.volumes.tolist()
        np.testing.assert_array_equal(mine.targets, 1 - theirs.targets)


def test_a_selection_that_does_not_fit_is_named(make_config: Build, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "selection_index.csv"
    head = "budget,seed,selection_value,split\n"
    path.write_text(head + "2,1,train_1_a_1,train\n2,1,nobody,val\n")
    config = make_config(data, {"data.selection": str(path)})
    with pytest.raises(ManifestError, match=r"lacks nobody \(1 volume\) of the selection of budget 2, seed 1"):
        make_splits(config)
    path.write_text(head + "2,1,train_1_a_1,train\n2,1,train_1_a_1.nii.gz,val\n")
    with pytest.raises(ManifestError, match=r"duplicate volume in one budget and seed, on line 3"):
        make_splits(config)
    rows = [f"{n},{s},train_{n}_a_1,{split}" for n in (3, 4) for s in (42, 7) for split in ("train",)]
    path.write_text(head + "\n".join(rows) + "\n")
    with pytest.raises(ConfigError, match=r"has 2 selections of seed 42; it has budget 3 seed 42, budget 3 seed 7"):
        make_splits(config)
    with pytest.raises(ConfigError, match=r"has no selection of budget 5 and seed 42"):
        make_splits(make_config(data, {"data.selection": str(path), "data.budget": 5}))


def shared_configs(build: Build, data: Path) -> list[Config]:
    manifests = str(relabel(data))
    return [
        build(data),
        build(data, {"data.budget": 10, "utils.seed": 3}),
        build(data, {"data.kfold.folds": 4, "data.kfold.fold": 1, "data.budget": 12}),
        build(data, {"data.cohort.recon": "first", "data.auto_split.enabled": True}),
        build(data, {"paths.manifest_dir": manifests, "data.budget": 10, "data.test_manifests": []}),
    ]


def test_shared_features_give_the_datasets_that_each_config_loads(make_config: Build, data: Path) -> None:
    configs = shared_configs(make_config, data)
    shared = SharedData(configs)
    for config in configs:
        ours, alone = shared.dataset(config), load_training(config)
        assert {name: ours.digests[name] for name in alone.digests} == alone.digests
        for split in ("train", "val"):
            assert ours.manifests[split].volumes.tolist() == alone.manifests[split].volumes.tolist()
            np.testing.assert_array_equal(ours.inputs(split), alone.inputs(split))
            np.testing.assert_array_equal(ours.manifests[split].targets, alone.manifests[split].targets)
        alone = ours.only("val")
        np.testing.assert_array_equal(alone.matrix[alone.rows["val"]], ours.inputs("val"))
        assert alone.manifests == {"val": ours.manifests["val"]}
        assert ours.matrix is shared.dataset(configs[0]).matrix


def test_shared_features_name_and_drop_what_each_config_meets(make_config: Build, data: Path) -> None:
    (data / "features" / "image" / "train_5_a.npz").unlink()
    drop = [
        make_config(data, {"data.on_bad_feature": "drop", "data.kfold.folds": 4, "data.kfold.fold": f}) for f in (0, 1)
    ]
    shared = SharedData(drop)
    for config in drop:
        dropped = shared.dataset(config).dropped
        assert list(dropped.values()) == [["train_5_a_1", "train_5_a_2"]]
    fail = make_config(data, {"data.kfold.folds": 4})
    with pytest.raises(InputError, match=r"train.csv line 10, train.csv line 11"):
        SharedData([fail]).dataset(fail)


def test_other_features_cannot_be_shared(make_config: Build, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="read different features"):
        SharedData([make_config(tiny_data), make_config(tiny_data, {"model.inputs": "text"})])


def test_bad_features_of_pooled_manifests_are_named_by_their_own_file(make_config: Build, data: Path) -> None:
    (data / "features" / "image" / "valid_5_a.npz").unlink()
    with pytest.raises(InputError, match=r"valid.csv line 10, valid.csv line 11"):
        load_training(make_config(data, {"data.kfold.folds": 7, "data.kfold.fold": 3}))


def test_provenance_keeps_the_data_card(make_config: Build, tiny_data: Path) -> None:
    changes = {"data.label_origin": "manual", "data.encoder.name": "CT-CLIP", "data.encoder.projection": "before"}
    run = Path(run_experiment(make_config(tiny_data, changes | {"training.max_epochs": 1}))["run_dir"])
    card = read_json(run / "provenance.json")["data_card"]
    assert card["label_origin"] == "manual"
    assert card["encoder"] == {"name": "CT-CLIP", "pretraining": None, "projection": "before"}
    assert not (run / "selection_index.csv").exists()
