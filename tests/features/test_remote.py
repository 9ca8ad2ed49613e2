"""Features and manifests at URLs: copied once, verified, resumed; secrets and places outside CTBENCH_ROOTS refused."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ctbench_core.config import Config, PathsConfig, from_mapping, set_key
from ctbench_core.dataset import check_paths, manifest_path, read_training_manifests
from ctbench_core.errors import ConfigError, FeatureError, ManifestError, PathError
from ctbench_core.features import FeatureMatrix, check_allowed, find_file, load_features, written_place
from ctbench_core.features.reader import FileReader
from ctbench_core.features.remote import encoded_name

NAMES = [f"{k}.npy" for k in range(6)]
VECTORS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
ROOT = "memory://bucket/features"


def put(name: str, vector: np.ndarray) -> None:
    with fsspec.open(f"{ROOT}/{name}", "wb") as file:
        np.save(file, vector)


@pytest.fixture
def store() -> Iterator[MemoryFileSystem]:
    files = fsspec.filesystem("memory")
    for name, vector in zip(NAMES, VECTORS):
        put(name, vector)
    yield files
    files.rm("/", recursive=True)


@pytest.fixture
def copied(store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the copies of each object; one named in ``fails`` stops the copy."""
    counts: Counter[str] = Counter()
    read = MemoryFileSystem.cat_file

    def counted(self: MemoryFileSystem, path: str, *rest: object, **options: object) -> bytes:
        counts[Path(path).name] += 1
        return read(self, path, *rest, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counted)
    return counts


def load(cache: Path, paths: list[str] = NAMES, root: str = ROOT, **options: object) -> FeatureMatrix:
    return load_features(root, paths, cache=cache, **options)


def test_objects_are_copied_once(tmp_path: Path, copied: Counter[str]) -> None:
    put("unused.npy", VECTORS[0])
    for _ in range(2):
        found = load(tmp_path)
        np.testing.assert_array_equal(found.matrix[found.rows], VECTORS)
    assert copied == dict.fromkeys(NAMES, 1)


def test_a_changed_object_of_the_same_size_is_copied_again(tmp_path: Path, copied: Counter[str]) -> None:
    load(tmp_path, mode="always")
    put("2.npy", VECTORS[2] + 1)
    found = load(tmp_path, mode="always")
    np.testing.assert_array_equal(found.matrix[found.rows][2], VECTORS[2] + 1)
    assert copied == dict.fromkeys(NAMES, 1) | {"2.npy": 2}
    assert found.files_read == 1


def test_a_removed_object_is_missing(tmp_path: Path, store: MemoryFileSystem) -> None:
    load(tmp_path, mode="always")
    store.rm("/bucket/features/3.npy")
    (problem,) = load(tmp_path, mode="always").problems
    assert (problem.kind, problem.path, problem.samples) == ("missing", "3.npy", (3,))


def test_an_interrupted_copy_goes_on_where_it_stopped(tmp_path: Path, copied: Counter[str]) -> None:
    done: list[int] = []

    def interrupt(count: int, total: int) -> None:
        done.append(count)
        if count == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(tmp_path, progress=interrupt)
    assert done[-1] == 4
    kept = [json.loads(line)[0] for line in (tmp_path / ".remote/memory/index.jsonl").read_text().splitlines()]
    assert len(kept) == 4
    found = load(tmp_path)
    np.testing.assert_array_equal(found.matrix[found.rows], VECTORS)
    assert all(copied[url.rsplit("/", 1)[1]] == 1 for url in kept)


def test_a_damaged_copy_is_copied_again(tmp_path: Path, copied: Counter[str]) -> None:
    load(tmp_path)
    (tmp_path / ".remote/memory/bucket/features/1.npy").write_bytes(b"short")
    found = load(tmp_path)
    np.testing.assert_array_equal(found.matrix[found.rows], VECTORS)
    assert copied["1.npy"] == 2 and copied["0.npy"] == 1


