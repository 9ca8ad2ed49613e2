"""Two label sources over the same volumes: one draws splits, folds and budgets for both, and judges both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.config import Config
from ctbench_core.dataset import make_splits, read_test_manifests
from ctbench_core.errors import ManifestError
from ctbench_core.studies import parse_study

Make = Callable[..., Config]


@pytest.fixture
def noisy(data: Path, labels: list[str]) -> Path:
    """Write a second label source with a third of the labels flipped and its rows in another order."""
    folder = data / "noisy"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for path in (data / "manifests").glob("*.csv"):
        frame = pd.read_csv(path)
        wrong = draw.random((len(frame), len(labels))) < 0.33
        frame[labels] = np.where(wrong, 1 - frame[labels], frame[labels])
        frame.sample(frac=1, random_state=1).to_csv(folder / path.name, index=False)
    return folder


@pytest.mark.parametrize(
    "changes",
    [{}, {"data.budget": 10}, {"data.kfold.folds": 3, "data.kfold.fold": 1}, {"data.kfold.folds": 3, "data.budget": 9}],
    ids=["whole", "budget", "folds", "folds and budget"],
)
def test_both_sources_learn_from_the_same_volumes(
    data: Path, noisy: Path, make_config: Make, changes: dict[str, Any]
) -> None:
    first = make_splits(make_config(data, changes))
    place = {"paths.manifest_dir": str(noisy), "data.reference": str(data / "manifests")}
    second = make_splits(make_config(data, changes | place))
    for a, b in ((first.train, second.train), (first.val, second.val)):
        assert a.volumes.tolist() == b.volumes.tolist()
        truth = pd.read_csv(noisy / "train.csv").set_index("volumename") if changes == {} and a is first.train else None
        if truth is not None:
            np.testing.assert_array_equal(b.targets, truth.loc[b.volumes, b.labels])
        assert (a.targets != b.targets).any()
    if first.fold is not None:
        assert second.fold is not None
        np.testing.assert_array_equal(second.fold.targets, first.fold.targets)
        assert second.fold.volumes.tolist() == first.fold.volumes.tolist()


def test_without_a_reference_stratified_folds_differ_with_the_labels(
    data: Path, noisy: Path, make_config: Make
) -> None:
    """Why there is a reference: paired by fold, such runs would be judged on different patients."""
    changes = {"data.kfold.folds": 3, "data.budget": 9}
    own = make_splits(make_config(data, changes | {"paths.manifest_dir": str(noisy)}))
    other = make_splits(make_config(data, changes))
    assert own.fold is not None
    assert other.fold is not None
    assert set(own.fold.volumes) != set(other.fold.volumes)


def test_tests_are_judged_by_the_reference(data: Path, noisy: Path, make_config: Make, labels: list[str]) -> None:
    config = make_config(data, {"paths.manifest_dir": str(noisy), "data.reference": str(data / "manifests")})
    judged = read_test_manifests(config, labels)["test.csv"]
    clean = pd.read_csv(data / "manifests" / "test.csv")
    np.testing.assert_array_equal(judged.targets, clean[labels])


def test_volumes_that_a_source_lacks_are_named(data: Path, noisy: Path, make_config: Make) -> None:
    frame = pd.read_csv(noisy / "train.csv")
    frame[frame["volumename"] != "train_7_a_1"].to_csv(noisy / "train.csv", index=False)
    config = make_config(data, {"paths.manifest_dir": str(noisy), "data.reference": str(data / "manifests")})
    with pytest.raises(ManifestError, match="train_7_a_1"):
        make_splits(config)


def test_the_first_source_of_a_study_draws_and_judges_for_all() -> None:
    grid = {"source": {"manual": "m", "gpt": "g"}, "seed": [1]}
    configs = [config for _, config in parse_study({"name": "s", "grid": grid}).configs()]
    assert [config.data.reference for config in configs] == [None, "m"]
    own = parse_study({"name": "s", "base": {"data.reference": None}, "grid": grid})
    assert [config.data.reference for _, config in own.configs()] == [None, None]
