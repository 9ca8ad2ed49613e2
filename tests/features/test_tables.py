"""One table for all volumes: Parquet, Arrow, and .npz of ids and a matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctbench_core.errors import FeatureError
from ctbench_core.features import load_features
from ctbench_core.features.tables import canonical_id, canonical_ids

IDS = [f"train_{i}_a_1" for i in range(30)]
MATRIX = np.random.default_rng(2).standard_normal((30, 6)).astype(np.float32)


def fixed(matrix: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def lists(ids: list[str] = IDS, matrix: np.ndarray = MATRIX, column: str = "volumename") -> pa.Table:
    return pa.table({column: ids, "age": list(range(len(ids))), "features": fixed(matrix)})


def per_dimension(kind: Any = np.float32) -> pa.Table:
    columns = {f"f{i}": MATRIX[:, i].astype(kind) for i in range(6)}
    return pa.table({"id": IDS, "age": list(range(30)), **columns})


def write_ipc(table: pa.Table, path: Path, stream: bool = False) -> None:
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table, 7)


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "parquet": ("all.parquet", lambda path: pq.write_table(lists(), path, row_group_size=7)),
    "parquet-list": ("all.pq", lambda path: pq.write_table(pa.table({"id": IDS, "v": MATRIX.tolist()}), path)),
    "parquet-half": ("all.parquet", lambda path: pq.write_table(lists(matrix=MATRIX.astype(np.float16)), path)),
    "parquet-double": ("all.parquet", lambda path: pq.write_table(lists(matrix=MATRIX.astype(np.float64)), path)),
    "parquet-columns": ("all.parquet", lambda path: pq.write_table(per_dimension(), path)),
    "parquet-ids-last": ("all.parquet", lambda path: pq.write_table(lists().select([2, 1, 0]), path)),
    "arrow": ("all.arrow", lambda path: write_ipc(lists(), path)),
    "arrow-stream": ("all.ipc", lambda path: write_ipc(lists(), path, stream=True)),
    "feather": ("all.feather", lambda path: pa.feather.write_feather(lists(), str(path))),
    "npz": ("all.npz", lambda path: np.savez(path, ids=np.array(IDS), matrix=MATRIX)),
    "npz-bytes": ("all.npz", lambda path: np.savez_compressed(path, features=MATRIX, names=np.array(IDS, dtype="S"))),
}


@pytest.fixture(params=WRITERS)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return each kind of table in turn."""
    import pyarrow.feather  # noqa: F401

    name, write = WRITERS[request.param]
    write(tmp_path / name)
    return tmp_path / name


def close(vectors: np.ndarray, expected: np.ndarray, table: Path) -> None:
    np.testing.assert_allclose(vectors, expected, rtol=2e-3)  # half precision is among them


def test_each_row_finds_its_volume_through_the_manifests_path(table: Path) -> None:
    ids = IDS[::-3]
    features = load_features(table.parent, [table.name] * len(ids), ids=ids)
    close(features.matrix[features.rows], MATRIX[::-3], table)
    assert (features.dim, features.files, features.problems) == (6, 1, [])


def test_a_table_may_be_the_root(table: Path) -> None:
    written = [f"image/{name}.npz" for name in IDS[5:9]]
    features = load_features(table, written)
    close(features.matrix[features.rows], MATRIX[5:9], table)
    assert features.matrix.shape == (4, 6)
    named = load_features(table, ["x"] * 2, ids=["train_3_a_1.nii.gz", IDS[4]])
    close(named.matrix[named.rows], MATRIX[3:5], table)


def test_a_volume_without_a_row_is_named(table: Path) -> None:
    features = load_features(table.parent, [table.name] * 3, ids=[IDS[0], "train_99_a_1", IDS[1]])
    assert features.rows.tolist() == [0, -1, 1]
    (problem,) = features.problems
    assert (problem.kind, problem.samples) == ("missing", (1,))
    assert "has no row for train_99_a_1" in problem.message


