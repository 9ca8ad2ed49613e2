"""Parse the bytes of one feature file as one array, without executing anything in it.

`declared.FORMATS` names these parsers. The array of a file with several is decided by `choose_entry` alone.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from ctbench_core.errors import FeatureError
from ctbench_core.tables import refusal

# Usual names of the vector in a dict of arrays, and names of labels, which are no features.
USUAL_ENTRIES = ("features", "visual_features", "embedding", "embeddings")
# y_hat is what a public benchmark of 3D-CT models calls its embeddings.
_LABEL_ENTRIES = re.compile(r"(?!y_hat$)(labels?|targets?|y)(_|$)", re.IGNORECASE)

# One volume has no more values than this: 1 GiB of float32.
VALUES_LIMIT = 2**28

_NPY_MAGIC = b"\x93NUMPY"
SAFETENSORS = {  # NumPy has no bfloat16: its bit patterns are read
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


# Shape of an array and its NumPy kind; an empty kind is no array.
Entry = tuple[tuple[int, ...], str]


class FormatError(ValueError):
    """A file that is not a usable feature file; the text says why and what to do, but not which file."""


class TableFileError(FeatureError):
    """A file with the vectors of many volumes, one a row, instead of one vector."""


def refuse_large(name: str, unpacked: int, packed: int, *, is_matrix: bool = False) -> None:
    """Refuse to unpack more than `tables.refusal` allows; what is not packed is not limited here."""
    if unpacked > packed and (why := refusal(unpacked, packed, is_matrix=is_matrix)):
        raise FormatError(f"{name} {why}")


def widen_bfloat16(raw: np.ndarray) -> np.ndarray:
    """Return bfloat16 bit patterns (uint16) as float32: they are its upper halves."""
    return (raw.astype(np.uint32) << 16).view(np.float32)


def npy_header(content: bytes) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Return dtype, shape, Fortran order and the offset of the values of .npy bytes.

    Raises:
        FormatError: no .npy header.
        pickle.UnpicklingError: the values are pickled objects.
    """
    if not content.startswith(_NPY_MAGIC):
        if content.startswith(b"\x80"):
            raise pickle.UnpicklingError
        raise FormatError("it does not begin like a .npy file. Save it again with np.save.")
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise FormatError(f"its .npy version {version} is unknown. Save a plain array of numbers.")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise pickle.UnpicklingError
    if any(size < 0 for size in shape):
        raise FormatError(f"its header has the shape {shape}. Re-export it.")
    return dtype, shape, fortran, stream.tell()


