"""Read HDF5: one volume's data sets, or a table of many volumes as ids and a matrix, or as one data set an id.

A file may refer to others: what it shows may lie outside the feature root, and changes without the file. A file with an
external link is refused, and so is one whose vectors would come from a virtual data set or external storage.

Shapes: R rows, D features.
"""

from __future__ import annotations

import math
import mmap
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctbench_core.errors import FeatureError
from ctbench_core.features import formats
from ctbench_core.features.blocks import Layout
from ctbench_core.features.contents import StoredArray
from ctbench_core.features.formats import Entry, FormatError, TableFileError
from ctbench_core.features.vector import pooled
from ctbench_core.installation import install_command

_REFERS = "it refers to other files ({}), which may lie outside the feature root. Save the values in the file itself."


class DataSet(NamedTuple):
    """Shape and type of a data set, and where in the file its values begin; None where they are in several pieces."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int | None

    @property
    def entry(self) -> Entry:
        """Shape and kind, ``S`` for texts and empty for neither numbers nor texts."""
        kind = "S" if _h5py().check_string_dtype(self.dtype) else self.dtype.kind
        return self.shape, kind if kind in "fiubS" else ""


def parse_hdf5(content: bytes, key: str | None) -> np.ndarray:
    """Return the data set of .h5 bytes that `formats.choose_entry` chooses.

    Raises:
        TableFileError: it has the vectors of many volumes instead.
    """
    with _open_bytes(content) as file:
        entries = _entries(_data_sets(file))
        if _is_table(entries, key):
            raise TableFileError("it has the vectors of many volumes.")
        return _read(file, formats.choose_entry(entries, key))


def locate_hdf5(content: bytes, key: str | None) -> Layout | None:
    """Return the layout of .h5 bytes whose chosen data set is stored in one piece; None for others."""
    with _open_bytes(content) as file:
        sets = _data_sets(file)
        chosen = sets[formats.choose_entry(_entries(sets), key)]
        if chosen.start is None or chosen.dtype.kind not in "fiub":
            return None
        size = math.prod(chosen.shape) * chosen.dtype.itemsize
        return Layout(chosen.dtype, (chosen.start, chosen.start + size))


def is_hdf5_table(path: Path, key: str | None) -> bool:
    """Whether a file has ids and a matrix, or a data set an id."""
    with _h5py().File(path, "r") as file:
        return _is_table(_entries(_data_sets(file)), key)


def _is_table(entries: Mapping[str, Entry], key: str | None) -> bool:
    return key not in entries and _table_names(entries, key) is not None


def read_hdf5_table(path: Path, key: str | None, pool: str) -> tuple[list[str], np.ndarray]:
    """Return ids and vectors of a file with an array of ids (R,) and a matrix (R, ...), or with one data set an id.

    A data set of an id may lie in a group of that name, such as ``case_1/features``. Tokens of an id are pooled.
    """
    with _h5py().File(path, "r") as file:
        sets = _data_sets(file)
        names = _table_names(_entries(sets), key)
        if names is None:
            listed = ", ".join(list(sets)[:5]) or "none"
            raise FeatureError(
                f"{path} has no pair of ids (N,) and matrix (N, D), and no data set an id of one width; it has {listed}."
            )
        if isinstance(names, tuple):
            ids = [one.decode() if isinstance(one, bytes) else str(one) for one in _read(file, names[0]).tolist()]
            rows = _read(file, names[1])
            matrix = rows if rows.ndim == 2 else np.stack([pooled(str(path), row, pool) for row in rows])
            return ids, matrix.astype(np.float32, copy=False)
        unpacked = sum(math.prod(sets[name].shape) * sets[name].dtype.itemsize for name in names.values())
        formats.refuse_large(str(path), unpacked, path.stat().st_size, is_matrix=True)
        return list(names), _read_each(path, file, {name: sets[name] for name in names.values()}, pool)


def hdf5_contents(path: Path) -> list[StoredArray]:
    """List the data sets of an HDF5 file by their path."""
    with _h5py().File(path, "r") as file:
        sets = _data_sets(file)
    return [StoredArray(name, one.shape, str(one.dtype), one.dtype.kind in "fiub") for name, one in sets.items()]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise FormatError(f"reading HDF5 needs h5py. Install it: {install_command('h5')}") from error
    return h5py


def _open_bytes(content: bytes) -> Any:
    h5py = _h5py()
    if not content.startswith(b"\x89HDF"):
        raise FormatError("it does not begin like an HDF5 file. Re-export it.")
    return h5py.File(h5py.h5f.open_file_image(content))


def _data_sets(file: Any) -> dict[str, DataSet]:
    """Return all data sets of a file by their path; soft links are left out.

    h5py's low-level functions take a fifth of the time of ``file[name]``, which counts for 50,000 ids.

    Raises:
        FormatError: a link leads to another file.
    """
    h5py = _h5py()
    links: dict[int, list[bytes]] = {}
    file.id.links.visit(lambda name, link: links.setdefault(link.type, []).append(name), info=True)
    if external := links.get(h5py.h5l.TYPE_EXTERNAL):
        raise FormatError(_REFERS.format(f"the external link {external[0].decode(errors='replace')}"))
    kinds: dict[bytes, np.dtype] = {}
    sets = {}
    for name in links.get(h5py.h5l.TYPE_HARD, []):
        one = h5py.h5o.open(file.id, name)
        if isinstance(one, h5py.h5d.DatasetID):
            code = one.get_type().encode()
            if code not in kinds:
                kinds[code] = one.dtype
            sets[name.decode()] = DataSet(one.shape or (), kinds[code], one.get_offset())
    return sets


def _entries(sets: Mapping[str, DataSet]) -> dict[str, Entry]:
    return {name: one.entry for name, one in sets.items()}


def _read(file: Any, name: str) -> np.ndarray:
    """Return the values of a data set. Raises FormatError where they lie in other files, or would fill the memory."""
    chosen, h5py = file[name], _h5py()
    created = chosen.id.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL:
        raise FormatError(_REFERS.format("a virtual data set"))
    if created.get_external_count():
        raise FormatError(_REFERS.format("external storage"))
    formats.refuse_large(name, chosen.nbytes, max(chosen.id.get_storage_size(), 1), is_matrix=True)
    return np.asarray(chosen[()])


def _table_names(entries: Mapping[str, Entry], key: str | None) -> tuple[str, str] | dict[str, str] | None:
    """Name the ids and the matrix of a table, or each id's data set; None when the file is no table."""
    for ids, (shape, kind) in entries.items():
        if kind == "S" and len(shape) == 1 and shape[0] > 1:
            for matrix, (size, numbers) in entries.items():
                if numbers in ("f", "i", "u") and len(size) > 1 and size[0] == shape[0] and key in (None, matrix):
                    return ids, matrix
    vectors = {name: shape for name, (shape, kind) in entries.items() if kind in ("f", "i", "u") and shape}
    grouped = {name for name in vectors if "/" in name}
    if grouped:
        last = {posixpath.basename(name) for name in grouped}
        entry = key or next(
            (name for name in formats.USUAL_ENTRIES if name in last), last.pop() if len(last) == 1 else ""
        )
        found = {posixpath.dirname(name): name for name in grouped if posixpath.basename(name) == entry}
    else:
        found = {name: name for name in vectors if not formats.is_label(name)}
        if any(name in found for name in formats.USUAL_ENTRIES):
            return None
    widths = {vectors[name][-1] for name in found.values()}
    return found if len(found) > 1 and len(widths) == 1 and widths != {1} else None


def _read_each(path: Path, file: Any, sets: Mapping[str, DataSet], pool: str) -> np.ndarray:
    """Return the vectors (R, D) of data sets; those stored in one piece are copied out of the mapped file."""
    matrix = None
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        for row, (name, (shape, dtype, start)) in enumerate(sets.items()):
            if start is None:
                values = _read(file, name)
            else:
                values = np.frombuffer(mapped, dtype, math.prod(shape), start).reshape(shape)
            vector = pooled(f"{path}: {name}", values, pool)
            del values  # a view of the mapped file
            if matrix is None:
                matrix = np.empty((len(sets), vector.size), np.float32)
            if vector.size != matrix.shape[1]:
                raise FeatureError(
                    f"{path}: {name} has {vector.size} values, earlier ids {matrix.shape[1]}. Pool its tokens with "
                    "data.pool=mean, or re-export it."
                )
            matrix[row] = vector
    assert matrix is not None
    return matrix
