"""Runs of a bank share their test sets: what is read once equals what each run would read."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.config import Config
from ctbench_core.dataset import SharedTests, load, load_dataset, make_splits, read_test_manifests
from ctbench_core.dataset import shared as shared_data
from ctbench_core.dataset import shared_tests as module
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.experiment import run_bank, run_experiment

Build = Callable[..., Config]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the test sets that are loaded, one entry each time."""
    seen: list[list[str]] = []

    def load(config: Config, manifests: dict[str, object], *rest: object) -> object:
        seen.append(list(manifests))
        return load_dataset(config, manifests, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "load_dataset", load)
    return seen


def configs(build: Build, data: Path) -> list[Config]:
    return [
        build(data, {"data.budget": 10, "utils.seed": 3}),
        build(data, {"data.budget": 12, "training.learning_rate": 0.01}),
        build(data, {"data.standardise": "l2"}),
        build(data, {"data.cohort.recon": "first"}),
        build(data, {"data.kfold.folds": 4, "data.kfold.fold": 1}),
        build(data, {"data.kfold.folds": 4, "data.kfold.fold": 2}),
    ]


def test_each_config_gets_what_it_would_load_alone(make_config: Build, data: Path, loads: list[list[str]]) -> None:
    shared = SharedTests()
    for _ in range(2):
        for config in configs(make_config, data):
            labels = make_splits(config).train.labels
            ours, alone = read_test_manifests(config, labels), read_test_manifests(config, labels)
            assert list(ours) == list(alone)
            loaded, expected = shared.load(config, ours), load_dataset(config, alone)
            for name in alone:
                assert loaded.manifests[name].volumes.tolist() == expected.manifests[name].volumes.tolist()
                np.testing.assert_array_equal(loaded.manifests[name].targets, expected.manifests[name].targets)
                np.testing.assert_array_equal(loaded.inputs(name), expected.inputs(name))
    assert len(loads) == 5 + 5  # the first two are the same; of five, the oldest has gone when it is asked for again


def test_common_test_sets_are_loaded_once(make_config: Build, data: Path, loads: list[list[str]]) -> None:
    shared, first, second = SharedTests(), *configs(make_config, data)[:2]
    labels = make_splits(first).train.labels
    one, two = (shared.load(config, read_test_manifests(config, labels)) for config in (first, second))
    assert one is two
    assert len(loads) == 1


def test_folds_that_are_made_one_after_the_other_are_told_apart(make_config: Build, data: Path) -> None:
    shared = SharedTests()
    for file in sorted((data / "features" / "image").glob("train_*"))[::3]:
        file.unlink()  # so that a dataset has fewer rows than the manifest, and does not keep that one
    for fold in (0, 1, 2, 3, 2, 1, 0):
        options = {"data.kfold.folds": 4, "data.kfold.fold": fold, "data.on_bad_feature": "drop"}
        config = make_config(data, options)
        (name, manifest), *_ = read_test_manifests(config, make_splits(config).train.labels).items()
        expected = load_dataset(config, {name: manifest})
        assert expected.dropped
        loaded = shared.load(config, {name: manifest})
        assert loaded.manifests[name].volumes.tolist() == expected.manifests[name].volumes.tolist()
        kept = weakref.ref(manifest)
        del manifest
        assert kept() is not None  # else the next one may get its id


def test_the_runs_of_a_bank_load_twice(make_config: Build, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for training and validation, once for the test sets; and each run has the figures of its own training."""
    calls: list[int] = []
    load_inputs = load.load_inputs

    def counted(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        return load_inputs(*arguments, **more)

    for place in (load, shared_data):
        monkeypatch.setattr(place, "load_inputs", counted)
    evaluation = {"evaluation.after_training": True, "evaluation.detail": "scores"}
    seeds = [make_config(data, {"utils.seed": seed} | evaluation) for seed in (1, 2, 3)]
    together = run_bank(seeds)
    assert len(calls) == 2
    for config, result in zip(seeds, together):
        (ours,), (alone,) = result["test"].values(), run_experiment(config)["test"].values()
        areas = [[finding["auprc"] for finding in one["per_class"].values()] for one in (ours, alone)]
        assert areas[0] == pytest.approx(areas[1], abs=1e-3, nan_ok=True)


def test_other_findings_are_another_test_set(make_config: Build, data: Path) -> None:
    shared, config = SharedTests(), make_config(data)
    labels = make_splits(config).train.labels
    both = [shared.load(config, read_test_manifests(config, order)) for order in (labels, labels[::-1])]
    first, second = (next(iter(dataset.manifests.values())) for dataset in both)
    assert first.labels == second.labels[::-1]


def test_each_config_is_refused_for_its_own_settings(make_config: Build, data: Path) -> None:
    shared, config = SharedTests(), make_config(data)
    manifests = read_test_manifests(config, make_splits(config).train.labels)
    shared.load(config, manifests)
    with pytest.raises(ConfigError, match="in_features is 3"):
        shared.load(make_config(data, {"model.params.in_features": 3}), manifests)
    next((data / "features" / "image").glob("test_*")).unlink()
    dropping = make_config(data, {"data.on_bad_feature": "drop"})
    assert SharedTests().load(dropping, manifests).dropped
    with pytest.raises(InputError):
        SharedTests().load(config, manifests)
