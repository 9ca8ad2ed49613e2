"""The packed store: read once, reopened, updated where files changed, rebuilt when damaged."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ctbench_core.errors import RunError
from ctbench_core.features import FeatureMatrix, gather, load_features, pack
from ctbench_core.features.index import Index, Pack, fingerprints, paths_of, row_name, shown_names
from ctbench_core.features.pack import open_pack

NAMES = [f"v{i}.npz" for i in range(700)]
Load = Callable[..., FeatureMatrix]


def vector(i: int) -> np.ndarray:
    return np.random.default_rng(i).standard_normal((1, 16), dtype=np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root of 700 vectors of width 16."""
    folder = tmp_path / "root"
    folder.mkdir()
    for i, name in enumerate(NAMES):
        np.savez(folder / name, vector(i))
    return folder


@pytest.fixture
def load(root: Path, tmp_path: Path) -> Load:
    """Return a loader that packs into one cache."""

    def call(names: list[str] = NAMES, **options: object) -> FeatureMatrix:
        return load_features(root, names, **{"cache": tmp_path / "cache", "mode": "always", **options})  # type: ignore[arg-type]

    return call


def files_of(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def only_pack(tmp_path: Path) -> tuple[Path, Pack | None]:
    (folder,) = (tmp_path / "cache").iterdir()
    return folder, open_pack(folder)


def expected(names: list[str]) -> np.ndarray:
    return np.concatenate([vector(int(name[1:-4])) for name in names])


def test_a_pack_of_an_older_rule_is_read_again_in_its_place(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(pack, "VERSION", pack.VERSION - 1)
        load()
    assert load().files_read == len(NAMES)
    assert load().files_read == 0
    only_pack(tmp_path)


def test_second_use_reads_no_file_and_gives_the_same(load: Load, tmp_path: Path) -> None:
    first, again, direct = load(), load(), load(cache=None)
    assert [first.files_read, again.files_read, direct.files_read] == [700, 0, 700]
    for features in (first, again, direct):
        np.testing.assert_array_equal(features.matrix[features.rows], expected(NAMES))
        assert features.sample_prints.tobytes() == first.sample_prints.tobytes()
    assert again.path is not None
    assert again.path.is_relative_to(tmp_path)
    assert set(again.seconds) == {"open", "verify", "read"}


def test_part_of_a_pack_is_a_view_and_numbers_its_own_rows(load: Load) -> None:
    load()
    part = load(NAMES[100:200] * 2)
    assert (part.files_read, part.matrix.shape) == (0, (100, 16))
    np.testing.assert_array_equal(part.matrix[part.rows], expected(NAMES[100:200] * 2))
    scattered = load(NAMES[::-7])
    np.testing.assert_array_equal(scattered.matrix[scattered.rows], expected(NAMES[::-7]))
    assert load(NAMES[::-7], cache=None).sample_prints.tobytes() == scattered.sample_prints.tobytes()


def test_added_files_alone_are_read(load: Load, root: Path) -> None:
    load(NAMES[:600])
    more = load()
    assert more.files_read == 100
    np.testing.assert_array_equal(more.matrix[more.rows], expected(NAMES))
    between = [*NAMES[:300], "new.npz", *NAMES[300:]]
    np.savez(root / "new.npz", np.ones((1, 16), np.float32))
    features = load(between)
    assert features.files_read == 1
    np.testing.assert_array_equal(features.matrix[features.rows[300]], np.ones(16))
    assert load(NAMES[:600]).files_read == 0


def test_a_changed_file_is_noticed_even_with_its_old_size_and_date(load: Load, root: Path) -> None:
    load()
    status = (root / NAMES[5]).stat()
    np.savez(root / NAMES[5], np.full((1, 16), 7, np.float32))
    os.utime(root / NAMES[5], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (root / NAMES[5]).stat().st_size == status.st_size
    changed = load()
    if os.name != "nt":  # Windows keeps no time of the last change to the entry
        assert changed.files_read == 1
        np.testing.assert_array_equal(changed.matrix[changed.rows[5]], np.full(16, 7))
    os.utime(root / NAMES[6], ns=(0, 0))
    assert load().files_read >= 1
    np.testing.assert_array_equal(load().matrix[load().rows[7]], expected(NAMES)[7])


def test_a_deleted_file_is_missing_and_found_when_it_returns(load: Load, root: Path) -> None:
    load()
    content = (root / NAMES[9]).read_bytes()
    (root / NAMES[9]).unlink()
    gone = load()
    assert [(problem.kind, problem.path, problem.samples) for problem in gone.problems] == [("missing", NAMES[9], (9,))]
    assert gone.rows[9] == -1
    np.testing.assert_array_equal(gone.matrix[gone.rows[10:]], expected(NAMES[10:]))
    (root / NAMES[9]).write_bytes(content)
    np.testing.assert_array_equal(load().matrix[load().rows], expected(NAMES))


def test_problems_are_remembered_until_their_files_change(load: Load, root: Path) -> None:
    good = (root / NAMES[3]).read_bytes()
    (root / NAMES[3]).write_bytes(good[:50])
    np.savez(root / NAMES[4], np.ones((1, 5), np.float32))
    np.savez(root / NAMES[8], np.full((1, 16), np.nan, np.float32))
    first, again = load(), load()
    assert again.files_read == 0
    kinds = [(problem.kind, problem.path) for problem in again.problems]
    assert kinds == [("unreadable", NAMES[3]), ("wrong_dim", NAMES[4]), ("non_finite", NAMES[8])]
    assert [problem.message for problem in first.problems] == [problem.message for problem in again.problems]
    (root / NAMES[3]).write_bytes(good)
    mended = load()
    assert (mended.files_read, len(mended.problems)) == (1, 2)
    np.testing.assert_array_equal(mended.matrix[mended.rows[:4]], expected(NAMES[:4]))


def test_a_file_found_under_another_suffix_is_verified_there(load: Load, root: Path) -> None:
    names = [name.replace(".npz", ".nii.gz") for name in NAMES]
    assert load(names).files_read == 700
    assert load(names).files_read == 0
    np.savez(root / NAMES[2], np.ones((1, 16), np.float32))
    changed = load(names)
    assert changed.files_read == 1
    np.testing.assert_array_equal(changed.matrix[changed.rows[2]], np.ones(16))


@pytest.mark.parametrize("damage", ["cut", "longer", "gone"])
@pytest.mark.parametrize("suffix", [".f32", ".npz", ".json"])
def test_a_damaged_pack_is_rebuilt(load: Load, tmp_path: Path, damage: str, suffix: str) -> None:
    load()
    (victim,) = [path for path in files_of(tmp_path) if path.suffix == suffix]
    content = victim.read_bytes()
    if damage == "gone":
        victim.unlink()
    else:
        victim.write_bytes(content[:-9] if damage == "cut" else b"\0" * 9 + content)
    again = load()
    assert again.files_read == 700
    np.testing.assert_array_equal(again.matrix[again.rows], expected(NAMES))
    assert load().files_read == 0


def test_rows_changed_on_the_disk_are_read_anew(load: Load, tmp_path: Path) -> None:
    load()
    (matrix,) = [path for path in files_of(tmp_path) if path.suffix == ".f32"]
    with matrix.open("r+b") as file:
        file.seek(64 * 10)
        file.write(bytes(64 * 3))
    again = load()
    assert again.files_read == 3
    np.testing.assert_array_equal(again.matrix[again.rows], expected(NAMES))


def test_the_matrix_may_be_written_to_without_harm(load: Load) -> None:
    load().matrix[:] = 0
    np.testing.assert_array_equal(load().matrix[load().rows], expected(NAMES))


def test_stopping_leaves_the_old_pack_and_no_rest(load: Load, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        load(progress=stop)
    assert [path for path in files_of(tmp_path) if path.suffix in (".f32", ".npz", ".json")] == []
    load(NAMES[:600])
    before = files_of(tmp_path)
    with pytest.raises(Stop):
        load(progress=stop)
    assert files_of(tmp_path) == before
    assert load(NAMES[:600]).files_read == 0


@pytest.mark.posix_files
def test_what_a_killed_writer_left_is_removed(load: Load, tmp_path: Path) -> None:
    load(NAMES[:600])
    folder, _ = only_pack(tmp_path)
    (folder / "20200101T000000Z-000000.f32").write_bytes(b"half")
    load()
    assert sorted(path.suffix for path in files_of(tmp_path) if path.name != "lock") == [".f32", ".json", ".npz"]


def test_reading_mode_uses_a_pack_and_writes_nothing(load: Load, tmp_path: Path, root: Path) -> None:
    assert load(mode="read").files_read == 700
    assert not (tmp_path / "cache").exists()
    load()
    before = {path: path.read_bytes() for path in files_of(tmp_path)}
    np.savez(root / NAMES[1], np.ones((1, 16), np.float32))
    changed = load(mode="read")
    assert changed.files_read == 1
    np.testing.assert_array_equal(changed.matrix[changed.rows[1]], np.ones(16))
    np.testing.assert_array_equal(changed.matrix[changed.rows[2:]], expected(NAMES[2:]))
    assert {path: path.read_bytes() for path in files_of(tmp_path)} == before


def test_few_small_files_are_not_kept_and_large_ones_are(load: Load, root: Path, tmp_path: Path) -> None:
    load(mode="auto")
    assert not (tmp_path / "cache").exists()
    for i in range(3):
        np.save(root / f"tokens{i}.npy", np.full((3_000_000, 4), i, np.float16))
    large = [f"tokens{i}.npy" for i in range(3)]
    assert load(large, mode="auto", pool="mean").matrix.tolist() == [[i] * 4 for i in range(3)]
    assert load(large, mode="auto", pool="mean").files_read == 0


def test_packs_of_another_key_pool_name_or_root_are_apart(load: Load, tmp_path: Path) -> None:
    for options in ({}, {"pool": "cls"}, {"key": "arr_0"}, {"name": "text"}):
        assert load(**options).files_read == 700
        assert load(**options).files_read == 0
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_files_exported_anew_with_another_width_replace_the_pack(load: Load, root: Path) -> None:
    load()
    for name in NAMES:
        np.savez(root / name, np.ones((1, 24), np.float32))
    wide = load()
    assert (wide.dim, wide.files_read, wide.problems) == (24, 700, [])
    assert load().files_read == 0


def test_the_commonest_width_wins_whatever_is_read_first(load: Load, root: Path) -> None:
    for name in NAMES[::100] + NAMES[-1:]:
        np.savez(root / name, np.ones((1, 24), np.float32))
    features = load()
    assert features.dim == 16
    assert {problem.kind for problem in features.problems} == {"wrong_dim"}
    assert load().files_read == 0


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind here")
def test_a_folder_without_rights_says_what_to_do(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=stat.S_IREAD | stat.S_IEXEC)
    with pytest.raises(RunError, match="cannot be written"):
        load()


def test_a_cache_that_is_a_file_says_what_to_do(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("x")
    with pytest.raises(RunError, match=r"packed store cannot be written\. .*paths.cache_dir"):
        load()


@pytest.mark.parametrize("slow", [False, True])
def test_one_thread_or_several_read_the_same(
    load: Load, monkeypatch: pytest.MonkeyPatch, root: Path, slow: bool
) -> None:
    (root / NAMES[50]).unlink()
    (root / NAMES[60]).write_bytes(b"")
    (root / "large.npy").write_bytes(b"x" * 70_000)
    names = [*NAMES, "large.npy", "ünï.npz", "a\0b.npz"]
    np.savez(root / "ünï.npz", vector(1))
    monkeypatch.setattr(gather, "BATCH", 64)
    alone = load(names, cache=None, workers=1)
    monkeypatch.setattr(gather, "_SLOW_FILE_S", 0 if slow else 1e9)
    several = load(names, cache=None, workers=0 if slow else 3)
    assert several.sample_prints.tobytes() == alone.sample_prints.tobytes()
    assert several.problems == alone.problems
    assert [problem.path for problem in alone.problems] == [NAMES[50], NAMES[60], "large.npy", "a\0b.npz"]


def test_links_that_lead_outside_the_allowed_folders_are_refused_from_a_pack_too(
    load: Load, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ctbench_core.errors import PathError

    np.savez(tmp_path / "secret.npz", vector(0))
    try:
        (root / "link.npz").symlink_to(tmp_path / "secret.npz")
    except OSError:
        pytest.skip("links cannot be made here")
    assert load([*NAMES, "link.npz"]).problems == []
    monkeypatch.setenv("CTBENCH_ROOTS", str(root))
    assert load().files_read == 0
    with pytest.raises(PathError, match="outside the allowed folders"):
        load([*NAMES, "link.npz"])


def test_fingerprints_tell_bits_apart() -> None:
    draw = np.random.default_rng(3)
    rows = draw.standard_normal((1, 33)).astype(np.float32).repeat(2_000, axis=0)
    # Two signs flipped, or two values swapped: what sums easily overlook.
    for i in range(1, len(rows)):
        pair = draw.choice(33, 2, replace=False)
        rows[i, pair] = -rows[i, pair] if i % 2 else rows[i, pair[::-1]]
    distinct = np.unique(rows, axis=0)
    assert len(np.unique(fingerprints(distinct))) == len(distinct)
    np.testing.assert_array_equal(fingerprints(rows[5:9]), fingerprints(rows)[5:9])


def test_the_pointer_is_plain(load: Load, tmp_path: Path) -> None:
    load()
    folder, pack = only_pack(tmp_path)
    assert pack is not None
    assert pack.path == folder / f"{json.loads((folder / 'current.json').read_text())['generation']}.f32"


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_fingerprints_are_those_of_stored_packs(kind: type) -> None:
    rows = np.random.default_rng(5).standard_normal((1100, 16)).astype(kind)
    weights = np.random.default_rng(20_261_123).integers(0, 2**64, 16, dtype=np.uint64)
    bits = rows.astype(np.float32).view(np.uint32).astype(np.uint64)
    np.testing.assert_array_equal(fingerprints(rows), (bits * weights).sum(axis=1, dtype=np.uint64))


def test_an_index_finds_its_own_names_some_of_them_and_others() -> None:
    index = Index.of([f"v{i}" for i in range(5)], 16)
    assert index.find([f"v{i}" for i in range(5)]).tolist() == [0, 1, 2, 3, 4]
    assert index.find(["v3", "other", "v0", "v3", "v1"]).tolist() == [3, -1, 0, 3, 1]
    assert index.find([]).tolist() == []


def test_names_are_shown_by_the_row_of_a_table_else_by_path() -> None:
    names = [row_name("a/part.npz", "train_1"), row_name("table.npz", ""), "file.npz", ""]
    assert shown_names(names) == ["train_1", "table.npz", "file.npz", ""]
    assert paths_of(names) == ["a/part.npz", "table.npz", "file.npz", ""]
