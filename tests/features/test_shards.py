"""Many files and tables in one store: written in shards by several workers, mapped, in half the space."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctbench_core.errors import RunError
from ctbench_core.features import FeatureMatrix, audit, gather, load, load_features, write_shard
from ctbench_core.features.index import fingerprints
from ctbench_core.features.pack import open_pack
from ctbench_core.features.shards import Shard

IDS = [f"case_{i}" for i in range(90)]
VECTORS = np.random.default_rng(3).standard_normal((90, 8)).astype(np.float16)
Load = Callable[..., FeatureMatrix]


def shard_of(i: int) -> str:
    return f"part_{i // 10}.npz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root of nine float16 tables of ten rows each."""
    folder = tmp_path / "root"
    folder.mkdir()
    for part in range(9):
        rows = slice(10 * part, 10 * part + 10)
        np.savez(folder / f"part_{part}.npz", ids=IDS[rows], features=VECTORS[rows])
    return folder


@pytest.fixture
def read(root: Path, tmp_path: Path) -> Load:
    """Return a loader of the tables' rows that packs into one cache."""

    def call(samples: list[int], **options: Any) -> FeatureMatrix:
        options = {"cache": tmp_path / "cache", "mode": "always", **options}
        return load_features(root, [shard_of(i) for i in samples], ids=[IDS[i] for i in samples], **options)

    return call


def backwards(shards: list[Shard]) -> Iterator[tuple[int, Any]]:
    """Write shards as workers would, the last one first and the first one twice."""
    for place in [*reversed(range(len(shards))), 0]:
        yield place, write_shard(shards[place], stop=threading.Event())


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "SHARD_ROWS", 20)


def test_rows_of_tables_are_packed_and_read_once(read: Load, root: Path) -> None:
    first = read(list(range(90)))
    assert (first.files, first.files_read, first.names[:2]) == (9, 9, ["case_0", "case_1"])
    again = read(list(range(90)))
    assert again.files_read == 0
    np.testing.assert_array_equal(again.matrix[again.rows], VECTORS.astype(np.float32))
    np.savez(root / "part_4.npz", ids=IDS[40:50], features=-VECTORS[40:50])
    changed = read(list(range(90)))
    assert changed.files_read == 1
    np.testing.assert_array_equal(changed.matrix[changed.rows][40:50], -VECTORS[40:50].astype(np.float32))


def test_a_table_among_files_of_one_vector_is_found(root: Path, read: Load, tmp_path: Path) -> None:
    np.savez(root / "one.npz", VECTORS[5:6])
    names, ids = ["one.npz", "part_0.npz", "part_0.npz"], ["x", IDS[1], IDS[2]]
    for files_read in (2, 0):
        features = load_features(root, names, ids=ids, cache=tmp_path / "cache", mode="always")
        assert features.files_read == files_read
        np.testing.assert_array_equal(features.matrix[features.rows], VECTORS[[5, 1, 2]].astype(np.float32))


def test_shards_in_any_order_are_one_pack(read: Load, root: Path, small_shards: None, tmp_path: Path) -> None:
    bad = VECTORS[30:40].copy()
    bad[2, 1], bad[7, 7] = np.nan, np.inf
    np.savez(root / "part_3.npz", ids=IDS[30:40], features=bad)
    (root / "part_6.npz").unlink()
    alone = read(list(range(90)), cache=tmp_path / "alone")
    sharded = read(list(range(90)), run_shards=backwards)
    assert [(p.kind, p.samples) for p in sharded.problems] == [(p.kind, p.samples) for p in alone.problems]
    assert (sharded.rows < 0).sum() == 12
    np.testing.assert_array_equal(sharded.sample_prints, alone.sample_prints)
    usable = np.flatnonzero(sharded.rows >= 0)
    np.testing.assert_array_equal(sharded.matrix[sharded.rows[usable]], VECTORS[usable].astype(np.float32))
    assert read(list(range(90))).files_read == 0
    assert audit(sharded).norms == audit(alone).norms