def test_one_table_may_be_the_root(tmp_path: Path, store: MemoryFileSystem) -> None:
    with fsspec.open(f"{ROOT}/all.npz", "wb") as file:
        np.savez(file, ids=np.array(["a", "b", "c"]), features=VECTORS[:3])
    found = load(tmp_path, ["", ""], f"{ROOT}/all.npz", ids=["c", "a"])
    np.testing.assert_array_equal(found.matrix[found.rows], VECTORS[[2, 0]])


def test_names_that_windows_refuses_are_encoded_in_the_copy(tmp_path: Path, store: MemoryFileSystem) -> None:
    for name, vector in zip(("a:b.npy", "sub/con.npy", "100%.npy"), VECTORS):
        put(name, vector)
    found = load(tmp_path, ["a:b.npy", "sub/con.npy", "100%.npy", "4"])
    np.testing.assert_array_equal(found.matrix[found.rows], VECTORS[[0, 1, 2, 4]])
    assert (tmp_path / ".remote/memory/bucket/features/a%3Ab.npy").is_file()
    assert encoded_name("train/case_1.npz") == "train/case_1.npz"


ODD = ["a:b.npy", "con.npz", "sub/nul", "dot..npy", "space .npy", "100%.npy", "a%3Ab.npy"]


def test_encoded_names_are_reported_as_written_and_go_with_their_objects(
    tmp_path: Path, store: MemoryFileSystem
) -> None:
    written = [name.removesuffix(".npy") for name in ODD]  # the suffix is found, also behind a dot or a blank
    for name, vector in zip(ODD, np.random.default_rng(1).normal(size=(len(ODD), 4)).astype(np.float32)):
        with fsspec.open(f"{ROOT}/{name}", "wb") as file:
            np.savez(file, vector) if name == "con.npz" else np.save(file, vector)
    paths = [*written[:2], "sub/nul.npy", *written[3:], "0.npy"]
    put("sub/nul.npy", VECTORS[1])
    assert (load(tmp_path, paths).rows >= 0).all()
    put("a:b.npy", np.full(4, np.nan, np.float32))
    (problem,) = load(tmp_path, paths).problems
    assert problem.path == "a:b" and problem.message.startswith("a:b has NaN")
    copies = tmp_path / ".remote/memory/bucket/features"
    assert len([path for path in copies.rglob("*") if path.is_file()]) == len(paths)
    store.rm("/bucket/features", recursive=True)
    put("0.npy", VECTORS[0])
    problems = load(tmp_path, paths).problems
    assert [(problem.kind, problem.path) for problem in problems] == [("missing", path) for path in paths[:-1]]
    assert all(problem.message.startswith(f"{problem.path} is missing") for problem in problems)
    assert [path.name for path in copies.rglob("*") if path.is_file()] == ["0.npy"]


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path, store: MemoryFileSystem) -> None:
    put("A.npy", VECTORS[0])
    put("a.npy", VECTORS[1])
    with pytest.raises(FeatureError, match=r"A\.npy and a\.npy differ in case only"):
        load(tmp_path, ["A.npy", "a.npy"])


def test_a_store_without_files_is_refused(tmp_path: Path, store: MemoryFileSystem) -> None:
    with pytest.raises(FeatureError, match=r"memory://bucket/other has no files\. Check paths\.data_root"):
        load(tmp_path, root="memory://bucket/other")


@pytest.mark.parametrize(("module", "url"), [("fsspec", ROOT), ("s3fs", "s3://bucket/features")])
def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, url: str
) -> None:
    monkeypatch.delitem(
        sys.modules["fsspec.registry"]._registry, "s3", raising=False
    )  # once imported, it is kept there
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FeatureError, match=r"needs a package.*pip install 'ctbench\[remote\]'") as error:
        load(tmp_path, root=url)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    ["s3://key:secret@bucket/x", "s3://key:sec/secret@bucket/x", "s3://secret@bucket/x", "https://host/x?token=secret"],
)
def test_secrets_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    for refuse in (
        lambda: check_paths(Config(paths=PathsConfig(data_root=url))),
        lambda: set_key(Config(), "paths.manifest_dir", url),
        lambda: from_mapping({"data": {"test_manifests": ["test.csv", url]}}),
    ):
        with pytest.raises(ConfigError, match="would be stored with every run") as error:
            refuse()
        assert "secret" not in str(error.value)


