"""Parquet tables as columns of text, unpacked within bounds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ctbench_core.errors import ManifestError
from ctbench_core.tables.bytes import refuse_large, refuse_many_values

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET = b"PAR1"
_BATCH = 8192
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8}
_INDEX = "__index_level_"  # where pandas keeps an index without a name


def parquet_names(path: Path, content: bytes) -> list[str]:
    """Return the names of a Parquet file's columns; raises as `read_parquet`."""
    with _as_manifest_error(path):
        return [name for name in _open(path, content).schema_arrow.names if not name.startswith(_INDEX)]


def read_parquet(path: Path, content: bytes) -> pa.Table:
    """Return a Parquet file's columns as text; a missing value is blank, and a number keeps its value.

    Raises:
        ManifestError: it is unreadable, a bomb, or has a nested or binary column.
    """
    import pyarrow as pa

    with _as_manifest_error(path):
        file = _open(path, content)
        batches, size = [], 0
        for batch in file.iter_batches(_BATCH):
            refuse_large(path, size + sum(map(repeated_size, batch.columns)), len(content))
            batches.append(pa.record_batch([_to_text(column) for column in batch.columns], names=batch.schema.names))
            size += batches[-1].nbytes
            refuse_large(path, size, size)
    schema = pa.schema([(name, pa.large_string()) for name in file.schema_arrow.names])
    table = pa.Table.from_batches(batches, schema=schema)
    return table.select([name for name in table.column_names if not name.startswith(_INDEX)])


@contextmanager
def _as_manifest_error(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ManifestError(f"{path} is not a readable Parquet file: {error}. Export it again, or as CSV.") from error


def _open(path: Path, content: bytes) -> pq.ParquetFile:
    """Open a Parquet file of plain columns that unpacks within bounds.

    Texts are read as dictionaries, so that a text repeated in a million rows is held once.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    refuse_large(path, unpacked_size(file), len(content))
    refuse_many_values(path, file.metadata.num_rows * file.metadata.num_columns)
    nested = [field.name for field in file.schema_arrow if not _is_plain(field.type)]
    if nested:
        raise ManifestError(
            f"{path} has columns of lists, structs or bytes: {', '.join(nested)}. Leave them out, or write one value "
            "a row."
        )
    texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
    return pq.ParquetFile(io.BytesIO(content), read_dictionary=texts)


def _is_plain(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_plain(kind.value_type)
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def unpacked_size(file: pq.ParquetFile) -> int:
    """Return the bytes that a file's metadata declare, and at least those of its numbers, which may be stored as repeats.

    Texts stored as repeats are not in it: see `repeated_size`.
    """
    metadata = file.metadata
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    columns = [group.column(column) for group in groups for column in range(group.num_columns)]
    numbers = sum(_WIDTHS.get(column.physical_type, 0) * column.num_values for column in columns)
    return max(sum(group.total_byte_size for group in groups), numbers)


def repeated_size(column: pa.Array) -> int:
    """Return the bytes of a column of repeated texts once each row has its own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type):
        return 0
    lengths = pc.binary_length(column.dictionary.cast(pa.large_string()))
    return pc.sum(pc.take(lengths, column.indices)).as_py() or 0


def _to_text(column: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())  # float32 as text would be another number
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    return pc.fill_null(column.cast(pa.large_string()), "")
