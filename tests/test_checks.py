"""A check reports every problem at once, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.checks import check
from ctbench_core.config import Config, set_key

Build = Callable[..., Config]


def test_a_valid_data_set_passes(config: Config, tmp_path: Path, labels: list[str]) -> None:
    result = check(config)
    assert result.ok
    assert result.errors == []
    assert result.labels == labels
    assert result.dim == 16
    assert {name: counts["patients"] for name, counts in result.counts.items()} == {
        "train": 30,
        "val": 14,
        "test.csv": 12,
    }
    assert not (tmp_path / "outputs").exists()


def test_several_errors_come_together(make_config: Build, data: Path) -> None:
    (data / "features" / "image" / "valid_3_a.npz").unlink()
    changes = {"data.test_manifests": ["none.csv"], "model.params.in_features": 512}
    result = check(make_config(data, changes))
    assert not result.ok
    assert any("none.csv" in text for text in result.errors)
    assert any("valid_3_a.npz" in text and "valid.csv line 6" in text for text in result.errors)


def test_a_missing_manifest_is_an_error_not_a_crash(make_config: Build, data: Path) -> None:
    (data / "manifests" / "train.csv").unlink()
    result = check(make_config(data))
    assert len(result.errors) == 1
    assert "train.csv does not exist" in result.errors[0]
    assert result.counts == {}
    assert result.labels == []


def test_leaks_are_marked_or_refused(make_config: Build, data: Path) -> None:
    path = data / "manifests" / "valid.csv"
    path.write_text(path.read_text().replace("valid_3_a_1", "train_5_z_1"))
    marked = check(make_config(data))
    assert marked.ok
    assert marked.to_json()["leaks"] == [{"manifest": "val", "patients": ["train_5"]}]
    assert any("train_5" in text for text in marked.warnings)
    refused = check(make_config(data, {"data.on_leak": "refuse"}))
    assert any("train_5" in text for text in refused.errors)


def test_findings_of_one_class_and_zero_vectors_are_warnings(make_config: Build, data: Path) -> None:
    path = data / "manifests" / "valid.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line[:-1] + "0" for line in lines[1:])]))
    np.savez(data / "features" / "image" / "train_3_a.npz", np.zeros((1, 16), dtype=np.float32))
    warnings = check(make_config(data)).warnings
    assert any(text.startswith("val: Emphysema has one class only") for text in warnings)
    assert any("All-zero vectors in 1 feature file" in text for text in warnings)


@pytest.mark.parametrize("on_bad", ["fail", "drop"])
def test_bad_features_are_an_error_or_a_warning(make_config: Build, data: Path, on_bad: str) -> None:
    (data / "features" / "image" / "train_3_a.npz").write_bytes(b"torn")
    result = check(make_config(data, {"data.on_bad_feature": on_bad}))
    assert result.ok is (on_bad == "drop")
    assert any("train_3_a" in text for text in (result.warnings if result.ok else result.errors))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model._target_", "mpl", "Unknown head 'mpl'. Known: mlp"),
        ("training.loss._target_", "focall", "Unknown loss 'focall'. Known: focal"),
        ("utils.device", "gpu", "utils.device is 'gpu'. Known: auto, cpu"),
    ],
)
def test_unknown_names_are_errors_with_the_nearest_first(config: Config, key: str, value: str, message: str) -> None:
    set_key(config, key, value)
    assert [error.startswith(message) for error in check(config).errors] == [True]
