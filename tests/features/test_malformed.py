"""Over a hundred malformed inputs: each is read, or reported with its file, its rows and a fix."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ctbench_core.errors import FeatureError, PathError
from ctbench_core.features import list_arrays, load_features, read_vector, reading_fixes, require_usable

WIDTH = 16
VECTOR = np.arange(WIDTH, dtype=np.float32) / 7
Make = Callable[[Path], None]


class Trap:
    """Unpickling this makes a file beside it: proof that code ran."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def packed_npz(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, array)
    return stream.getvalue()


def pt(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def safetensors(header: bytes, data: bytes = VECTOR.tobytes()) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def header(shape: str, descr: str = "'<f4'", fortran: str = "False", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (118 - len(text) % 64) + b"\n"
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text


def entry(dtype: str = "F32", shape: str = "[16]", offsets: str = "[0, 64]") -> bytes:
    return f'{{"features": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}'.encode()


GOOD = {
    ".npz": npz(arr_0=VECTOR),
    ".npy": npy(VECTOR),
    ".pt": pt(torch.from_numpy(VECTOR)),
    ".pth": pt({"features": torch.from_numpy(VECTOR)}),
    ".safetensors": safetensors(entry()),
}
OBJECTS = np.array([{"a": 1}, None], dtype=object)
ZEROS = bytes(200 * 2**20)  # 200 MiB that deflate to 200 KiB


def bad_contents() -> dict[str, bytes]:
    """Return unusable contents by file name."""
    files: dict[str, bytes] = {}
    for suffix, whole in GOOD.items():
        kind = suffix[1:]
        files[f"{kind}-empty{suffix}"] = b""
        for share in (0.02, 0.3, 0.6, 0.9, 0.99):
            files[f"{kind}-cut-{share}{suffix}"] = whole[: int(share * len(whole))]
        files[f"{kind}-last-byte-lost{suffix}"] = whole[:-1]
        files[f"{kind}-noise{suffix}"] = np.random.default_rng(1).bytes(500)
        files[f"{kind}-text{suffix}"] = b"volumename,0,1,2\n" * 9
        files[f"{kind}-zeros{suffix}"] = bytes(len(whole))
        files[f"{kind}-html{suffix}"] = b"<!DOCTYPE html><title>404 Not Found</title>"
    for suffix in (".npz", ".npy", ".pt", ".pth"):
        files[f"pickled-list{suffix}"] = pickle.dumps([1, 2, 3])
        files[f"other-format{suffix}"] = GOOD[".safetensors"]
    wrong_shapes = {
        "scalar-width": np.float32(3.0),
        "other-width": np.ones(WIDTH + 1, np.float32),
        "empty-array": np.empty((0, WIDTH), np.float32),
        "grid": np.ones((40, 512), np.float32),
        "nan": np.full(WIDTH, np.nan, np.float32),
        "infinite": np.full(WIDTH, -np.inf),
        "beyond-float32": np.full(WIDTH, 1e300),
        "complex": np.full(WIDTH, 1j),
        "text": np.array(["a"] * WIDTH),
        "bytes": np.array([b"a"] * WIDTH),
        "dates": np.array(["2020-01-01"] * WIDTH, dtype="datetime64[D]"),
        "records": np.zeros(WIDTH, dtype=[("a", "<f4"), ("b", "<f4")]),
        "void": np.zeros(WIDTH, dtype="V4"),
    }
    for name, array in wrong_shapes.items():
        files[f"{name}.npy"] = npy(array)
        files[f"{name}.npz"] = npz(features=array)
    headers = {
        "terabytes": header("(1000000000000,)"),
        "more-than-there": header("(17,)"),
        "negative": header("(-16,)"),
        "no-tuple": header("16"),
        "code-in-header": header("(__import__('os').getpid(),)"),
        "deep-header": header("(" * 300 + "16" + ",)" * 300),
        "unknown-dtype": header("(16,)", "'<q9'"),
        "object-dtype": header("(16,)", "'|O'"),
        "odd-fortran": header("(16,)", fortran="7"),
        "version-3": header("(16,)", version=b"\x03\x00"),
        "version-9": header("(16,)", version=b"\x09\x00"),
    }
    for name, start in headers.items():
        files[f"{name}.npy"] = start + VECTOR.tobytes()
        files[f"in-archive-{name}.npz"] = archive({"arr_0.npy": start + VECTOR.tobytes()})
    files |= {
        "bomb.npz": archive({"arr_0.npy": header(f"({len(ZEROS) // 4},)") + ZEROS}, zipfile.ZIP_DEFLATED),
        "bomb.pt": archive({"archive/data.pkl": ZEROS, "archive/version": b"3"}, zipfile.ZIP_DEFLATED),
        "small-bomb.npz": packed_npz(np.zeros(2**22, np.float32)),
        "no-array.npz": archive({"readme.txt": b"hello"}),
        "no-member.npz": archive({}),
        "npy-inside-is-text.npz": archive({"arr_0.npy": b"hello"}),
        "lzma-cut.npz": archive({"arr_0.npy": GOOD[".npy"]}, zipfile.ZIP_LZMA)[:-60],
        "bzip2-broken.npz": archive({"arr_0.npy": GOOD[".npy"]}, zipfile.ZIP_BZIP2).replace(b"BZh9", b"BZh0"),
        "encrypted.npz": GOOD[".npz"].replace(b"PK\x01\x02-\x03-\x00\x00\x00", b"PK\x01\x02-\x03-\x00\x01\x00"),
        "flipped-value.npz": GOOD[".npz"][:200] + bytes([GOOD[".npz"][200] ^ 1]) + GOOD[".npz"][201:],
        "objects.npy": objects_npy(),
        "objects.npz": archive({"arr_0.npy": objects_npy()}),
        "list.pt": pt([1.0] * WIDTH),
        "no-tensor.pt": pt({"name": "x", "size": 3}),
        "number.pt": pt(3.5),
        "complex.pt": pt(torch.full((WIDTH,), 1j)),
        "sparse.pt": pt(torch.eye(4).to_sparse()),
        "expanded.pt": pt(torch.zeros(1).expand(10**6, 10**6)),
        "nan.pt": pt(torch.full((WIDTH,), torch.nan)),
        "wide.pt": pt(torch.zeros(WIDTH + 1)),
        "legacy-cut.pt": legacy_pt()[:-70],
        "header-too-long.safetensors": struct.pack("<Q", 2**60) + entry(),
        "header-no-json.safetensors": safetensors(b"{" * 40),
        "header-list.safetensors": safetensors(b"[1, 2]"),
        "header-deep.safetensors": safetensors(b"[" * 100_000),
        "no-tensor.safetensors": safetensors(b'{"__metadata__": {"a": "b"}}'),
        "unknown-dtype.safetensors": safetensors(entry(dtype="F3")),
        "negative.safetensors": safetensors(entry(shape="[-4, -4]")),
        "offsets-outside.safetensors": safetensors(entry(offsets="[64, 128]")),
        "offsets-before.safetensors": safetensors(entry(offsets="[-64, 0]")),
        "offsets-unlike-shape.safetensors": safetensors(entry(offsets="[0, 60]")),
        "offsets-text.safetensors": safetensors(entry(offsets='["0", "64"]')),
        "shape-huge.safetensors": safetensors(entry(shape="[1e308, 9]")),
        "raw-volume.nii.gz": b"\x1f\x8b" + bytes(64),
        "table.csv": b"1,2,3",
        "no-suffix": b"1,2,3",
    }
    return files


def objects_npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, OBJECTS, allow_pickle=True)
    return stream.getvalue()


def legacy_pt() -> bytes:
    stream = io.BytesIO()
    torch.save(torch.from_numpy(VECTOR), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


BAD = bad_contents()
ADVICE = re.compile(r"\b([Ee]xport|Save|Set data\.|Pool|Give)\b")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root of the malformed files and five good ones of each format."""
    folder = tmp_path_factory.mktemp("malformed")
    for name, content in BAD.items():
        (folder / name).write_bytes(content)
    for suffix, content in GOOD.items():
        for i in range(40):
            (folder / f"good{i}{suffix}").write_bytes(content)
    return folder


def good_names() -> list[str]:
    return [f"good{i}{suffix}" for suffix in GOOD for i in range(40)]


def test_there_are_a_hundred() -> None:
    assert len(BAD) >= 100


@pytest.mark.parametrize("cache", [False, True])
def test_each_is_named_with_its_row_and_the_good_ones_work(root: Path, tmp_path: Path, cache: bool) -> None:
    written = [*good_names(), *BAD]
    options = {"cache": tmp_path / "cache", "mode": "always"} if cache else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile and torch remark on some before they give up
        features = load_features(root, written, **options)  # type: ignore[arg-type]
    named = {problem.path: problem for problem in features.problems}
    passed = sorted(set(BAD) - set(named))
    assert passed == []
    assert set(named) == set(BAD)
    for i, name in enumerate(written):
        if name in named:
            assert named[name].samples == (i,)
            assert name.removesuffix(".nii.gz") in named[name].message
            assert ADVICE.search(named[name].message), named[name].message
            assert "\n" not in named[name].message
    good = features.rows[: len(good_names())]
    np.testing.assert_array_equal(features.matrix[good], np.tile(VECTOR, (len(good), 1)))
    with pytest.raises(FeatureError, match=r"feature files cannot be used(.|\n)*Used by m.csv line \d+"):
        require_usable(features, "here", [f"m.csv line {i + 2}" for i in range(len(written))])


@pytest.mark.parametrize("shape", ['"8"', "[8.5]", "null", "[-16]", "[[16]]"])
def test_a_safetensors_header_of_another_form_offers_no_array(tmp_path: Path, shape: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(safetensors(entry(shape=shape)))
    for read in (list_arrays, read_vector):
        with pytest.raises(FeatureError, match="its header is damaged"):
            read(tmp_path / "x.safetensors")
    assert reading_fixes(tmp_path, "x.safetensors", None, "flatten") == []


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".pt", ".pth"])
@pytest.mark.parametrize("count", [1, 12])
def test_no_pickle_is_ever_run(tmp_path: Path, suffix: str, count: int) -> None:
    """One alone, and several of one size, which are read together."""
    proof = tmp_path / "code-ran"
    trap = pickle.dumps(Trap(proof), protocol=2)
    names = [f"{i:03}{suffix}" for i in range(count)]
    for name in names:
        member = {".npz": archive({"arr_0.npy": trap})}.get(suffix, archive({"a/data.pkl": trap, "a/version": b"3\n"}))
        (tmp_path / name).write_bytes(trap if suffix == ".npy" else member)
    np.save(tmp_path / "good.npy", VECTOR)
    features = load_features(tmp_path, [*names, "good.npy"])
    assert [problem.kind for problem in features.problems] == ["unreadable"] * count
    assert not proof.exists()


def test_unusual_names_work_or_are_named(tmp_path: Path) -> None:
    good = [
        "ünïcödé/肺.npy",
        "with space, and comma.npy",
        "a'b\"c.npy",
        "#hash%20.npy",
        "emoji🫁.npy",
        "x" * 240 + ".npy",
    ]
    if os.name == "nt":
        good = [name for name in good if '"' not in name]
    for name in good:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, VECTOR)
    bad = ["y" * 300 + ".npy", "z" * 300 + "/a.npy", "nul\0in.npy", "\udcff.npy", " ", ".", "", "a\nb.npy"]
    features = load_features(tmp_path, [*good, *bad])
    assert [problem.path for problem in features.problems] == bad
    assert (features.rows[: len(good)] >= 0).all()
    assert all(problem.message for problem in features.problems)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights or do not exist")
def test_links_folders_and_pipes_work_or_are_named_and_none_hangs(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", VECTOR)
    (tmp_path / "link.npy").symlink_to(tmp_path / "good.npy")
    (tmp_path / "deep").symlink_to(tmp_path)
    (tmp_path / "dangling.npy").symlink_to(tmp_path / "nowhere.npy")
    (tmp_path / "loop.npy").symlink_to(tmp_path / "loop.npy")
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "device.npy").symlink_to("/dev/zero")
    bad = ["dangling.npy", "loop.npy", "folder.npy", "pipe.npy", "device.npy"]
    features = load_features(tmp_path, ["link.npy", "deep/deep/good.npy", *bad])
    assert [problem.path for problem in features.problems] == bad
    assert (features.rows[:2] >= 0).all()
    with pytest.raises(PathError, match="points outside the feature root"):
        load_features(tmp_path, ["good.npy", "deep/../../x.npy"])


def test_a_huge_sparse_file_is_refused_unread(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", VECTOR)
    with (tmp_path / "huge.npy").open("wb") as file:
        file.truncate(2**34)
    features = load_features(tmp_path, ["good.npy", "huge.npy"])
    assert "17,179,869,184 bytes" in features.problems[0].message


def test_zero_norm_passes_with_a_note_and_odd_but_sound_files_work(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", VECTOR)
    np.save(tmp_path / "zero.npy", np.zeros(WIDTH, np.float32))
    (tmp_path / "trailing.npy").write_bytes(npy(VECTOR) + b"trailing")
    (tmp_path / "commented.npz").write_bytes(GOOD[".npz"][:-2] + b"\x05\x00hello")
    (tmp_path / "lzma.npz").write_bytes(archive({"arr_0.npy": GOOD[".npy"]}, zipfile.ZIP_LZMA))
    (tmp_path / "version2.npy").write_bytes(header("(16,)", version=b"\x02\x00") + VECTOR.tobytes())
    names = ["good.npy", "zero.npy", "trailing.npy", "commented.npz", "lzma.npz", "version2.npy"]
    features = load_features(tmp_path, names)
    assert features.problems == []
    assert features.notes == {"zero_norm": ["zero.npy"]}
    for i in (2, 3, 4, 5):
        np.testing.assert_array_equal(features.matrix[features.rows[i]], VECTOR)
