"""Digests of a run's inputs follow their content alone, and every change since training is named and counted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.dataset import NOT_VERIFIABLE, Dataset, compare_digests, input_changes, write_inputs
from ctbench_core.experiment import load_training
from ctbench_core.runs import RunPaths

Build = Callable[..., Config]
INPUTS = {"train.volumes", "train.labels", "val.volumes", "val.labels", "findings", "features.visual"}


@pytest.fixture
def load(make_config: Build, data: Path) -> Callable[..., Dataset]:
    return lambda **changes: load_training(make_config(data, changes))


def edit(data: Path, change: Callable[[pd.DataFrame], Any], name: str = "train.csv") -> None:
    path = data / "manifests" / name
    table = pd.read_csv(path)
    result = change(table)
    (table if result is None else result).to_csv(path, index=False)


def put_vector(data: Path, exam: str, at: int = 0) -> None:
    """Change one bit of one value of an exam's vector."""
    path = data / "features" / "image" / f"{exam}.npz"
    vector = np.load(path)["arr_0"].copy()
    vector.view(np.uint32)[0, at] ^= 1
    np.savez(path, vector)


def test_digests_do_not_follow_order_names_and_places(
    load: Callable[..., Dataset], make_config: Build, data: Path, tmp_path: Path
) -> None:
    before = load().digests
    assert set(before) == INPUTS
    edit(data, lambda table: table.iloc[::-1][table.columns[::-1]])
    (data / "manifests" / "train.csv").rename(data / "manifests" / "renamed.csv")
    for path in sorted((data / "features" / "image").iterdir()):
        path.rename(path.with_name(f"moved_{path.name}"))
    for name in ("renamed.csv", "valid.csv", "test.csv"):
        edit(data, lambda t: t.assign(visual_feature_path=t["visual_feature_path"].str.replace("/", "/moved_")), name)
    moved = Path(shutil.copytree(data, tmp_path / "elsewhere"))
    assert load_training(make_config(moved, {"data.train_manifest": "renamed.csv"})).digests == before


@pytest.mark.parametrize(
    ("change", "digest"),
    [
        (lambda t: t.__setitem__("Emphysema", t["Emphysema"].where(t.index != 40, 1 - t["Emphysema"])), "train.labels"),
        (lambda t: t.__setitem__("Emphysema", t["Emphysema"].where(t.index != 40)), "train.labels"),  # unknown now
        (lambda t: t.drop(index=7), "train.volumes"),
        (lambda t: t.rename(columns={"Emphysema": "Emphysaema"}), "findings"),
    ],
)
def test_every_change_of_a_manifest_changes_its_digest(
    load: Callable[..., Dataset], data: Path, change: Callable[[pd.DataFrame], Any], digest: str
) -> None:
    before = load().digests
    for name in ("train.csv", *(["valid.csv"] if digest == "findings" else [])):
        edit(data, change, name)
    assert load().digests[digest] != before[digest]


@pytest.mark.parametrize(("exam", "at"), [("train_5_a", 0), ("train_5_a", 15), ("valid_5_a", 3)])
def test_every_bit_of_a_feature_changes_the_digest_and_that_of_no_label(
    load: Callable[..., Dataset], data: Path, exam: str, at: int
) -> None:
    before = load().digests
    put_vector(data, exam, at)
    after = load().digests
    assert {name for name in before if before[name] != after[name]} == {"features.visual"}


def test_standardisation_and_other_test_sets_are_no_inputs(load: Callable[..., Dataset], data: Path) -> None:
    before = load().digests
    assert load(**{"data.standardise": "l2", "utils.seed": 9}).digests == before
    edit(data, lambda t: t.iloc[:5], "test.csv")
    assert load().digests == before


def test_each_kind_of_input_has_its_digest(load: Callable[..., Dataset], data: Path) -> None:
    before = load(**{"model.inputs": "concat"}).digests
    assert set(before) == INPUTS | {"features.text"}
    put_vector(data, "train_5_a")
    after = load(**{"model.inputs": "concat"}).digests
    assert {name for name in before if before[name] != after[name]} == {"features.visual"}
    assert load(**{"model.inputs": "text"}).digests["features.text"] == before["features.text"]


def test_rows_without_features_are_not_among_the_inputs(load: Callable[..., Dataset], data: Path) -> None:
    before = load().digests
    (data / "features" / "image" / "train_5_a.npz").unlink()
    dropped = load(**{"data.on_bad_feature": "drop"})
    assert dropped.digests["train.volumes"] != before["train.volumes"]
    edit(data, lambda t: t[~t["volumename"].str.startswith("train_5_a")])
    assert load().digests == dropped.digests


@pytest.fixture
def trained(load: Callable[..., Dataset], tmp_path: Path) -> RunPaths:
    """Write what a training keeps of its inputs."""
    dataset, paths = load(), RunPaths(tmp_path / "run")
    paths.root.mkdir()
    write_inputs(paths.inputs, dataset)
    paths.provenance.write_text(pd.Series({"inputs": dataset.digests}).to_json())
    return paths


def test_changed_features_are_counted_and_named(trained: RunPaths, load: Callable[..., Dataset], data: Path) -> None:
    assert input_changes(trained, load()) == []
    for exam in ("train_3_a", "train_9_a", "valid_2_a"):
        put_vector(data, exam)
    assert input_changes(trained, load()) == [
        "The visual features changed since training: 6 of 88 volumes (train_3_a_1, train_3_a_2, train_9_a_1, ...)."
    ]


def test_changed_labels_and_volumes_are_counted_by_split(
    trained: RunPaths, load: Callable[..., Dataset], data: Path
) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[[3, 40], "Emphysema"] = 1 - table.loc[[3, 40], "Emphysema"]
        return table.drop(index=[10, 11, 12])

    edit(data, change)
    edit(data, lambda t: t.assign(Emphysema=t["Emphysema"].where(t.index != 5)), "valid.csv")
    names = pd.read_csv(data / "manifests" / "train.csv")["volumename"]
    assert names.iloc[3] == "train_2_a_2"
    assert input_changes(trained, load()) == [
        "The training volumes changed since training: 0 new, 3 gone.",
        "The training labels changed since training: 2 of 57 volumes (train_2_a_2, train_21_a_1).",
        "The validation labels changed since training: 1 of 28 volumes (valid_3_a_2).",
    ]


def test_other_findings_are_one_change(trained: RunPaths, load: Callable[..., Dataset], data: Path) -> None:
    for name in ("train.csv", "valid.csv"):
        edit(data, lambda t: t.rename(columns={"Lung nodule": "Nodule"}), name)
    assert input_changes(trained, load()) == ["The findings changed since training."]


def test_old_inputs_are_not_verifiable_and_never_changed(load: Callable[..., Dataset], tmp_path: Path) -> None:
    assert compare_digests({}, load().digests) == [NOT_VERIFIABLE]
    assert input_changes(RunPaths(tmp_path), load()) == [NOT_VERIFIABLE]
    assert "changed" not in NOT_VERIFIABLE


def test_digests_alone_name_what_changed(load: Callable[..., Dataset]) -> None:
    now = load().digests
    assert compare_digests(now, now) == []
    assert compare_digests(now | {"features.visual": "x"}, now) == ["The visual features changed since training."]
    moved = now | {"train.volumes": "x", "train.labels": "x", "features.visual": "x"}
    assert compare_digests(moved, now) == ["The training volumes changed since training."]
    assert compare_digests(now | {"features.text": "x"}, now) == []  # not read now: nothing to compare with
