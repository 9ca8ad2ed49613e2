"""Read one feature file whole and parse it as one float32 vector."""

from __future__ import annotations

import lzma
import os
import pickle
import stat
import struct
import tokenize
import zipfile
import zlib
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ctbench_core.declared import format_of, load, vector_suffixes
from ctbench_core.errors import FeatureError
from ctbench_core.features.formats import VALUES_LIMIT, FormatError, TableFileError

# A flattened vector longer than this is most likely an unpooled token grid.
FLATTEN_LIMIT = 16_384

# What NumPy, zipfile and torch raise on damaged files, collected by reading thousands of them. MemoryError: a damaged
# header may ask for terabytes.
READ_ERRORS = (
    OSError, EOFError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AssertionError,
    AttributeError, SyntaxError, MemoryError, pickle.UnpicklingError, struct.error, tokenize.TokenError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

# One volume's features fit in this; larger files are an error before they are read.
FILE_LIMIT = 2**30

# Larger files are read one by one: a block of many would fill the memory, and saves no time.
_SMALL_FILE = 2**16

# O_NONBLOCK: opening a pipe instead of a file must not wait for the pipe's writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_NOT_READ = (-1, -1, -1)

Stamp = tuple[int, int, int]


def read_vector(path: Path, key: str | None = None, pool: str = "flatten") -> np.ndarray:
    """Read one feature file as a float32 vector, shape (D,).

    Args:
        path: a file of a format of `declared.FORMATS` that holds one vector.
        key: name of the array in a file of several; by default a usual name, else the only one that could be a vector.
        pool: flatten (squeeze and flatten), mean (over all but the last axis), cls (first token).

    Raises:
        FeatureError: unreadable, pickled, not numeric, empty, or too long for one vector.
    """
    try:
        content, _ = read_file(str(path))
    except (OSError, ValueError) as error:
        raise FeatureError(f"{path} cannot be read: {explain(error)}") from error
    return parse_vector(str(path), content, key, pool)


def stamp_of(status: os.stat_result) -> Stamp:
    """Return what differs in a changed file: its size, and the times of its content and of its entry.

    The entry's time shows that a file was swapped for one of the same size and date; on Windows it is the time of
    creation.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_file(path: str) -> tuple[bytes, Stamp]:
    """Read a regular file in one go; return its content and the stamp it had before."""
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("it is a folder, pipe or device. Use a regular file.")
        size = status.st_size
        if size > FILE_LIMIT:
            raise FormatError(f"it has {size:,} bytes; one volume has at most {FILE_LIMIT:,}. Pool it first.")
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
    finally:
        os.close(descriptor)
    return content, stamp_of(status)


def read_small_files(paths: Iterable[str]) -> tuple[np.ndarray, bytes]:
    """Read many small files whole, and leave missing, large and unreadable ones to the caller.

    It uses strings and plain calls: 50,000 files take 0.2 s, and 0.7 s with Path and file objects.

    Returns:
        The stamp of each path, int64 (B, 3), -1 where it is left to the caller; and the contents of the others, end
        to end.
    """
    stamps, contents = array("q"), []
    for path in paths:
        try:
            descriptor = os.open(path, _FLAGS)
        except (OSError, ValueError):
            stamps.extend(_NOT_READ)
            continue
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            content = b"" if size > _SMALL_FILE or not stat.S_ISREG(status.st_mode) else os.read(descriptor, size)
        except OSError:
            content = b""
        finally:
            os.close(descriptor)
        if content and len(content) == size:
            contents.append(content)
            stamps.extend((size, status.st_mtime_ns, status.st_ctime_ns))
        else:
            stamps.extend(_NOT_READ)
    return np.array(stamps, dtype=np.int64).reshape(-1, 3), b"".join(contents)


def parse_vector(path: str, content: bytes, key: str | None, pool: str) -> np.ndarray:
    """Return the float32 vector of a file's bytes, shape (D,).

    Raises:
        TableFileError: it has ids and a matrix instead.
        FeatureError: it has no usable vector.
    """
    known = format_of(path)
    if known is None or not known.parse:
        raise FeatureError(
            f"{path} has an unknown suffix. Known: {', '.join(vector_suffixes())}. Export it as one of these."
        )
    if not content:
        raise FeatureError(f"{path} is empty: 0 bytes. Re-export it.")
    try:
        return pooled(path, load(known.parse)(content, key), pool)
    except TableFileError as error:
        raise TableFileError(
            f"{path} has ids and a matrix, the vectors of many volumes; expected one vector."
        ) from error
    except READ_ERRORS as error:
        raise FeatureError(f"{path} cannot be read: {explain(error)}") from error


def explain(error: BaseException) -> str:
    """Say in one line why a file cannot be read and what to do."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, pickle.UnpicklingError) or "allow_pickle" in text:
        return "it holds pickled objects, which could run code, or is damaged. Save a plain array or tensor instead."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}. Check that it exists and may be read."
    if isinstance(error, FormatError):
        return text
    return f"it is damaged or of another format ({text}). Re-export it."


def pooled(path: str, array: np.ndarray, pool: str) -> np.ndarray:
    """Return an array as one float32 vector (D,): flattened, or the mean or the first of its tokens (..., D).

    Raises:
        FeatureError: not numeric, empty, or too long for one vector.
    """
    if array.dtype.kind not in "fiub":
        raise FeatureError(f"{path} has values of type {array.dtype}, not numbers. Export float32.")
    if array.size == 0:
        raise FeatureError(f"{path} has an empty array of shape {array.shape}. Re-export it.")
    if array.size > VALUES_LIMIT:
        raise FeatureError(f"{path} has {array.size:,} values, too many for one volume. Pool them first.")
    # float64 beyond float32's range becomes infinite here and is reported as non-finite.
    with np.errstate(over="ignore", invalid="ignore"):
        if array.ndim > 1 and pool != "flatten":
            tokens = array.reshape(-1, array.shape[-1]).astype(np.float32)
            return tokens[0] if pool == "cls" else tokens.mean(axis=0)
        if array.size > FLATTEN_LIMIT:
            fix = "Set data.pool=mean to average its tokens, or data.pool=cls to use the first."
            raise FeatureError(
                f"{path} has shape {array.shape}: flattened {array.size:,} values, above the limit of {FLATTEN_LIMIT:,}. "
                + (fix if array.ndim > 1 else "Export one pooled vector a volume.")
            )
        return array.reshape(-1).astype(np.float32)