def test_tables_and_files_may_stand_side_by_side(table: Path) -> None:
    np.save(table.parent / "one.npy", np.ones(6, np.float32))
    features = load_features(table.parent, ["one.npy", table.name, table.name], ids=["x", IDS[2], IDS[3]])
    close(features.matrix[features.rows], np.stack([np.ones(6), MATRIX[2], MATRIX[3]]), table)
    np.save(table.parent / "one.npy", np.ones(5, np.float32))
    names = ["one.npy", table.name, table.name]
    (odd,) = load_features(table.parent, names, ids=["x", IDS[2], IDS[3]]).problems
    assert (odd.kind, odd.samples) == ("wrong_dim", (0,))
    assert odd.message.startswith("one.npy has 5 dimensions, the other files 6.")


def test_a_table_is_found_beside_a_pack(table: Path, tmp_path: Path) -> None:
    for i in range(5):
        np.save(table.parent / f"{i}.npy", np.full(6, i, np.float32))
    written = [*(f"{i}.npy" for i in range(5)), table.name]
    for _ in range(2):
        features = load_features(table.parent, written, ids=["x"] * 5 + [IDS[2]], cache=tmp_path / "c", mode="always")
        close(features.matrix[features.rows[5]], MATRIX[2], table)
        assert features.problems == []


def test_the_key_chooses_a_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": IDS, "one": fixed(MATRIX), "two": fixed(2 * MATRIX)}), tmp_path / "t.parquet")
    features = load_features(tmp_path / "t.parquet", IDS, key="two")
    np.testing.assert_array_equal(features.matrix, 2 * MATRIX)
    with pytest.raises(FeatureError, match=r"several list columns, one, two\. Set data\.feature_key"):
        load_features(tmp_path / "t.parquet", IDS)
    with pytest.raises(FeatureError, match="no list column 'three'; it has one, two"):
        load_features(tmp_path / "t.parquet", IDS, key="three")


@pytest.mark.parametrize("prefix", ["f", "", "dim_", "features.1."])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kind", [np.float32, np.int64])
def test_ages_and_labels_beside_numbered_columns_are_no_dimensions(
    tmp_path: Path, prefix: str, first: int, kind: Any
) -> None:
    matrix = (10 * MATRIX).astype(kind)
    beside = {"PatientAge": np.arange(30.0), "Mass": np.arange(30.0) % 2, "label_1": np.ones(30), "T1": np.ones(30)}
    columns = {f"{prefix}{first + i}": matrix[:, i] for i in range(6)}
    pq.write_table(pa.table({"volumename": IDS, **beside, **columns}), tmp_path / "t.parquet")
    features = load_features(tmp_path / "t.parquet", IDS)
    np.testing.assert_array_equal(features.matrix, matrix.astype(np.float32))


def test_the_key_chooses_numbered_columns(tmp_path: Path) -> None:
    columns = {f"{side}_{i}": factor * MATRIX[:, i] for side, factor in (("left", 1), ("right", 2)) for i in range(6)}
    pq.write_table(pa.table({"id": IDS, **columns}), tmp_path / "t.parquet")
    with pytest.raises(
        FeatureError, match=r"several groups of numbered columns, left_, right_\. Set data\.feature_key"
    ):
        load_features(tmp_path / "t.parquet", IDS)
    np.testing.assert_array_equal(load_features(tmp_path / "t.parquet", IDS, key="right_").matrix, 2 * MATRIX)


