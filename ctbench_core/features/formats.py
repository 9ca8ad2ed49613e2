"""The bytes of one feature file to one array. Nothing in a file is ever executed.

To read another format, add its suffix to ``PARSERS`` and to ``paths.SUFFIXES``.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ctbench_core.errors import FeatureError

# Names under which a dict of arrays usually holds its vector.
USUAL_ENTRIES = ("features", "visual_features", "embedding", "embeddings")

# More values than this are no feature of one volume: 1 GiB of float32.
VALUES_LIMIT = 2**28

# An archive member beyond both is a bomb: deflate reaches 1,000:1 on zeros, embeddings 1.1:1.
BOMB_BYTES, BOMB_RATIO = 2**26, 200

_NPY_MAGIC = b"\x93NUMPY"
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


class Refused(ValueError):
    """The file is no usable feature file; the text says why and what to do."""


class HoldsTable(FeatureError):
    """The file holds the vectors of many volumes, one a row, not one vector."""


def refuse_bomb(name: str, unpacked: int, packed: int) -> None:
    """Refuse what would unpack to a size that no honest file reaches.

    Raises:
        Refused: more than 64 MiB from less than a 200th of it.
    """
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise Refused(
            f"{name} would unpack from {packed:,} to {unpacked:,} bytes, as only a damaged or hostile file does. "
            "Export it again."
        )


def widen_bfloat16(raw: np.ndarray) -> np.ndarray:
    """Return bfloat16 bit patterns (uint16) as float32: they are its upper halves."""
    return (raw.astype(np.uint32) << 16).view(np.float32)


def npy_header(content: bytes) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Return dtype, shape, Fortran order and the offset of the values of .npy bytes.

    Raises:
        Refused: no .npy header.
        pickle.UnpicklingError: the values are pickled objects.
    """
    if not content.startswith(_NPY_MAGIC):
        if content.startswith(b"\x80"):
            raise pickle.UnpicklingError
        raise Refused("it does not begin as a .npy file does. Save it again with np.save.")
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise Refused(f"its .npy version {version} is unknown. Save a plain array of numbers.")
    shape, fortran, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise pickle.UnpicklingError
    if any(size < 0 for size in shape):
        raise Refused(f"its header gives the shape {shape}. Export it again.")
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


def _refuse_short(promised: int, there: int) -> None:
    if promised > there:
        raise Refused(f"it is cut short: {promised:,} bytes of values promised, {there:,} there. Export it again.")


def parse_npz(content: bytes, key: str | None) -> np.ndarray:
    """Return the named array of .npz bytes, or the first."""
    if not content.startswith(b"PK"):
        if content.startswith(b"\x80"):
            raise pickle.UnpicklingError
        raise Refused("it is no .npz archive, or its beginning is lost. Export it again.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = npz_members(archive)
        if key is not None and key not in members:
            raise Refused(f"it has no array {key!r}; it holds {', '.join(members)}. Set data.feature_key to one.")
        if len(members) > 1 and table_members(archive, members, key):
            raise HoldsTable("it holds ids and a matrix, the vectors of many volumes.")
        return parse_npy(read_member(archive, members[key or next(iter(members))]))


def npz_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an .npz by name.

    Raises:
        Refused: it holds none.
    """
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    arrays = {name: info for name, info in members.items() if info.filename != name}
    if not arrays:
        raise Refused("it holds no array. Save one with np.savez.")
    return arrays


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the unpacked bytes of an archive member, its checksum verified."""
    refuse_bomb(info.filename, info.file_size, info.compress_size)
    return archive.read(info)


def table_members(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], key: str | None
) -> tuple[str, str] | None:
    """Name the ids and the matrix of an .npz that holds many volumes' vectors; None when it holds no such pair."""
    headers = {}
    for name, info in members.items():
        with archive.open(info) as file:
            start = file.read(16_384)
        # Objects are looked at by their header only: ids saved so are refused with a hint when read.
        headers[name] = _shape_and_kind(start)
    for ids, (shape, kind) in headers.items():
        if len(shape) == 1 and shape[0] > 1 and kind in "USO":
            for matrix, (size, numbers) in headers.items():
                if len(size) == 2 and size[0] == shape[0] and numbers in "fiu" and key in (None, matrix):
                    return ids, matrix
    return None


