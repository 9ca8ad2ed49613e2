"""Read one table of all volumes' vectors: Parquet, Arrow, an .npz of ids and a matrix, or HDF5 (`hdf5`).

Shape suffixes: R rows, D features.
"""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.declared import FORMATS, format_of, load
from ctbench_core.errors import FeatureError, first_rows
from ctbench_core.features import formats
from ctbench_core.features.vector import READ_ERRORS, explain
from ctbench_core.manifest import spelled_columns
from ctbench_core.tables import repeated_size, unpacked_size

_BATCH_ROWS = 8192


@dataclass(frozen=True)
class VectorTable:
    """R vectors by id: ``row_of[canonical id]`` is a row of ``matrix``, float32 (R, D)."""

    matrix: np.ndarray
    row_of: dict[str, int]


def canonical_id(name: str) -> str:
    """Return an id without spaces, a leading slash, ``.nii.gz`` and a feature suffix."""
    name = name.strip().replace("\\", "/").lstrip("/")
    for _ in range(2):
        if "." not in name:  # as most ids: the search for a suffix takes ten times as long
            break
        known = format_of(name)
        is_vector = known is not None and known.parse
        name = name[: name.rfind(".")] if is_vector else re.sub(r"\.nii(\.gz)?$", "", name)
    return name


def canonical_ids(names: Sequence[str]) -> list[str]:
    """Return `canonical_id` of each name; names of no other form than theirs are known by one look at all."""
    joined = "\0".join(names)
    odd = "." in joined or "\\" in joined or "/" in joined or len(joined.split(maxsplit=1)) > 1
    return [canonical_id(name) for name in names] if odd or joined != joined.strip() else list(names)


def read_vector_table(path: Path, key: str | None = None, pool: str = "flatten") -> VectorTable:
    """Read the ids and vectors of a table.

    ``pool`` is how tokens of one id become a vector, in formats that hold tokens. A Parquet or Arrow table has a column of ids (volumename, id ..., else the first of text) and either a list column
    of vectors (``key``, features ..., else the only one) or numbered number columns (f0, f1 ...), one a dimension.

    Raises:
        FeatureError: unreadable, without ids or vectors, rows of several widths, or a duplicate id.
    """
    known = format_of(str(path))
    if known is None or not known.read_table:
        names = ", ".join(suffix for item in FORMATS.values() if item.read_table for suffix in item.suffixes)
        raise FeatureError(f"{path} cannot be read as a table of vectors. Known suffixes: {names}.")
    try:
        ids, matrix = load(known.read_table)(path, key, pool)
    except READ_ERRORS as error:
        raise FeatureError(f"{path} cannot be read as a table: {explain(error)}") from error
    row_of = {name: row for row, name in enumerate(canonical_ids(ids))}
    if len(row_of) < len(ids):
        # Of duplicate ids the last row is in row_of.
        repeated = [name for row, name in enumerate(ids) if row_of[canonical_id(name)] != row]
        raise FeatureError(f"{path}: duplicate id {first_rows(repeated)}. Keep one row an id.")
    return VectorTable(matrix, row_of)


def is_table(path: Path, key: str | None) -> bool:
    """Whether a file holds the vectors of many volumes, by its headers; False where it cannot be read."""
    known = format_of(str(path))
    try:
        return bool(known and known.is_table and load(known.is_table)(path, key))
    except READ_ERRORS:  # reading it in full says what is wrong
        return False


def is_npz_table(path: Path, key: str | None) -> bool:
    """Whether an .npz has ids and a matrix."""
    with zipfile.ZipFile(path) as archive:
        return formats.table_entries(formats.npz_entries(archive, formats.npz_members(archive)), key) is not None


def read_npz_table(path: Path, key: str | None, pool: str) -> tuple[list[str], np.ndarray]:
    """Return ids and vectors of an .npz with an array of ids (R,) and a matrix (R, D)."""
    with zipfile.ZipFile(path) as archive:
        members = formats.npz_members(archive)
        names = formats.table_entries(formats.npz_entries(archive, members), key)
        if names is None:
            raise FeatureError(f"{path} has no pair of ids (N,) and matrix (N, D); it has {', '.join(members)}.")
        ids, matrix = (formats.parse_npy(formats.read_member(archive, members[name], is_matrix=True)) for name in names)
    if ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8")
    with np.errstate(over="ignore"):
        return ids.tolist(), matrix.astype(np.float32, copy=False)