def test_a_list_column_of_labels_is_no_vector(tmp_path: Path) -> None:
    table = pa.table({"id": IDS, "labels": fixed(MATRIX[:, :3] > 0), "encoder": fixed(MATRIX)})
    pq.write_table(table, tmp_path / "t.parquet")
    np.testing.assert_array_equal(load_features(tmp_path / "t.parquet", IDS).matrix, MATRIX)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"id": IDS}, "has no vectors"),
        ({"id": ["a"], "PatientAge": [61.0], "Mass": [1.0]}, "has no vectors: expected a list column, or numbered"),
        ({"id": ["a"], "labels": [[1.0, 0.0]]}, "has no vectors"),
        ({"x": [1.0, 2.0]}, "no column of ids"),
        ({"id": ["a", "b", "a"], "v": fixed(MATRIX[:3])}, r"duplicate id a \(1 row\)"),
        ({"id": ["a", "b"], "v": [[1.0], [1.0, 2.0]]}, "another length"),
        ({"id": ["a", "b"], "v": [[1.0], None]}, r"no vector in rows 1 \(1 row\)"),
        ({"id": ["a", "b"], "v": [["x"], ["y"]]}, "not numbers"),
    ],
)
def test_unusable_tables_say_why(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table(content), tmp_path / "t.parquet")
    with pytest.raises(FeatureError, match=message):
        load_features(tmp_path / "t.parquet", ["a"])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather", ".npz"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"nonsense" * 50, bytes(300)])
def test_damaged_tables_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"t{suffix}").write_bytes(content)
    with pytest.raises(FeatureError, match=f"t{suffix} cannot be read as a table"):
        load_features(tmp_path / f"t{suffix}", ["a"])


def test_every_truncation_of_a_table_is_refused(tmp_path: Path) -> None:
    for name, write in (("t.parquet", WRITERS["parquet"][1]), ("t.arrow", WRITERS["arrow"][1])):
        write(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        for share in np.linspace(0.01, 0.99, 25):
            (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(FeatureError, match=name):
                load_features(tmp_path / name, IDS)


def test_ids_saved_as_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", ids=np.array(IDS, dtype=object), matrix=MATRIX)
    with pytest.raises(FeatureError, match="pickled objects"):
        load_features(tmp_path, ["t.npz"] * 2, ids=IDS[:2])


def test_rows_with_nan_are_problems_of_their_own(tmp_path: Path) -> None:
    spoiled = MATRIX.copy()
    spoiled[3, 2] = np.nan
    pq.write_table(lists(matrix=spoiled), tmp_path / "t.parquet")
    features = load_features(tmp_path / "t.parquet", IDS)
    assert [(p.kind, p.path, p.samples) for p in features.problems] == [("non_finite", IDS[3], (3,))]
    assert features.rows[3] == -1


@pytest.mark.parametrize("kind", ["one number repeated", "one text repeated"])
def test_a_bomb_of_repeats_is_refused(tmp_path: Path, kind: str) -> None:
    rows, is_text = 20_000, kind == "one text repeated"
    names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * 50_000]))
    lists_ = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * 1024, np.float32)), 1024)
    columns = {
        "id": names if is_text else [str(i) for i in range(rows)],
        "v": pa.array([[1.0]] * rows) if is_text else lists_,
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", compression="zstd", store_schema=False)
    with pytest.raises(FeatureError, match="would unpack from"):
        load_features(tmp_path / "t.parquet", ["1"])


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    rows, width = 4_000, 8_192
    zero = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * width, np.float32)), width)
    pq.write_table(
        pa.table({"id": [str(i) for i in range(rows)], "v": zero}), tmp_path / "t.parquet", compression="zstd"
    )
    with pytest.raises(FeatureError, match="would unpack from"):
        load_features(tmp_path / "t.parquet", ["1"])


@pytest.mark.parametrize(
    "odd", ["train_1.nii.gz", " train_1", "train_1 ", "/train_1", "\\train_1", "a b", "", "train_1.npz"]
)
def test_ids_together_are_what_each_is_alone(odd: str) -> None:
    for names in ([*IDS, odd, *IDS], [odd], [odd, IDS[0]], [IDS[0], odd]):
        assert canonical_ids(names) == [canonical_id(name) for name in names]
    assert canonical_ids([]) == []
