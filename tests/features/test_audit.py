"""An audit reports unusable and unusual vectors of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.features import audit, load_features
from ctbench_core.features.load import used_rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return vectors 0 .. 9 of width 8, the last dimension the same in all."""
    draw = np.random.default_rng(1)
    for i in range(10):
        vector = draw.standard_normal(8).astype(np.float32)
        vector[7] = 0.25
        np.save(tmp_path / f"v{i}.npy", vector)
    return tmp_path


def test_sound_vectors_have_norms_and_one_dead_dimension(root: Path) -> None:
    names = [f"v{i}.npy" for i in range(10)]
    result = audit(load_features(root, names))
    norms = np.linalg.norm([np.load(root / name).astype(np.float64) for name in names], axis=1)
    assert result.norms["min"] == pytest.approx(norms.min(), rel=1e-12)
    assert result.norms["median"] == pytest.approx(np.median(norms), rel=1e-12)
    assert result.norms["max"] == pytest.approx(norms.max(), rel=1e-12)
    assert result.constant_dims == [7]
    assert (result.problems, result.zero_norm, result.duplicates) == ([], [], [])
    assert result.warnings() == ["Constant values in 1 of 8 feature dimensions."]


def test_duplicates_count_across_patients_only(root: Path) -> None:
    for copy in ("a", "b"):
        (root / f"{copy}.npy").write_bytes((root / "v0.npy").read_bytes())
    names = ["v0.npy", "a.npy", "v1.npy", "b.npy", "v1.npy"]
    features = load_features(root, names)
    assert audit(features, ["p1", "p1", "p2", "p1", "p3"]).duplicates == []
    assert audit(features, ["p1", "p1", "p2", "p4", "p2"]).duplicates == [("v0.npy", "a.npy", "b.npy")]
    assert audit(features).duplicates == [("v0.npy", "a.npy", "b.npy")]


def test_negative_zero_is_zero_norm_and_zeros_are_no_duplicates(root: Path) -> None:
    np.save(root / "z1.npy", np.zeros(8, np.float32))
    np.save(root / "z2.npy", np.zeros(8, np.float32))
    np.save(root / "z3.npy", np.full(8, -0.0, np.float32))
    result = audit(load_features(root, ["v1.npy", "z1.npy", "z2.npy", "z3.npy"]))
    assert result.zero_norm == ["z1.npy", "z2.npy", "z3.npy"]
    assert result.duplicates == []
    assert result.norms["min"] == 0


def test_every_finding_is_counted_and_listed(root: Path) -> None:
    np.save(root / "wide.npy", np.ones(9))
    np.save(root / "nan.npy", np.full(8, np.nan))
    (root / "torn.npy").write_bytes(b"torn")
    (root / "copy.npy").write_bytes((root / "v2.npy").read_bytes())
    names = ["v0.npy", "v1.npy", "v2.npy", "copy.npy", "wide.npy", "nan.npy", "torn.npy", "gone.npy", "gone.npy"]
    result = audit(load_features(root, names))
    counts = result.to_json()
    assert {
        name: counts[name] for name in ("missing", "unreadable", "wrong_dim", "non_finite", "zero_norm", "duplicates")
    } == {
        "missing": 1,
        "unreadable": 1,
        "wrong_dim": 1,
        "non_finite": 1,
        "zero_norm": 0,
        "duplicates": 1,
    }
    frame = result.frame()
    assert sorted(frame["kind"]) == ["duplicate", "missing", "non finite", "unreadable", "wrong dim"]
    assert frame.set_index("file").loc["gone.npy", "samples"] == 2
    assert frame.set_index("file").loc["v2.npy", "what"].endswith("copy.npy")


def test_a_single_vector_has_no_constant_dimension(root: Path) -> None:
    assert audit(load_features(root, ["v1.npy"])).constant_dims == []


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_histogram_of_norms_holds_every_vector(tmp_path: Path, spread: float) -> None:
    """Unit vectors, which differ by rounding only, fill one bar."""
    draw = np.random.default_rng(2)
    for i in range(50):
        vector = draw.standard_normal(32)
        vector *= (1 + spread * i / 49) / np.linalg.norm(vector)
        np.save(tmp_path / f"{i}.npy", vector.astype(np.float32))
    result = audit(load_features(tmp_path, [f"{i}.npy" for i in range(50)]))
    assert sum(result.norm_counts) == 50
    assert len(result.norm_edges) == len(result.norm_counts) + 1
    assert (max(result.norm_counts) == 50) == (spread == 0)


@pytest.mark.parametrize(("part", "extra"), [("findings", 58), ("impressions", 238)])
def test_reports_that_read_alike_are_found_among_the_real_ones(
    real_data: Callable[[str], Path], part: str, extra: int
) -> None:
    root = real_data(f"ctrate/features/minilm/{part}")
    names = sorted(path.name for path in root.glob("*.npz"))
    features = load_features(root, names)
    result = audit(features)
    distinct = len(np.unique(features.matrix, axis=0))
    assert sum(len(group) - 1 for group in result.duplicates) == len(names) - distinct == extra


def test_rows_in_use_are_those_of_samples_each_once() -> None:
    assert used_rows(np.array([4, -1, 2, 4, 0]), 6).tolist() == [0, 2, 4]
    assert used_rows(np.array([-1]), 3).tolist() == []