def test_a_pack_grows_by_shards_without_reading_the_old_rows(
    read: Load, small_shards: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ctbench_core.features.pack._SHARD_START", 16)
    read(list(range(10)))
    grown = read(list(range(90)), run_shards=backwards)
    assert grown.files_read == 8
    np.testing.assert_array_equal(grown.matrix[grown.rows], VECTORS.astype(np.float32))
    (folder,) = (tmp_path / "cache").iterdir()
    packed = open_pack(folder)
    assert packed is not None
    assert len(packed.matrix) == 16 + 80  # the workers' rows begin on a page of their own
    np.testing.assert_array_equal(packed.index.prints, fingerprints(packed.matrix))
    assert read(list(range(90))).files_read == 0


@pytest.mark.posix_files
def test_a_shard_that_cannot_be_written_leaves_the_pack_as_it_was(
    read: Load, small_shards: None, tmp_path: Path
) -> None:
    read(list(range(10)))
    before = sorted(path.name for path in (tmp_path / "cache").rglob("*"))

    def lose(shards: list[Shard]) -> Iterator[tuple[int, Any]]:
        shards[0].matrix.rename(shards[0].matrix.with_suffix(".gone"))
        try:
            yield 0, write_shard(shards[0], stop=threading.Event())
        finally:
            shards[0].matrix.with_suffix(".gone").rename(shards[0].matrix)

    with pytest.raises(RunError, match="A shard of the packed store cannot be written"):
        read(list(range(90)), run_shards=lose)
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == before
    assert read(list(range(10))).files_read == 0


def test_large_vectors_stay_in_the_map_whatever_rows_are_used(read: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    read(list(range(90)))
    some = [3, 80, 41, 40]
    copied = read(some)
    monkeypatch.setattr(load, "_COPIED_BYTES", 0)
    mapped = read(some)
    assert isinstance(mapped.matrix.base, np.memmap) or isinstance(mapped.matrix.base.base, np.memmap)
    np.testing.assert_array_equal(mapped.matrix[mapped.rows], VECTORS[some].astype(np.float32))
    np.testing.assert_array_equal(mapped.sample_prints, copied.sample_prints)
    assert [mapped.names[row] for row in mapped.rows] == [IDS[i] for i in some]
    assert audit(mapped).to_json() == audit(copied).to_json()


@pytest.mark.parametrize("run_shards", [None, backwards])
def test_float16_takes_half_and_keeps_what_float16_files_hold(
    read: Load, small_shards: None, tmp_path: Path, run_shards: Any
) -> None:
    wide = read(list(range(90)))
    half = read(list(range(90)), dtype="float16", run_shards=run_shards)
    assert half.matrix.dtype == np.float16
    assert half.path != wide.path
    np.testing.assert_array_equal(half.matrix[half.rows], VECTORS)
    np.testing.assert_array_equal(half.sample_prints, wide.sample_prints)
    assert half.path is not None and wide.path is not None
    assert 2 * half.path.stat().st_size == wide.path.stat().st_size
    assert read(list(range(90)), dtype="float16").files_read == 0


def test_float32_values_are_rounded_to_float16_and_too_large_ones_named(tmp_path: Path) -> None:
    np.save(tmp_path / "fine.npy", np.array([1.0001, 2.0], np.float32))
    np.save(tmp_path / "large.npy", np.array([70_000.0, 2.0], np.float32))
    features = load_features(tmp_path, ["fine.npy", "large.npy"], dtype="float16")
    assert features.matrix.tolist() == [[1.0, 2.0]]
    (problem,) = features.problems
    assert (problem.kind, problem.path) == ("non_finite", "large.npy")
    assert "beyond 65,504" in problem.message
    assert "data.store_dtype=float32" in problem.message
    np.savez(tmp_path / "table.npz", ids=["a", "b"], features=np.array([[1, 2], [70_000, 2]], np.float32))
    features = load_features(tmp_path / "table.npz", ["a", "b"], dtype="float16")
    assert features.rows.tolist() == [0, -1]
