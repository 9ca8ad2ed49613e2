"""Read files that this program wrote: each gives its content, is absent, or is an error that says what is wrong.

Only a file that is not there is absent. One that the system refuses is tried again for a moment, since a virus scanner
or a synchronised folder may hold it, and is then an error: what reads as absent would be written again.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import yaml

from ctbench_core.errors import CtbenchError, DamagedFile, StorageError, refusal

T = TypeVar("T")

RESTORE = "Restore the file from a copy, or repair the run or set it aside on the System page."
# What parsers raise on content of another form. RuntimeError: content nested deeper than Python's stack.
_UNUSABLE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RuntimeError, TypeError, ValueError),
    *(yaml.YAMLError, zipfile.BadZipFile),
)
_TRIES, _PAUSE_S = 4, 0.03
_refused: set[Path] = set()  # files that were refused last: these are tried once, so that lists of many stay fast

# Types of fields, for `parse_json`. Beyond the limits no count and no figure of this program lies.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_LARGEST = 1e15
Number = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]


@contextlib.contextmanager
def reading(path: Path, advice: str = RESTORE) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read and parsed into an error that names it; absent stays absent.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: its content has another form, or the system does not let it be read.
    """
    try:
        yield
    except (DamagedFile, FileNotFoundError, StorageError):
        raise
    except IsADirectoryError as error:
        raise DamagedFile(f"{path} is damaged: it is a folder, expected a file. {advice}") from error
    except OSError as error:
        if error.errno is None:  # not of the system: pyarrow's on content that it cannot read
            raise DamagedFile(f"{path} is damaged: {_reason(error)}. {advice}") from error
        raise DamagedFile("{} cannot be read now: {}. {}".format(path, *refusal(error))) from error
    except (CtbenchError, *_UNUSABLE) as error:
        raise DamagedFile(f"{path} is damaged: {_reason(error)}. {advice}") from error


def _reason(error: Exception) -> str:
    """Return what a parser says, on one line of moderate length."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8 text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, LookupError):
        text = f"{text} is missing"
    return text if len(text) <= 200 else f"{text[:200]} ..."


def read_bytes(path: Path, start: int = 0, most: int = -1) -> bytes:
    """Return the bytes of a file from ``start`` on, ``most`` of them, tried again where the system refuses it for a moment.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it cannot be read.
    """
    with reading(path):
        for attempt in range(_TRIES):
            try:
                refuse_pipe(path)
                with path.open("rb") as file:
                    file.seek(start)
                    content = file.read(most)
            except (FileNotFoundError, IsADirectoryError):
                raise
            except OSError:
                if path in _refused or attempt == _TRIES - 1:
                    _refused.add(path)
                    raise
                time.sleep(_PAUSE_S * 2**attempt)
            else:
                _refused.discard(path)
                return content
    raise AssertionError  # the last attempt returns or raises


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe or device, which might never answer.

    Raises:
        ValueError: it is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is a pipe or device, expected a file")


def is_there(path: Path) -> bool:
    """Whether anything has this name, readable or not: what is there and cannot be read is not absent."""
    return os.path.lexists(path)


def read_file(path: Path, parse: Callable[[str], T], advice: str = RESTORE) -> T:
    """Return ``parse(text)`` of a file; raises as `reading`."""
    with reading(path, advice):
        return parse(read_bytes(path).decode("utf-8"))


def parse_json(text: str | bytes, kind: Any = Any) -> Any:
    """Return the content of a JSON text whose known fields have the types of ``kind``, with all its other fields.

    Raises:
        ValueError: it is no JSON (NaN and infinities are none), or a field has another type.
    """
    content = msgspec.json.decode(text)
    if kind is not Any:
        msgspec.convert(content, kind)
    return content


def number(value: Any) -> float:
    """Return a number of a file, NaN for null.

    Raises:
        TypeError: it is no number. ValueError: no figure is as large.
    """
    if value is None:
        return math.nan
    result: float = value if type(value) is float else msgspec.convert(value, float)
    if abs(result) > _LARGEST:
        raise ValueError(f"{result:g} is larger than any figure")
    return result
