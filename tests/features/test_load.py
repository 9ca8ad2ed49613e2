"""Many paths to one matrix: each file is read once, and problems list their samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctbench_core.errors import FeatureError, PathError
from ctbench_core.features import load_features, require_usable


def put(root: Path, name: str, values: object) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.asarray(values, dtype=np.float32))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root of ten vectors of width 4, of which v3 is zero."""
    for i in range(10):
        put(tmp_path, f"v{i}.npy", np.full(4, i if i != 3 else 0))
    return tmp_path


def test_each_sample_gets_its_own_vector(root: Path) -> None:
    written = [f"v{i}.npy" for i in (5, 2, 9, 2, 5, 5, 0)]
    features = load_features(root, written)
    assert features.matrix.dtype == np.float32
    assert features.matrix.shape == (4, 4)
    assert features.dim == 4
    np.testing.assert_array_equal(features.matrix[features.rows][:, 0], [5, 2, 9, 2, 5, 5, 0])
    assert features.problems == []


def test_a_shared_file_is_read_once(root: Path) -> None:
    features = load_features(root, ["v1.npy"] * 50 + ["v2.npy"] * 50)
    assert (features.files, features.files_read) == (2, 2)
    assert features.matrix.shape == (2, 4)


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_vectors_and_fingerprints_do_not_depend_on_the_number_of_readers(root: Path, workers: int) -> None:
    written = [f"v{i}.npy" for i in range(10)]
    one, other = load_features(root, written, workers=1), load_features(root, written, workers=workers)
    np.testing.assert_array_equal(one.matrix[one.rows], other.matrix[other.rows])
    assert one.sample_prints.tobytes() == other.sample_prints.tobytes()


def test_fingerprints_tell_a_changed_vector(root: Path) -> None:
    before = load_features(root, ["v1.npy", "v2.npy"]).sample_prints.tobytes()
    assert load_features(root, ["v1.npy", "v4.npy"]).sample_prints.tobytes() != before
    put(root, "v2.npy", [2, 2, 2, 2.5])
    assert load_features(root, ["v1.npy", "v2.npy"]).sample_prints.tobytes() != before


def test_problems_are_listed_with_their_samples(root: Path) -> None:
    put(root, "wide.npy", np.ones(5))
    put(root, "nan.npy", [1, np.nan, 1, np.inf])
    (root / "torn.npy").write_bytes((root / "v1.npy").read_bytes()[:-3])
    written = ["v1.npy", "gone.npy", "v2.npy", "wide.npy", "nan.npy", "torn.npy", "gone.npy", ""]
    features = load_features(root, written)
    problems = {problem.kind + ":" + problem.path: problem for problem in features.problems}
    assert {name: problem.samples for name, problem in problems.items()} == {
        "missing:gone.npy": (1, 6),
        "missing:": (7,),
        "wrong_dim:wide.npy": (3,),
        "non_finite:nan.npy": (4,),
        "unreadable:torn.npy": (5,),
    }
    assert "has 5 dimensions, the other files 4" in problems["wrong_dim:wide.npy"].message
    assert "NaN or infinite values (2 of" in problems["non_finite:nan.npy"].message
    assert features.rows.tolist() == [0, -1, 1, -1, -1, -1, -1, -1]
    with pytest.raises(
        FeatureError, match=r"5 feature files cannot be used \(.*2 missing.*\)(.|\n)*on_bad_feature=drop"
    ):
        require_usable(features, "here")


def test_problems_name_the_rows_that_use_the_file(root: Path) -> None:
    features = load_features(root, ["v1.npy", "gone.npy", "v2.npy", "gone.npy"])
    with pytest.raises(FeatureError, match=r"gone.npy is missing.*Used by line 3, line 5 \(2 rows\)"):
        require_usable(features, "here", [f"line {i}" for i in (2, 3, 4, 5)])


def test_many_problems_are_counted_not_poured_out(root: Path) -> None:
    features = load_features(root, ["v1.npy", *(f"gone{i}.npy" for i in range(500))])
    with pytest.raises(FeatureError, match=r"500 feature files cannot be used(.|\n)*and 495 more") as caught:
        require_usable(features, "here")
    assert len(str(caught.value)) < 1200


def test_usable_features_pass(root: Path) -> None:
    require_usable(load_features(root, ["v1.npy"]), "here")


def test_numbers_beyond_float32_are_not_finite(root: Path) -> None:
    np.save(root / "huge.npy", np.full(4, 1e300))
    assert load_features(root, ["v1.npy", "huge.npy"]).problems[0].kind == "non_finite"


def test_zero_vectors_are_noted_and_kept(root: Path) -> None:
    features = load_features(root, ["v2.npy", "v3.npy"])
    assert features.notes == {"zero_norm": ["v3.npy"]}
    assert (features.rows >= 0).all()


def test_nothing_usable_is_an_error(root: Path) -> None:
    with pytest.raises(FeatureError, match="2 missing"):
        load_features(root, ["x", "y"])


def test_a_root_that_is_no_folder_is_named(root: Path) -> None:
    with pytest.raises(FeatureError, match=r"nowhere is not a folder. Set paths.data_root"):
        load_features(root / "nowhere", ["a"])


def test_a_root_outside_the_allowed_folders_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTBENCH_ROOTS", str(root / "elsewhere"))
    with pytest.raises(PathError, match="outside the allowed folders"):
        load_features(root, ["v1.npy"])


def test_climbing_paths_stop_the_load(root: Path) -> None:
    with pytest.raises(PathError, match=r"'../v1.npy' points outside"):
        load_features(root, ["v1.npy", "../v1.npy"])


def test_progress_counts_distinct_files_to_the_end(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_features(root, ["v1.npy", "v2.npy", "v1.npy"], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2, 2)