_HEADERS: dict[Any, Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def parse_npy(content: bytes, key: str | None = None) -> np.ndarray:
    """Return the array of .npy bytes."""
    dtype, shape, fortran, offset = npy_header(content)
    _refuse_short(math.prod(shape) * dtype.itemsize, len(content) - offset)
    if not math.prod(shape):
        return np.empty(shape, dtype)
    flat = np.frombuffer(content, dtype, math.prod(shape), offset)
    return flat.reshape(shape, order="F" if fortran else "C")


def _refuse_short(expected: int, size: int) -> None:
    if expected > size:
        raise FormatError(f"it is cut short: expected {expected:,} bytes of values, got {size:,}. Re-export it.")


def parse_npz(content: bytes, key: str | None) -> np.ndarray:
    """Return the array of .npz bytes that `choose_entry` chooses.

    Raises:
        TableFileError: it has ids and a matrix instead.
    """
    if not content.startswith(b"PK"):
        if content.startswith(b"\x80"):
            raise pickle.UnpicklingError
        raise FormatError("it is not an .npz archive, or its beginning is lost. Re-export it.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = npz_members(archive)
        name = next(iter(members))
        if len(members) > 1 or key not in (None, name):
            entries = npz_entries(archive, members)
            if table_entries(entries, key):
                raise TableFileError("it has ids and a matrix, the vectors of many volumes.")
            name = choose_entry(entries, key)
        return parse_npy(read_member(archive, members[name]))


def npz_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an .npz by name, at least one."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    arrays = {name: info for name, info in members.items() if info.filename != name}
    if not arrays:
        raise FormatError("it has no array. Save one with np.savez.")
    return arrays


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, *, is_matrix: bool = False) -> bytes:
    """Return the unpacked bytes of an archive member, its checksum verified."""
    refuse_large(info.filename, info.file_size, info.compress_size, is_matrix=is_matrix)
    return archive.read(info)


def npz_entries(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> dict[str, Entry]:
    """Return shape and kind of an archive's arrays by name, from their headers alone."""
    entries = {}
    for name, info in members.items():
        with archive.open(info) as file:
            start = file.read(16_384)
        # Of pickled objects only the header is read; reading such ids later raises an error with a hint.
        entries[name] = _shape_and_kind(start)
    return entries


def table_entries(entries: Mapping[str, Entry], key: str | None) -> tuple[str, str] | None:
    """Name the ids and the matrix of an .npz with many volumes' vectors; None when it has no such pair."""
    for ids, (shape, kind) in entries.items():
        if len(shape) == 1 and shape[0] > 1 and kind in "USO":
            for matrix, (size, numbers) in entries.items():
                if len(size) == 2 and size[0] == shape[0] and numbers in "fiu" and key in (None, matrix):
                    return ids, matrix
    return None


def _shape_and_kind(start: bytes) -> Entry:
    try:
        dtype, shape, _, _ = npy_header(start)
    except pickle.UnpicklingError:
        stream = io.BytesIO(start)
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    return shape, dtype.kind


def parse_torch(content: bytes, key: str | None) -> np.ndarray:
    """Return the tensor of .pt bytes, or of its dict the entry that `choose_entry` chooses."""
    import torch

    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            refuse_large("it", sum(info.file_size for info in archive.infolist()), len(content))
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    loaded = choose_tensor(loaded, key)
    if not isinstance(loaded, torch.Tensor):
        raise FormatError(f"it holds {type(loaded).__name__}, not a tensor. Save the tensor itself, or in a dict.")
    if loaded.layout is not torch.strided or loaded.is_complex() or loaded.is_quantized:
        raise FormatError(f"it holds a tensor of {loaded.dtype}, {loaded.layout}. Save plain dense numbers.")
    if loaded.numel() > VALUES_LIMIT:
        raise FormatError(f"it holds {loaded.numel():,} values, too many for one volume. Pool them first.")
    return loaded.detach().to(torch.float32).numpy()


def choose_tensor(loaded: Any, key: str | None) -> Any:
    """Return what a .pt file holds, or of its dict the entry that `choose_entry` chooses."""
    import torch

    if not isinstance(loaded, dict):
        return loaded

    def describe(value: Any) -> Entry:
        if not isinstance(value, torch.Tensor):
            return (), ""
        kind = "f" if value.is_floating_point() else "c" if value.is_complex() else "i"
        return tuple(value.shape), kind

    return loaded[choose_entry({name: describe(value) for name, value in loaded.items()}, key)]


def choose_entry(entries: Mapping[Any, Entry], key: str | None) -> Any:
    """Return which of a file's named arrays is the vector.

    It is ``key``; without a key an array of a usual name, or else the only one that could be a vector: numbers, more
    than one, and not named as labels.

    Raises:
        FormatError: there is none, or several could be it; the text names them.
    """
    every = ", ".join(f"{name} {_shape_text(shape)}" if kind else str(name) for name, (shape, kind) in entries.items())
    if key is not None:
        if key not in entries:
            raise FormatError(f"it has no array {key!r}; it has {every or 'none'}. Set data.feature_key to one.")
        return key
    numeric = [name for name, (_, kind) in entries.items() if kind and kind in "fiub"]
    usual = [name for name in USUAL_ENTRIES if name in entries]
    vectors = [name for name in numeric if math.prod(entries[name][0]) > 1 and not is_label(str(name))]
    others = [name for name in vectors if str(name).startswith("text")] if usual[:1] == ["visual_features"] else []
    if usual and not others:
        return usual[0]
    if len(vectors) == 1 or len(entries) == len(numeric) == 1:
        return (vectors or numeric)[0]
    if not vectors:
        raise FormatError(f"it has no array that could be the vector; it has {every or 'none'}. Save it as features.")
    raise FormatError(
        f"it has several arrays that could be the vector: {every}. Set data.feature_key to one, or name it features."
    )


def is_label(name: str) -> bool:
    """Whether an array or column is called like labels, which are no features."""
    return bool(_LABEL_ENTRIES.match(name))


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"({' x '.join(map(str, shape))})"


def safetensors_entry(content: bytes, key: str | None) -> tuple[str, tuple[int, ...], int, int]:
    """Return dtype name, shape, start and end of the chosen tensor of .safetensors bytes."""
    (length,) = struct.unpack_from("<Q", content)
    _refuse_short(length, len(content) - 8)
    tensors = safetensors_header(content[8 : 8 + length])
    kinds = {name: np.dtype(SAFETENSORS.get(entry["dtype"], "<f4")).kind for name, entry in tensors.items()}
    entry = tensors[choose_entry({name: (tuple(tensors[name]["shape"]), kinds[name]) for name in tensors}, key)]
    dtype, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in SAFETENSORS:
        raise FormatError(f"its values are of type {dtype}; known: {', '.join(SAFETENSORS)}. Export float32.")
    size = math.prod(shape) * np.dtype(SAFETENSORS[dtype]).itemsize
    if first < 0 or last - first != size:
        raise FormatError(
            f"its header is inconsistent: shape {shape} of {dtype} in bytes {first} to {last}. Re-export it."
        )
    _refuse_short(8 + length + last, len(content))
    return dtype, shape, 8 + length + first, 8 + length + last


def safetensors_header(text: bytes) -> dict[str, dict[str, Any]]:
    """Return the tensors that the JSON header of a .safetensors file names: dtype, shape and data_offsets of each.

    Raises:
        FormatError: an entry has another form.
    """
    header = json.loads(text)
    tensors = (
        {name: entry for name, entry in header.items() if name != "__metadata__"} if isinstance(header, dict) else {}
    )
    for entry in tensors.values() or [None]:
        try:
            msgspec.convert(entry, _Tensor)
        except msgspec.ValidationError as error:
            raise FormatError(f"its header is damaged: {error}. Re-export it.") from error
    return tensors


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    data_offsets: tuple[int, int]


def parse_safetensors(content: bytes, key: str | None) -> np.ndarray:
    """Return the tensor of .safetensors bytes that `choose_entry` chooses."""
    dtype, shape, start, end = safetensors_entry(content, key)
    flat = np.frombuffer(content[start:end], SAFETENSORS[dtype])
    return (widen_bfloat16(flat) if dtype == "BF16" else flat).reshape(shape)
