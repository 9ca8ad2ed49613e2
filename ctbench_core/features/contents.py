"""List the arrays of one feature file, and the settings that choose or pool one of them."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.declared import FeatureFormat, format_of, load
from ctbench_core.errors import CtbenchError, FeatureError, Fix
from ctbench_core.features import formats
from ctbench_core.features.paths import check_allowed, find_file
from ctbench_core.features.vector import FLATTEN_LIMIT, READ_ERRORS, explain

_HEADER_BYTES, _LARGEST_HEADER = 16_384, 2**26
_OFFERED = 4  # arrays as fixes


@dataclass(frozen=True)
class StoredArray:
    """One array of a file: its name (empty if it has none), shape, type, and whether it could be the vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    numeric: bool

    @property
    def may_be_vector(self) -> bool:
        """Whether it holds several numbers and is not named like labels."""
        return self.numeric and math.prod(self.shape) > 1 and not formats.is_label(self.name)


def list_arrays(path: Path) -> list[StoredArray]:
    """List the arrays of a feature file, in their order, without reading more values than its format needs.

    Raises:
        FeatureError: the suffix is unknown, or the file cannot be read.
        PathError: it lies outside CTBENCH_ROOTS.
    """
    known, path = format_of(str(path)), check_allowed(path)
    if known is None:
        raise FeatureError(f"{path} has an unknown suffix. Choose a feature file.")
    try:
        arrays: list[StoredArray] = load(known.contents)(path) if known.contents else [_parsed(path, known)]
        return arrays
    except READ_ERRORS as error:
        raise FeatureError(f"{path} cannot be read: {explain(error)}") from error


def reading_fixes(root: Path, written: str, key: str | None, pool: str) -> list[Fix]:
    """Offer the arrays of an unusable feature file, and to pool its tokens where they are too many to flatten."""
    try:
        file = find_file(root, written)
        arrays = [] if file is None else [array for array in list_arrays(file) if array.may_be_vector]
    except CtbenchError:
        return []
    others = [array for array in arrays if array.name and array.name != key]
    is_open = key is not None or len(arrays) > 1
    fixes = [
        Fix(f"Use array {array.name} ({shape_text(array.shape)})", {"data.feature_key": array.name}, len(others) == 1)
        for array in others[: _OFFERED if is_open else 0]
    ]
    if pool == "flatten" and any(math.prod(array.shape) > FLATTEN_LIMIT for array in arrays):
        fixes += [Fix("Average the tokens", {"data.pool": "mean"}), Fix("Use the first token", {"data.pool": "cls"})]
    return fixes


def shape_text(shape: Sequence[int]) -> str:
    """Write a shape as ``1 x 512``; ``one value`` for a scalar."""
    return " x ".join(f"{size:,}" for size in shape) or "one value"


def _parsed(path: Path, known: FeatureFormat) -> StoredArray:
    array = load(known.parse)(path.read_bytes(), None)
    return StoredArray("", array.shape, str(array.dtype), array.dtype.kind in "fiub")


def npz_contents(path: Path) -> list[StoredArray]:
    """List the arrays of an .npz archive from their headers."""
    with zipfile.ZipFile(path) as archive:
        members = formats.npz_members(archive)
        starts = {}
        for name, info in members.items():
            with archive.open(info) as file:
                starts[name] = file.read(_HEADER_BYTES)
    return [_from_header(name, start) for name, start in starts.items()]


def npy_contents(path: Path) -> list[StoredArray]:
    """Return the one array of an .npy file, from its header."""
    with path.open("rb") as file:
        return [_from_header("", file.read(_HEADER_BYTES))]


def _from_header(name: str, start: bytes) -> StoredArray:
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return StoredArray(name, shape, str(dtype), dtype.kind in "fiub")


def torch_contents(path: Path) -> list[StoredArray]:
    """List the entries of a dict in a .pt file, or its one tensor; values that are no tensors by their type."""
    import torch

    formats.refuse_large(path.name, _unpacked_size(path), path.stat().st_size)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    entries = loaded if isinstance(loaded, dict) else {"": loaded}
    return [_from_entry(str(name), value, torch.Tensor) for name, value in entries.items()]


def _unpacked_size(path: Path) -> int:
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(info.file_size for info in archive.infolist())


def _from_entry(name: str, value: Any, tensor: type) -> StoredArray:
    if isinstance(value, tensor):
        shape, dtype = tuple(value.shape), str(value.dtype).removeprefix("torch.")  # type: ignore[attr-defined]
        return StoredArray(name, shape, dtype, "complex" not in dtype)
    return StoredArray(name, (), type(value).__name__, False)


def safetensors_contents(path: Path) -> list[StoredArray]:
    """List the tensors of a .safetensors file from its header."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _LARGEST_HEADER:
            raise formats.FormatError("its header is too long. Re-export it.")
        tensors = formats.safetensors_header(file.read(length))
    return [StoredArray(name, tuple(one["shape"]), one["dtype"].lower(), True) for name, one in tensors.items()]


def arrow_contents(path: Path) -> list[StoredArray]:
    """List the columns of a Parquet or Arrow table."""
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet as pq

    if format_of(str(path)) is format_of("table.parquet"):
        meta = pq.ParquetFile(path)
        schema, rows = meta.schema_arrow, meta.metadata.num_rows
    else:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            schema, rows = table.schema, len(table)
    return [_from_column(field, rows) for field in schema]


def _from_column(field: Any, rows: int) -> StoredArray:
    import pyarrow as pa

    width = (field.type.list_size,) if pa.types.is_fixed_size_list(field.type) else ()
    value = field.type.value_type if pa.types.is_list(field.type) or width else field.type
    numeric = pa.types.is_floating(value) or pa.types.is_integer(value)
    return StoredArray(field.name, (rows, *width), str(field.type), numeric)