def _shape_and_kind(start: bytes) -> tuple[tuple[int, ...], str]:
    try:
        dtype, shape, _, _ = npy_header(start)
    except pickle.UnpicklingError:
        stream = io.BytesIO(start)
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    return shape, dtype.kind


def parse_torch(content: bytes, key: str | None) -> np.ndarray:
    """Return the tensor of .pt bytes, or the named (usual, first) entry of its dict."""
    import torch

    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                refuse_bomb(info.filename, info.file_size, info.compress_size)
    loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if isinstance(loaded, dict):
        tensors = {name: value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
        loaded = loaded[choose_entry(tensors, key, list(loaded))]
    if not isinstance(loaded, torch.Tensor):
        raise Refused(f"it holds {type(loaded).__name__}, not a tensor. Save the tensor itself, or a dict of it.")
    if loaded.layout is not torch.strided or loaded.is_complex() or loaded.is_quantized:
        raise Refused(f"it holds a tensor of {loaded.dtype}, {loaded.layout}. Save plain dense numbers.")
    if loaded.numel() > VALUES_LIMIT:
        raise Refused(f"it holds {loaded.numel():,} values, too many for one volume. Pool them first.")
    return loaded.detach().to(torch.float32).numpy()


def choose_entry(numeric: Iterable[Any], key: str | None, every: Iterable[Any]) -> Any:
    """Return the wanted entry of a dict of arrays, else a usual one, else the first numeric one.

    Raises:
        Refused: the wanted entry is not there, or there is none.
    """
    found = list(numeric)
    if key is not None:
        if key not in every:
            raise Refused(
                f"it has no entry {key!r}; it holds {', '.join(map(str, every))}. Set data.feature_key to one."
            )
        return key
    for name in (*USUAL_ENTRIES, *found):
        if name in found:
            return name
    raise Refused("its dict holds no tensor. Save one in it.")


def safetensors_entry(content: bytes, key: str | None) -> tuple[str, tuple[int, ...], int, int]:
    """Return dtype name, shape, start and end of the wanted tensor of .safetensors bytes."""
    (length,) = struct.unpack_from("<Q", content)
    _refuse_short(length, len(content) - 8)
    header = json.loads(content[8 : 8 + length])
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    entry = tensors[choose_entry(tensors, key, tensors)]
    dtype, shape, (first, last) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype not in _SAFETENSORS:
        raise Refused(f"its values are of type {dtype}; known: {', '.join(_SAFETENSORS)}. Export float32.")
    size = math.prod(shape) * np.dtype(_SAFETENSORS[dtype]).itemsize
    if first < 0 or last - first != size or any(extent < 0 for extent in shape):
        raise Refused(
            f"its header is inconsistent: shape {shape} of {dtype} in bytes {first} to {last}. Export it again."
        )
    _refuse_short(8 + length + last, len(content))
    return dtype, shape, 8 + length + first, 8 + length + last


def parse_safetensors(content: bytes, key: str | None) -> np.ndarray:
    """Return the named (usual, first) tensor of .safetensors bytes."""
    dtype, shape, start, end = safetensors_entry(content, key)
    flat = np.frombuffer(content[start:end], safetensors_dtype(dtype))
    return (widen_bfloat16(flat) if dtype == "BF16" else flat).reshape(shape)


def safetensors_dtype(name: str) -> np.dtype:
    """Return the NumPy type of a safetensors type; bfloat16 as its bit patterns."""
    return np.dtype(_SAFETENSORS[name])


PARSERS: dict[str, Callable[[bytes, str | None], np.ndarray]] = {
    ".npz": parse_npz,
    ".npy": parse_npy,
    ".pt": parse_torch,
    ".pth": parse_torch,
    ".safetensors": parse_safetensors,
}