def read_npz(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return those arrays of an .npz that have one of the names, unpacked within bounds.

    Raises:
        FeatureError: the file is unreadable, or an array holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: info for name, info in formats.npz_members(archive).items() if name in names}
            unpacked = sum(info.file_size for info in members.values())
            packed = sum(info.compress_size for info in members.values())
            formats.refuse_large("it", unpacked, packed, is_matrix=True)
            return {
                name: formats.parse_npy(formats.read_member(archive, info, is_matrix=True)).copy()
                for name, info in members.items()
            }
    except READ_ERRORS as error:
        raise FeatureError(f"{path} cannot be read: {explain(error)}") from error


def read_arrow_table(path: Path, key: str | None, pool: str) -> tuple[list[str], np.ndarray]:
    """Return ids and vectors of a Parquet or Arrow table."""
    import pyarrow as pa

    try:
        schema, rows, batches = _open_arrow(path)
        id_column = _id_column(path, schema)
        columns = _vector_columns(path, schema, key, id_column)
        ids: list[str] = []
        texts = 0  # bytes of ids that are stored as repeats
        matrix = np.empty((rows, 0), np.float32)
        for batch in batches([id_column, *columns]):
            values = _vectors(path, batch, columns, len(ids))
            if not ids:
                width = values.shape[1]
                formats.refuse_large(str(path), 4 * rows * width, path.stat().st_size, is_matrix=True)
                matrix = np.empty((rows, width), np.float32)
            if values.shape[1] != matrix.shape[1]:
                raise FeatureError(
                    f"{path}: row {len(ids)} has {values.shape[1]} values, earlier rows {matrix.shape[1]}. Re-export it."
                )
            matrix[len(ids) : len(ids) + len(values)] = values
            texts += repeated_size(batch.column(0))
            formats.refuse_large(str(path), texts, path.stat().st_size, is_matrix=True)
            ids += map(str, batch.column(0).to_pylist())
    except pa.ArrowException as error:
        raise FeatureError(f"{path} cannot be read as a table: {explain(error)}") from error
    return ids, matrix


def _open_arrow(path: Path) -> tuple[Any, int, Any]:
    """Return schema, number of rows, and a function from column names to record batches."""
    import pyarrow as pa

    if format_of(str(path)) is FORMATS["parquet"]:
        file = open_parquet(path)
        return file.schema_arrow, file.metadata.num_rows, lambda names: _read_batches(file, names)
    source = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
        table = pa.ipc.open_stream(source).read_all()
    return table.schema, table.num_rows, lambda names: table.select(names).to_batches(_BATCH_ROWS)


