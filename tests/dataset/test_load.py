"""From a config to a dataset: splits read or made, leaks named, bad rows dropped or refused."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.config import Config
from ctbench_core.dataset import find_leaks, read_test_manifests, read_training_manifests
from ctbench_core.errors import ConfigError, FeatureError, LeakError, ManifestError
from ctbench_core.experiment import load_training

Build = Callable[..., Config]


def edit(folder: Path, name: str, change: Callable[[list[list[str]]], object]) -> None:
    """Change the rows of a manifest in place."""
    path = folder / "manifests" / name
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def test_rows_lead_to_the_vectors_of_their_own_files(config: Config) -> None:
    dataset = load_training(config)
    for split, manifest in dataset.manifests.items():
        paths = [Path(config.paths.data_root) / path for path in manifest.visual_paths]
        expected = np.stack([np.load(path)["arr_0"][0] for path in paths])
        np.testing.assert_array_equal(dataset.inputs(split), expected)
    assert dataset.matrix.shape == (44, 16)  # 30 + 14 exams, each read once for two volumes


def test_inputs_may_be_text_or_both_side_by_side(make_config: Build, tiny_data: Path) -> None:
    def inputs(kind: str) -> np.ndarray:
        return load_training(make_config(tiny_data, {"model.inputs": kind})).inputs("train")

    np.testing.assert_array_equal(inputs("concat"), np.concatenate([inputs("visual"), inputs("text")], axis=1))
    assert not np.array_equal(inputs("visual"), inputs("text"))


def test_text_inputs_need_a_text_column(make_config: Build, data: Path) -> None:
    edit(data, "train.csv", lambda rows: rows[0].__setitem__(2, "note_path"))
    with pytest.raises(ManifestError, match=r"no column 'text_feature_path', which model.inputs=text needs"):
        load_training(make_config(data, {"model.inputs": "text"}))


def test_a_manifest_without_text_runs_visual_only_and_says_so_once(make_config: Build, data: Path) -> None:
    edit(data, "train.csv", lambda rows: rows[0].__setitem__(2, "note_path"))
    dataset = load_training(make_config(data))
    said = [text for text in dataset.notes + dataset.warnings if "visual-only" in text]
    assert len(said) == 1
    assert "train.csv has no column 'text_feature_path'" in said[0]


def test_inferred_findings_are_said(config: Config, labels: list[str]) -> None:
    dataset = load_training(config)
    assert dataset.manifests["train"].labels == labels
    assert any(f"inferred from train.csv: {', '.join(labels)}" in text for text in dataset.notes + dataset.warnings)


def test_training_labels_win_over_data_labels(make_config: Build, tiny_data: Path) -> None:
    changes = {"training.target_labels": ["Emphysema"], "data.columns.labels": ["Lung nodule"]}
    dataset = load_training(make_config(tiny_data, changes))
    assert [manifest.labels for manifest in dataset.manifests.values()] == [["Emphysema"], ["Emphysema"]]
    del changes["training.target_labels"]
    assert load_training(make_config(tiny_data, changes)).manifests["val"].labels == ["Lung nodule"]


def test_validation_takes_the_findings_of_training(make_config: Build, data: Path) -> None:
    """Another column order, or a column more, must not shuffle targets."""

    def reorder(rows: list[list[str]]) -> None:
        for row in rows:
            row[3:] = [row[5], row[3], row[4], "extra" if row is rows[0] else "1"]

    before = load_training(make_config(data)).manifests["val"].targets
    edit(data, "valid.csv", reorder)
    after = load_training(make_config(data)).manifests["val"]
    np.testing.assert_array_equal(after.targets, before)


def test_a_manifest_folder_that_is_none_is_named_by_its_key(make_config: Build, data: Path, tmp_path: Path) -> None:
    config = make_config(data, {"paths.manifest_dir": str(tmp_path / "no such")})
    with pytest.raises(ManifestError, match=r"train.csv does not exist: paths.manifest_dir is '.*no such', which is"):
        load_training(config)
    config.data.train_manifest = str(data / "manifests" / "train.csv")  # lies elsewhere
    config.data.auto_split.enabled = True
    assert load_training(config).manifests["train"].counts()["volumes"]


@pytest.mark.parametrize("enabled", [None, True])
def test_validation_is_split_off_when_absent_or_asked_for(make_config: Build, data: Path, enabled: bool | None) -> None:
    if enabled is None:
        (data / "manifests" / "valid.csv").unlink()
    dataset = load_training(make_config(data, {"data.auto_split.enabled": enabled}))
    train, val = dataset.manifests["train"], dataset.manifests["val"]
    assert (train.counts()["patients"], val.counts()["patients"]) == (27, 3)
    assert not set(train.patients) & set(val.patients)
    assert dataset.leaks == {}
    said = [text for text in dataset.warnings if "valid.csv does not exist" in text]
    assert len(said) == (1 if enabled is None else 0)


def test_validation_is_never_split_off_when_that_is_forbidden(make_config: Build, data: Path) -> None:
    (data / "manifests" / "valid.csv").unlink()
    with pytest.raises(ManifestError, match=r"valid.csv does not exist"):
        load_training(make_config(data, {"data.auto_split.enabled": False}))


def test_a_split_by_volume_carries_the_mark_of_its_leak(make_config: Build, tiny_data: Path) -> None:
    changes = {"data.auto_split.enabled": True, "data.auto_split.group": "none", "data.auto_split.val_fraction": 0.5}
    dataset = load_training(make_config(tiny_data, changes))
    shared = set(dataset.manifests["train"].patients) & set(dataset.manifests["val"].patients)
    assert shared
    assert set(dataset.leaks["val"]) == shared


def share_a_patient(folder: Path, name: str = "valid.csv") -> None:
    edit(folder, name, lambda rows: rows[1].__setitem__(0, "train_3_z_1"))


def test_patients_on_both_sides_are_named_and_the_run_goes_on(make_config: Build, data: Path) -> None:
    share_a_patient(data)
    dataset = load_training(make_config(data))
    assert dataset.leaks == {"val": ["train_3"]}
    warning = next(text for text in dataset.warnings if text.startswith("Leak"))
    assert "patients of valid.csv are also in train.csv: train_3 (1 patient)" in warning


def test_leaks_are_refused_on_request(make_config: Build, data: Path) -> None:
    share_a_patient(data)
    with pytest.raises(LeakError, match=r"train_3.*on_leak=refuse"):
        load_training(make_config(data, {"data.on_leak": "refuse"}))


def test_tests_are_held_against_training_and_validation(make_config: Build, data: Path) -> None:
    edit(data, "test.csv", lambda rows: (rows[1].__setitem__(0, "valid_3_z_1"), rows[2].__setitem__(0, "train_4_z_1")))
    config = make_config(data)
    manifests = read_training_manifests(config)[0]
    manifests |= read_test_manifests(config, manifests["train"].labels)
    assert find_leaks(config, manifests)[0] == {"test.csv": ["train_4", "valid_3"]}


def test_usual_tests_are_found_and_named_ones_must_exist(make_config: Build, data: Path, labels: list[str]) -> None:
    assert list(read_test_manifests(make_config(data), labels)) == ["test.csv"]
    (data / "manifests" / "test_manual_all.csv").write_bytes((data / "manifests" / "test.csv").read_bytes())
    assert list(read_test_manifests(make_config(data), labels)) == ["test_manual_all.csv", "test.csv"]
    assert read_test_manifests(make_config(data, {"data.test_manifests": []}), labels) == {}
    with pytest.raises(ManifestError, match=r"other.csv does not exist"):
        read_test_manifests(make_config(data, {"data.test_manifests": ["other.csv"]}), labels)


def spoil(folder: Path) -> None:
    """Take one file away, garble one, and put a NaN in one: six volumes of train."""
    image = folder / "features" / "image"
    (image / "train_5_a.npz").unlink()
    (image / "train_6_a.npz").write_bytes(b"PK\x03\x04 torn")
    np.savez(image / "train_7_a.npz", np.full((1, 16), np.nan, dtype=np.float32))


def test_bad_features_stop_the_run_with_every_row_named(make_config: Build, data: Path) -> None:
    spoil(data)
    with pytest.raises(FeatureError) as caught:
        load_training(make_config(data))
    text = str(caught.value)
    assert "3 feature files cannot be used" in text
    for patient, lines in ((5, "line 10, train.csv line 11"), (6, "line 12"), (7, "line 14")):
        assert f"train_{patient}_a.npz" in text
        assert f"train.csv {lines}" in text


def test_bad_features_can_be_dropped_and_are_recorded(make_config: Build, data: Path) -> None:
    spoil(data)
    dataset = load_training(make_config(data, {"data.on_bad_feature": "drop"}))
    assert dataset.dropped == {"train": [f"train_{p}_a_{r}" for p in (5, 6, 7) for r in (1, 2)]}
    assert len(dataset.manifests["train"]) == 54
    assert dataset.manifests["train"].targets.shape == (54, 3)
    assert np.isfinite(dataset.inputs("train")).all()
    assert any("6 volumes" in text and "skipped" in text for text in dataset.warnings)


def test_a_row_is_dropped_when_either_of_its_inputs_is_bad(make_config: Build, data: Path) -> None:
    (data / "features" / "text" / "train_9_a.npz").unlink()
    spoil(data)
    dataset = load_training(make_config(data, {"data.on_bad_feature": "drop", "model.inputs": "concat"}))
    assert len(dataset.dropped["train"]) == 8
    config = make_config(data, {"data.on_bad_feature": "drop"})
    assert "train_9_a_1" not in load_training(config).dropped["train"]


def test_a_split_left_empty_is_refused(make_config: Build, data: Path) -> None:
    for path in (data / "features" / "image").glob("valid_*"):
        path.unlink()
    with pytest.raises(FeatureError, match=r"valid.csv: no row has usable features"):
        load_training(make_config(data, {"data.on_bad_feature": "drop"}))


def test_a_blank_path_is_a_missing_feature(make_config: Build, data: Path) -> None:
    edit(data, "train.csv", lambda rows: rows[1].__setitem__(1, ""))
    with pytest.raises(FeatureError, match=r"A feature path is blank(.|\n)*train.csv line 2"):
        load_training(make_config(data))


def test_given_width_is_checked(make_config: Build, tiny_data: Path) -> None:
    assert load_training(make_config(tiny_data, {"model.params.in_features": 16})).matrix.shape[1] == 16
    with pytest.raises(ConfigError, match=r"in_features is 512, but the features have 16 dimensions"):
        load_training(make_config(tiny_data, {"model.params.in_features": 512}))


def test_l2_gives_unit_vectors_and_leaves_zero_alone(make_config: Build, data: Path) -> None:
    np.savez(data / "features" / "image" / "train_5_a.npz", np.zeros((1, 16), dtype=np.float32))
    dataset = load_training(make_config(data, {"data.standardise": "l2"}))
    norms = np.linalg.norm(dataset.inputs("train"), axis=1)
    assert any(
        "train.csv: all-zero features of train_5_a_1, train_5_a_2 (2 volumes)" in text for text in dataset.warnings
    )
    np.testing.assert_allclose(np.delete(norms, [8, 9]), 1, atol=1e-6)
    assert norms[8:10].tolist() == [0, 0]


def test_the_cohort_holds_for_every_split(make_config: Build, tiny_data: Path) -> None:
    config = make_config(tiny_data, {"data.cohort.recon": "first"})
    dataset = load_training(config)
    assert {name: len(manifest) for name, manifest in dataset.manifests.items()} == {"train": 30, "val": 14}
    assert len(read_test_manifests(config, dataset.manifests["train"].labels)["test.csv"]) == 12