def test_urls_must_be_named_in_ctbench_roots(
    tmp_path: Path, store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(paths=PathsConfig(data_root=ROOT, outputs_root=str(tmp_path / "outputs")))
    for roots in ([tmp_path], [tmp_path, "memory://bucket/feat"], ["memory://other"]):
        monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join(map(str, roots)))
        with pytest.raises(
            PathError, match=r"memory://bucket/features lies outside.*CTBENCH_ROOTS|outputs lies outside"
        ):
            check_paths(config)
        with pytest.raises(PathError, match=r"memory://bucket/features lies outside"):
            load(tmp_path)
    monkeypatch.setenv("CTBENCH_ROOTS", os.pathsep.join(["memory://bucket", str(tmp_path)]))
    check_paths(config)
    assert len(load(tmp_path).matrix) == 6
    with pytest.raises(PathError, match="lies outside"):
        load(tmp_path, root="memory://bucket/../other")


def test_roots_of_urls_alone_refuse_every_folder(
    tmp_path: Path, store: MemoryFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "0.npy", VECTORS[0])
    reader, pack = FileReader(tmp_path, None, "flatten"), load_features(tmp_path, ["0.npy"], cache=tmp_path / "cache")
    assert not reader.limited and len(pack.matrix) == 1
    monkeypatch.setenv("CTBENCH_ROOTS", "memory://bucket")
    assert FileReader(tmp_path, None, "flatten").limited
    for refused in (
        lambda: find_file(tmp_path, "0.npy"),
        lambda: check_allowed(tmp_path),
        lambda: load_features(tmp_path, ["0.npy"], cache=tmp_path / "cache"),
        lambda: load(tmp_path / "copies"),  # refused before anything is copied there
    ):
        with pytest.raises(PathError, match=r"lies outside the allowed folders \(memory://bucket\)"):
            refused()
    assert not (tmp_path / "copies").exists()


def test_manifests_are_copied_and_errors_name_the_url(tmp_path: Path, store: MemoryFileSystem) -> None:
    paths = PathsConfig(data_root=ROOT, manifest_dir="memory://bucket/lists", outputs_root=str(tmp_path))
    with fsspec.open("memory://bucket/lists/train.csv", "w") as file:
        file.write("volumename,visual_feature_path,Nodule\n")
        file.writelines(f"train_{k}_a_1,{k}.npy,{k % 2}\n" for k in range(6))
    manifests, warnings = read_training_manifests(Config(paths=paths))
    assert len(manifests["train"]) + len(manifests["val"]) == 6
    assert "Validation manifest valid.csv does not exist" in warnings[0]
    assert written_place(manifests["train"].path) == "memory://bucket/lists/train.csv"
    store.rm("/bucket/lists/train.csv")
    with pytest.raises(ManifestError, match=r"^memory://bucket/lists/train.csv does not exist"):
        read_training_manifests(Config(paths=paths))
    config = Config(paths=PathsConfig(outputs_root=str(tmp_path)))
    assert not manifest_path(config, "memory://bucket/lists/other.csv").exists()


def test_errors_of_a_manifest_at_a_url_name_it_and_keep_their_fixes(store: MemoryFileSystem, tmp_path: Path) -> None:
    rows = "".join(f"v{k},{k}.npy,{k % 2},{'-1' if k == 3 else k % 2}\n" for k in range(6))
    with fsspec.open("memory://bucket/lists/train.csv", "wb") as file:
        file.write(f"volumename,visual_feature_path,A,B\n{rows}".encode())
    paths = PathsConfig(data_root=ROOT, manifest_dir="memory://bucket/lists", outputs_root=str(tmp_path))
    with pytest.raises(ManifestError, match=r"^memory://bucket/lists/train.csv: label column 'B' has '-1'") as failure:
        read_training_manifests(Config(paths=paths))
    assert [dict(fix.values) for fix in failure.value.fixes][:1] == [{"data.labels.uncertain": "unknown"}]
    assert str(tmp_path) not in str(failure.value)