def open_parquet(path: Path) -> Any:
    """Open a Parquet file of vectors that unpacks within bounds; texts are read as dictionaries, each held once.

    Raises:
        FormatError: it would unpack to too much. pyarrow.ArrowException, OSError: it is unreadable.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    formats.refuse_large(str(path), unpacked_size(file), path.stat().st_size, is_matrix=True)
    return pq.ParquetFile(path, read_dictionary=[one.name for one in file.schema_arrow if pa.types.is_string(one.type)])


def _read_batches(file: Any, names: list[str]) -> Iterator[Any]:
    for batch in file.iter_batches(_BATCH_ROWS, columns=names):
        yield batch.select(names)  # Parquet returns the columns in the file's order; the ids must come first


def _id_column(path: Path, schema: Any) -> str:
    import pyarrow as pa

    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    texts += [field.name for field in schema if pa.types.is_dictionary(field.type)]
    plain = [field.name for field in schema if not _is_vector(field.type)]
    usual = [*spelled_columns("volume", plain), *spelled_columns("visual", plain)]
    if not usual and not texts:
        raise FeatureError(f"{path} has no column of ids: expected one named volumename, or a text column.")
    return (usual or texts)[0]


def _is_vector(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _vector_columns(path: Path, schema: Any, key: str | None, id_column: str) -> list[str]:
    """Return the list column of vectors, or else the numbered columns of one name, one a dimension.

    Ages, labels and other numbers are no dimensions.
    """
    lists = [field.name for field in schema if _is_vector(field.type)]
    series = _numbered_columns([field.name for field in schema if _is_number(field.type) and field.name != id_column])
    choices = {name: [name] for name in lists} or series
    if key is not None:
        if key not in choices:
            raise FeatureError(f"{path} has no list column {key!r}; it has {', '.join(choices) or 'none'}.")
        return choices[key]
    vectors = [name for name in choices if not formats.is_label(name)]
    usual = [name for name in formats.USUAL_ENTRIES if name in vectors]
    if not vectors:
        raise FeatureError(
            f"{path} has no vectors: expected a list column, or numbered number columns (f0, f1, ...), one a dimension."
        )
    if not usual and len(vectors) > 1:
        kind = "list columns" if lists else "groups of numbered columns"
        raise FeatureError(f"{path} has several {kind}, {', '.join(vectors)}. Set data.feature_key to one.")
    return choices[(usual or vectors)[0]]


def _numbered_columns(names: list[str]) -> dict[str, list[str]]:
    """Return the columns that are numbered from 0 or 1 without a gap (at least two), in their order, by the name they share."""
    parts: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in names:
        if match := re.fullmatch(r"(.*?)(\d+)", name):
            parts[match[1]].append((int(match[2]), name))
    return {
        prefix: [name for _, name in columns]
        for prefix, columns in parts.items()
        if len(columns) > 1
        and sorted(number for number, _ in columns) in (list(range(len(columns))), list(range(1, len(columns) + 1)))
    }


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _vectors(path: Path, batch: Any, columns: list[str], before: int) -> np.ndarray:
    """Return the vectors of a record batch, float32; missing values become NaN."""
    column = batch.column(1)
    with np.errstate(over="ignore"):
        if len(columns) > 1 or not _is_vector(column.type):
            return np.stack([_numbers(path, batch.column(1 + i)) for i in range(len(columns))], axis=1)
        if column.null_count:
            nulls = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)) + before
            raise FeatureError(f"{path} has no vector in rows {first_rows(nulls)}. Fill them in, or drop the rows.")
        sizes = np.asarray(column.value_lengths())
        if sizes.min() != sizes.max():
            odd = np.flatnonzero(sizes != np.bincount(sizes).argmax()) + before
            raise FeatureError(f"{path}: the vectors of rows {first_rows(odd)} have another length. Re-export it.")
        return _numbers(path, column.flatten()).reshape(len(column), -1)


def _numbers(path: Path, column: Any) -> np.ndarray:
    values = column.to_numpy(zero_copy_only=False)
    if values.dtype.kind not in "fiub":
        raise FeatureError(f"{path} has values of type {column.type}, not numbers. Export float32.")
    return values.astype(np.float32, copy=False)


def match_samples(
    path: Path, table: VectorTable, ids: Sequence[str], paths: Sequence[str]
) -> tuple[np.ndarray, dict[int, str]]:
    """Return the row of each of N samples, int64 (N,), -1 where there is none, and messages for those.

    A sample is looked up by its id, then by its path as written, then by that path's last part.
    """
    found, messages = [table.row_of.get(name, -1) for name in canonical_ids(ids)] or [-1] * len(paths), {}
    rows = np.array(found, dtype=np.int64)
    for i in np.flatnonzero(rows < 0).tolist():
        by_path = canonical_id(paths[i])
        rows[i] = next((table.row_of[n] for n in (by_path, by_path.rpartition("/")[2]) if n in table.row_of), -1)
        if rows[i] < 0:
            names = dict.fromkeys([*([canonical_id(ids[i])] if ids else []), by_path])
            messages[i] = f"{path} has no row for {' or '.join(names)}. Add it, or drop the volume."
    return rows, messages
