"""One feature file to one float32 vector. Nothing in a file is ever executed.

To read another format, add its suffix to ``READERS``.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.errors import FeatureError

# A flattened vector longer than this is most likely an unpooled token grid.
FLATTEN_LIMIT = 16_384

# Names under which a .pt dict usually holds its vector.
_USUAL_ENTRIES = ("features", "visual_features", "embedding", "embeddings")


def read_vector(path: Path, key: str | None = None, pool: str = "flatten") -> np.ndarray:
    """Read one feature file as a float32 vector, shape (D,).

    Args:
        path: an .npz, .npy, .pt or .pth file.
        key: array of an .npz, or entry of a .pt dict; by default the first array.
        pool: flatten (squeeze and flatten), mean (over all but the last axis), cls (first token).

    Raises:
        FeatureError: unreadable, pickled, not numeric, empty, or too long to be one vector.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise FeatureError(f"{path} is of no known kind. Known: {', '.join(READERS)}.")
    try:
        array = reader(path, key)
    except (OSError, EOFError, ValueError, RuntimeError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise FeatureError(f"{path} cannot be read: {_reason(error)}") from error
    return _pooled(path, array, pool)


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    if isinstance(error, pickle.UnpicklingError) or (text and "allow_pickle" in text[0]):
        return "it holds pickled objects, which could run code. Save a plain array or tensor instead."
    return text[0] if text else type(error).__name__


def _read_npy(path: Path, key: str | None) -> np.ndarray:
    return np.load(path, allow_pickle=False)


def _read_npz(path: Path, key: str | None) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        if not hasattr(arrays, "files"):
            raise ValueError("it is no .npz archive.")
        if not arrays.files:
            raise ValueError("it holds no array.")
        if key is not None and key not in arrays.files:
            raise KeyError(f"it has no array {key!r}; it holds {', '.join(arrays.files)}.")
        return arrays[key or arrays.files[0]]


def _read_torch(path: Path, key: str | None) -> np.ndarray:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict):
        content = _entry(content, key)
    if not isinstance(content, torch.Tensor):
        raise ValueError(f"it holds {type(content).__name__}, not a tensor.")
    return content.detach().to(torch.float32).numpy()


def _entry(content: dict[Any, Any], key: str | None) -> Any:
    import torch

    if key is not None:
        if key not in content:
            raise KeyError(f"it has no entry {key!r}; it holds {', '.join(map(str, content))}.")
        return content[key]
    for name in (*_USUAL_ENTRIES, *content):
        if isinstance(content.get(name), torch.Tensor):
            return content[name]
    raise ValueError("its dict holds no tensor.")


READERS: dict[str, Callable[[Path, str | None], np.ndarray]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".pt": _read_torch,
    ".pth": _read_torch,
}


def _pooled(path: Path, array: np.ndarray, pool: str) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise FeatureError(f"{path} holds values of type {array.dtype}, not numbers.")
    if array.size == 0:
        raise FeatureError(f"{path} holds an empty array of shape {array.shape}.")
    if array.ndim > 1 and pool != "flatten":
        tokens = array.reshape(-1, array.shape[-1]).astype(np.float32)
        return tokens[0] if pool == "cls" else tokens.mean(axis=0)
    if array.size > FLATTEN_LIMIT:
        raise FeatureError(
            f"{path} has shape {array.shape}: flattened, that is {array.size:,} values, above {FLATTEN_LIMIT:,}. "
            "Set data.pool=mean to average its tokens, or data.pool=cls to take the first."
        )
    # float64 beyond float32's range becomes infinite here, and is reported as non-finite.
    with np.errstate(over="ignore"):
        return array.reshape(-1).astype(np.float32)
