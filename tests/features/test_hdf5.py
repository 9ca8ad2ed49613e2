"""HDF5: one file a case, ids and a matrix, one data set an id; what refers to other files is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ctbench_core.errors import FeatureError
from ctbench_core.features import load_features
from ctbench_core.features.blocks import make_template
from ctbench_core.features.tables import read_vector_table
from ctbench_core.features.vector import parse_vector, read_vector

VECTOR = np.arange(8, dtype=np.float32)


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (4,)}, {"chunks": (4,), "compression": "gzip"}, {"dtype": "f8"}, {"dtype": ">f4"}],
    ids=str,
)
def test_a_case_is_one_data_set(tmp_path: Path, options: dict) -> None:
    with h5py.File(tmp_path / "case.h5", "w") as file:
        file.create_dataset("y_hat", data=VECTOR, **options)
        file["label"] = 1
    np.testing.assert_array_equal(read_vector(tmp_path / "case.h5"), VECTOR)


def test_the_entry_is_named_or_usual_and_tokens_are_pooled(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).normal(size=(1, 5, 8)).astype(np.float32)
    with h5py.File(tmp_path / "slide.hdf5", "w") as file:
        file["features"], file["coords"] = tokens, np.zeros((5, 2), int)
        file["region/heart"] = VECTOR
    np.testing.assert_allclose(read_vector(tmp_path / "slide.hdf5", pool="mean"), tokens[0].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(read_vector(tmp_path / "slide.hdf5", "region/heart"), VECTOR)
    with pytest.raises(FeatureError, match="it has no array 'lung'; it has coords"):
        read_vector(tmp_path / "slide.hdf5", "lung")


def test_files_of_one_export_are_read_as_blocks(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 8)).astype(np.float32)
    for k, vector in enumerate(vectors):
        with h5py.File(tmp_path / f"{k:02}.h5", "w") as file:
            file["y_hat"] = vector
    content = (tmp_path / "00.h5").read_bytes()
    assert make_template("00.h5", content, None, "flatten") is not None
    found = load_features(tmp_path, [f"{k:02}.h5" for k in range(40)])
    np.testing.assert_array_equal(found.matrix[found.rows], vectors)


@pytest.mark.parametrize("texts", ["S8", h5py.string_dtype()], ids=["fixed", "variable"])
def test_ids_and_a_matrix_are_a_table(tmp_path: Path, texts: object) -> None:
    matrix = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_dataset("case_id", data=["a", "b", "c"], dtype=texts)
        file["embedding"] = matrix
    for root, paths in ((tmp_path / "all.h5", ["c", "a"]), (tmp_path, ["all.h5", "all.h5"])):
        found = load_features(root, paths, ids=["c", "a"])
        np.testing.assert_array_equal(found.matrix[found.rows], matrix[[2, 0]])


@pytest.mark.parametrize("name", ["{}", "{}/features", "scans/{}"])
@pytest.mark.parametrize("options", [{}, {"chunks": (4,)}], ids=["whole", "chunks"])
def test_one_data_set_an_id_is_a_table(tmp_path: Path, name: str, options: dict) -> None:
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for k in range(5):
            file.create_dataset(name.format(f"case_{k}"), data=VECTOR + k, **options)
            if name == "{}/features":
                file[f"case_{k}/coords"] = np.zeros((2, 3))
    if name == "scans/{}":
        with pytest.raises(FeatureError, match="no data set an id"):
            read_vector_table(tmp_path / "all.h5")
        return
    table = read_vector_table(tmp_path / "all.h5")
    np.testing.assert_array_equal(table.matrix[table.row_of["case_3"]], VECTOR + 3)
    assert len(table.row_of) == 5


def test_tokens_of_an_id_are_pooled(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["a"], file["b"] = tokens[0], tokens[1][:3]
    table = read_vector_table(tmp_path / "all.h5", pool="mean")
    np.testing.assert_allclose(table.matrix, [tokens[0].mean(axis=0), tokens[1][:3].mean(axis=0)], rtol=1e-6)
    with pytest.raises(FeatureError, match=r"b has 24 values, earlier ids 48. Pool its tokens with data.pool=mean"):
        read_vector_table(tmp_path / "all.h5")


def _external_link(file: h5py.File, other: Path) -> None:
    file["features"] = h5py.ExternalLink(str(other), "secret")


def _virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((8,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "secret", (8,))
    file.create_virtual_dataset("features", layout)


def _external_storage(file: h5py.File, other: Path) -> None:
    file.create_dataset("features", (8,), "f4", external=[(str(other), 0, 32)])


@pytest.mark.parametrize("refer", [_external_link, _virtual, _external_storage])
@pytest.mark.parametrize("is_table", [False, True])
def test_a_file_that_refers_to_others_is_refused(tmp_path: Path, refer: object, is_table: bool) -> None:
    other = tmp_path / "outside.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = VECTOR
    (tmp_path / "root").mkdir()
    path = tmp_path / "root" / "case.h5"
    with h5py.File(path, "w") as file:
        refer(file, other)  # type: ignore[operator]
        file["other"] = VECTOR
        if is_table:
            file.move("features", "case_1") if refer is not _external_link else None
    with pytest.raises(FeatureError, match=r"refers to other files \(.*Save the values in the file itself"):
        read_vector_table(path) if is_table else read_vector(path)


def test_a_soft_link_out_of_the_file_is_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "case.h5", "w") as file:
        file["features"] = h5py.SoftLink("/nowhere")
        file["y_hat"] = VECTOR
    np.testing.assert_array_equal(read_vector(tmp_path / "case.h5"), VECTOR)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("features", (2**28,), "f4", chunks=(2**20,), compression="gzip")
    with pytest.raises(FeatureError, match="damaged or hostile"):
        read_vector(tmp_path / "bomb.h5")


def test_damaged_files_are_errors(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "case.h5", "w") as file:
        file["features"] = VECTOR
    content = (tmp_path / "case.h5").read_bytes()
    draw = np.random.default_rng(0)
    values = content.index(VECTOR.tobytes())
    for cut in [0, 7, 100, values, values + 5, *draw.integers(8, len(content) - 40, 30).tolist()]:
        with pytest.raises(FeatureError, match=r"case\.h5"):
            parse_vector("case.h5", content[: min(cut, values + 20)], None, "flatten")
    for text in (b"not HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)):
        with pytest.raises(FeatureError, match="Re-export it"):
            parse_vector("case.h5", text, None, "flatten")
