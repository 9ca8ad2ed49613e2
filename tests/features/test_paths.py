"""Paths as written and the files they mean, inside the allowed folders only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ctbench_core.declared import vector_suffixes
from ctbench_core.errors import PathError
from ctbench_core.features import allowed_roots, check_allowed, find_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a feature root with image/one.npz and, beside it, a secret."""
    folder = tmp_path / "features"
    (folder / "image").mkdir(parents=True)
    (folder / "image" / "one.npz").write_bytes(b"x")
    (tmp_path / "secret.npz").write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    "written",
    [
        "image/one.npz",
        "image\\one.npz",
        "/image/one.npz",
        "\\image\\one.npz",
        "./image//one.npz",
        "image/../image/one.npz",
        "image/one.nii.gz",
        "image/one.nii",
        "image/one.npz.nii.gz",
        "image/one.nii.gz.npz",
        "image/one",
        "image/one.pt",
        "image/one.npy",
    ],
)
def test_ways_of_writing_the_same_file(root: Path, written: str) -> None:
    path = find_file(root, written)
    assert path is not None
    assert path.samefile(root / "image" / "one.npz")


@pytest.mark.parametrize("suffix", vector_suffixes())
def test_another_known_suffix_on_disk_is_found(root: Path, suffix: str) -> None:
    (root / f"two{suffix}").write_bytes(b"x")
    assert find_file(root, "two.npz") == root / f"two{suffix}"


def test_the_written_suffix_comes_first(root: Path) -> None:
    (root / "image" / "one.npy").write_bytes(b"x")
    assert find_file(root, "image/one.npy") == root / "image" / "one.npy"
    assert find_file(root, "image/one.npz") == root / "image" / "one.npz"


def test_an_image_of_the_same_name_is_not_taken_for_its_features(root: Path) -> None:
    (root / "image" / "one.nii.gz").write_bytes(b"the raw volume")
    assert find_file(root, "image/one.nii.gz") == root / "image" / "one.npz"


def test_dots_in_a_name_are_kept(root: Path) -> None:
    (root / "one.2.840.npz").write_bytes(b"x")
    assert find_file(root, "one.2.840") == root / "one.2.840.npz"


def test_a_folder_or_nothing_is_no_file(root: Path) -> None:
    assert find_file(root, "image") is None
    assert find_file(root, "image/none.npz") is None


@pytest.mark.parametrize(
    "written",
    ["../secret.npz", "..\\secret.npz", "image/../../secret.npz", "/../secret.npz", "image\\..\\..\\secret.npz", ".."],
)
def test_climbing_out_is_refused_and_named(root: Path, written: str) -> None:
    with pytest.raises(PathError, match=r"points outside the feature root"):
        find_file(root, written)


def test_absolute_paths_are_followed_on_ones_own_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CTBENCH_ROOTS", raising=False)
    outside = root.parent / "secret.npz"
    assert find_file(root, str(outside)) == outside


def test_absolute_paths_outside_the_allowed_folders_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTBENCH_ROOTS", str(root))
    assert find_file(root, "image/one.npz") is not None
    with pytest.raises(PathError, match=r"secret.npz lies outside the allowed folders.*CTBENCH_ROOTS"):
        find_file(root, str(root.parent / "secret.npz"))


@pytest.mark.skipif(os.name == "nt", reason="making links needs rights that Windows users rarely have")
def test_links_are_followed_but_lead_nowhere_forbidden(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link.npz").symlink_to(root.parent / "secret.npz")
    (root / "inner.npz").symlink_to(root / "image" / "one.npz")
    monkeypatch.delenv("CTBENCH_ROOTS", raising=False)
    assert find_file(root, "link.npz") is not None
    monkeypatch.setenv("CTBENCH_ROOTS", str(root))
    assert find_file(root, "inner.npz") is not None
    with pytest.raises(PathError, match="outside the allowed folders"):
        find_file(root, "link.npz")


def test_allowed_folders_are_a_list_and_names_alike_are_not_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "ab"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")]))
    assert allowed_roots() == ((tmp_path / "a").resolve(), (tmp_path / "b").resolve())
    assert check_allowed(tmp_path / "b" / "new" / "file") == tmp_path / "b" / "new" / "file"
    for outside in (tmp_path / "ab", tmp_path, tmp_path / "a" / ".." / "ab"):
        with pytest.raises(PathError):
            check_allowed(outside)
    monkeypatch.setenv("CTBENCH_ROOTS", "")
    assert check_allowed(tmp_path / "ab") == tmp_path / "ab"
