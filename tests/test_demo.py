"""The demo data set: its structure, its statistics, and what happens when it is generated again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ctbench_core.demo import CO_OCCURRENCE, FINDINGS, latent_correlation, write_demo
from ctbench_core.errors import ConfigError
from ctbench_core.features import load_features
from ctbench_core.manifest import Manifest, read_manifest, shared_patients

SPLITS = ("train", "valid", "test")
SMALL = {"patients": 40, "seed": 3}


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return folder


@pytest.fixture(scope="module")
def manifests(demo_folder: Path) -> dict[str, Manifest]:
    return {name: read_manifest(demo_folder / "manifests" / f"{name}.csv") for name in SPLITS}


def vectors(folder: Path, manifest: Manifest, view: str) -> np.ndarray:
    paths = manifest.visual_paths if view == "image" else manifest.text_paths
    features = load_features(folder / "features", paths)
    return features.matrix[features.rows]


def first_of_exam(manifest: Manifest) -> np.ndarray:
    return np.unique(manifest.exams.astype(str), return_index=True)[1]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_manifests_read_without_a_warning_and_infer_the_findings(manifests: dict[str, Manifest]) -> None:
    for manifest in manifests.values():
        assert manifest.labels == list(FINDINGS)
        assert manifest.warnings == []
    sizes = [len(manifests[name]) for name in SPLITS]
    assert sizes == pytest.approx([1200, 300, 400], rel=0.1)


def test_metadata_columns_are_those_of_ct_rate(manifests: dict[str, Manifest]) -> None:
    frame = manifests["train"].frame
    assert list(frame.columns[:6]) == [
        "volumename",
        "visual_feature_path",
        "text_feature_path",
        "PatientSex",
        "PatientAge",
        "Manufacturer",
    ]
    assert set(frame["PatientSex"]) == {"M", "F"}
    assert frame["PatientAge"].str.fullmatch(r"0\d\dY").all()


def test_patients_are_disjoint_though_valid_and_test_share_a_split_name(manifests: dict[str, Manifest]) -> None:
    for name in SPLITS:
        assert shared_patients(manifests[name], [manifests[other] for other in SPLITS if other != name]) == []
    starts = {name: {volume.split("_")[0] for volume in manifests[name].volumes} for name in SPLITS}
    assert starts == {"train": {"train"}, "valid": {"valid"}, "test": {"valid"}}


def test_exams_and_reconstructions_are_as_frequent_as_in_ct_rate(manifests: dict[str, Manifest]) -> None:
    manifest = manifests["train"]
    counts = manifest.counts()
    assert counts["exams"] / counts["patients"] == pytest.approx(24_128 / 20_000, abs=0.1)
    _, volumes_of_exam = np.unique(manifest.exams.astype(str), return_counts=True)
    assert set(volumes_of_exam) == {1, 2}
    assert np.mean(volumes_of_exam == 2) == pytest.approx(0.9, abs=0.04)


def test_labels_and_text_are_those_of_the_exam(manifests: dict[str, Manifest]) -> None:
    for manifest in manifests.values():
        first = {exam: row for row, exam in reversed(list(enumerate(manifest.exams)))}
        rows = np.array([first[exam] for exam in manifest.exams])
        np.testing.assert_array_equal(manifest.targets, manifest.targets[rows])
        assert (manifest.text_paths == manifest.text_paths[rows]).all()
        assert len(set(manifest.visual_paths)) == len(manifest)


def test_labels_of_a_patient_resemble_each_other(manifests: dict[str, Manifest]) -> None:
    manifest = manifests["train"].select(first_of_exam(manifests["train"]))
    targets = np.nan_to_num(manifest.targets)
    same = manifest.patients[:, None] == manifest.patients[None, :]
    np.fill_diagonal(same, False)
    agreement = (targets[:, None] == targets[None, :]).mean(axis=2)
    others = ~same & ~np.eye(len(manifest), dtype=bool)
    assert agreement[same].mean() > agreement[others].mean() + 0.05


def test_only_a_handful_of_training_labels_is_unknown(manifests: dict[str, Manifest]) -> None:
    unknown = {name: int(np.isnan(manifest.targets).sum()) for name, manifest in manifests.items()}
    assert 5 <= unknown["train"] <= 40
    assert unknown["valid"] == unknown["test"] == 0


@pytest.mark.parametrize("split", SPLITS)
def test_prevalence_is_that_of_ct_rate(manifests: dict[str, Manifest], split: str) -> None:
    assert manifests[split].prevalence() == pytest.approx(
        {name: finding.prevalence for name, finding in FINDINGS.items()}, abs=0.025
    )


def test_co_occurrence_is_that_of_ct_rate(manifests: dict[str, Manifest]) -> None:
    exams = [manifests[name].targets[first_of_exam(manifests[name])] for name in SPLITS]
    phi = np.corrcoef(np.nan_to_num(np.concatenate(exams)).T)
    index = {name: position for position, name in enumerate(FINDINGS)}
    measured = {pair: phi[index[pair[0]], index[pair[1]]] for pair in CO_OCCURRENCE}
    assert measured == pytest.approx(CO_OCCURRENCE, abs=0.1)


def test_latent_correlation_gives_the_phi_it_was_solved_for() -> None:
    # Independent of Plackett's integral: draw the two Gaussians and count.
    names = list(FINDINGS)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(len(names)), latent_correlation(), 50_000)
    thresholds = [np.quantile(draws[:, i], 1 - FINDINGS[name].prevalence) for i, name in enumerate(names)]
    phi = np.corrcoef((draws > thresholds).T)
    for (first, second), expected in CO_OCCURRENCE.items():
        assert phi[names.index(first), names.index(second)] == pytest.approx(expected, abs=0.025)


def test_vectors_are_unit_norm_float32(demo_folder: Path, manifests: dict[str, Manifest]) -> None:
    for view in ("image", "text"):
        matrix = vectors(demo_folder, manifests["test"], view)
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-6)
    with np.load(demo_folder / "features" / manifests["test"].visual_paths[0]) as file:
        assert file["arr_0"].shape == (1, matrix.shape[1])


def test_findings_range_from_hard_to_easy(demo_folder: Path, manifests: dict[str, Manifest]) -> None:
    train, test = manifests["train"], manifests["test"]
    x_train, x_test = (vectors(demo_folder, manifest, "image") for manifest in (train, test))
    auroc = []
    for position in range(len(FINDINGS)):
        known = ~np.isnan(train.targets[:, position])
        head = LogisticRegression(max_iter=500).fit(x_train[known], train.targets[known, position])
        auroc.append(roc_auc_score(test.targets[:, position], head.decision_function(x_test)))
    assert 0.55 < min(auroc) < 0.68
    assert 0.94 < max(auroc) < 0.99
    assert np.mean(auroc) == pytest.approx(0.82, abs=0.03)


def test_reports_and_volumes_align_imperfectly(demo_folder: Path, manifests: dict[str, Manifest]) -> None:
    manifest = manifests["test"]
    similarity = vectors(demo_folder, manifest, "image") @ vectors(demo_folder, manifest, "text").T
    same_exam = manifest.exams[:, None] == manifest.exams[None, :]
    best = np.where(same_exam, similarity, -np.inf).max(axis=1)
    recall_at_1 = np.mean((similarity > best[:, None]).sum(axis=1) == 0)
    assert 10 * same_exam.mean() < recall_at_1 < 0.4
    assert similarity[same_exam].mean() > similarity[~same_exam].mean() + 0.1


def test_some_normal_exams_share_their_report(demo_folder: Path, manifests: dict[str, Manifest]) -> None:
    manifest = manifests["train"].select(first_of_exam(manifests["train"]))
    text = vectors(demo_folder, manifest, "text")
    _, group, size = np.unique(text, axis=0, return_inverse=True, return_counts=True)
    repeated = size[group] > 1
    assert repeated.sum() >= 10
    assert np.nansum(manifest.targets[repeated]) == 0


def test_two_reconstructions_look_alike(demo_folder: Path, manifests: dict[str, Manifest]) -> None:
    manifest = manifests["test"]
    image = vectors(demo_folder, manifest, "image")
    second = np.flatnonzero(manifest.exams[1:] == manifest.exams[:-1]) + 1
    assert np.mean((image[second] * image[second - 1]).sum(axis=1)) > 0.8


def test_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    result = write_demo(tmp_path / "a", **SMALL)
    write_demo(tmp_path / "b", **SMALL)
    write_demo(tmp_path / "c", patients=40, seed=4)
    assert digests(tmp_path / "a") == digests(tmp_path / "b") != digests(tmp_path / "c")
    assert set(result) == {"data_root", "manifest_dir", "volumes"}
    assert Path(result["data_root"]).is_dir()
    assert result["volumes"] == len(list((tmp_path / "a" / "features" / "image").iterdir()))


def test_a_rerun_rewrites_only_what_differs(tmp_path: Path) -> None:
    write_demo(tmp_path, **SMALL)
    before = digests(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    torn, *untouched = times
    torn.write_bytes(b"half a fi")
    write_demo(tmp_path, **SMALL)
    assert digests(tmp_path) == before
    assert all(path.stat().st_mtime_ns == times[path] for path in untouched)


def test_an_interrupted_generation_leaves_no_manifest(tmp_path: Path) -> None:
    def stop(phase: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    write_demo(tmp_path, patients=40, seed=4)  # older data of the same folder must not pass for the new
    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path, **SMALL, progress=stop)
    assert list((tmp_path / "manifests").iterdir()) == []
    write_demo(tmp_path, **SMALL)
    assert len(list((tmp_path / "manifests").iterdir())) == len(SPLITS)


def test_progress_ends_at_the_number_of_files(tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    write_demo(tmp_path, **SMALL, progress=lambda *call: calls.append(call))
    files = len(list(tmp_path.rglob("*.npz")))
    assert calls[-1] == ("writing demo features", files, files)


def test_too_few_patients_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 30 patients, got 5"):
        write_demo(tmp_path, patients=5)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_example_of_the_data_readme_reads(tmp_path: Path) -> None:
    readme = Path(__file__).parents[1] / "data" / "README.md"
    example = readme.read_text(encoding="utf-8").split("```csv\n")[1].split("```")[0]
    (tmp_path / "train.csv").write_text(example, encoding="utf-8")
    manifest = read_manifest(tmp_path / "train.csv")
    assert manifest.labels == ["Cardiomegaly", "Lung nodule", "Pleural effusion"]
    assert manifest.counts() == {"volumes": 4, "exams": 3, "patients": 2}
    assert np.isnan(manifest.targets).sum() == 1
