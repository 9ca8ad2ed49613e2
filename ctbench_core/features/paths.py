"""Find the file that a manifest's feature path means, inside the allowed folders only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ctbench_core.config import is_url, refuse_secret
from ctbench_core.declared import vector_suffixes
from ctbench_core.errors import PathError
from ctbench_core.runs import allowed_roots, check_allowed

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")
_COLON = re.compile(r"^[A-Za-z]:(?![\\/])|(?<!^[A-Za-z]):")  # on Windows another drive, or a part of a file


def check_place(place: Path | str) -> None:
    """Check a folder or file as `check_allowed`, a URL as `check_url`; raises what they raise."""
    check_url(str(place)) if is_url(place) else check_allowed(place)


def check_url(url: str) -> str:
    """Return the URL if it holds no secret and lies below a URL of CTBENCH_ROOTS, or no such limit is set.

    Raises:
        ConfigError: it has a user, password or query.
        PathError: it has ``..``, or lies outside.
    """
    refuse_secret(url, "A place")
    if ".." in re.split(r"[/\\]", url):
        raise PathError(f"{url} lies outside its own folder with '..'. Write the URL without it.")
    roots = allowed_roots()
    if roots and not any(isinstance(root, str) and f"{url}/".startswith(root.rstrip("/") + "/") for root in roots):
        allowed = ", ".join(map(str, roots))
        raise PathError(f"{url} lies outside the allowed places ({allowed}). Add its URL to CTBENCH_ROOTS.")
    return url


def relative_path(path: str) -> str:
    """Return a manifest's path relative to the feature root.

    Backslashes separate, a leading slash means the root, ``.`` and inner ``..`` are resolved.
    """
    parts: list[str] = []
    for part in path.replace("\\", "/").split("/"):
        if part in ("", "."):
            continue
        if part == ".." and not parts:
            raise PathError(
                f"Feature path {path!r} points outside the feature root with '..'. Write it relative to paths.data_root."
            )
        parts.pop() if part == ".." else parts.append(part)
    return "/".join(parts)


def find_file(root: Path, path: str) -> Path | None:
    """Return the feature file that a manifest's path means, or None when there is none.

    The file is searched below the root: as written, without ``.nii.gz``, then with another known suffix; an absolute
    path is then tried in the same way as a path of this machine.

    Raises:
        PathError: the path points outside the root or outside CTBENCH_ROOTS, or names a drive without a folder.
    """
    if _COLON.search(path):
        raise PathError(
            f"Feature path {path!r} has a colon, which on Windows leads to another drive or file. Write it relative to "
            "paths.data_root, and rename files whose names have one."
        )
    relative = relative_path(path) if not _DRIVE.match(path) else None
    bases = [] if relative is None else [root / relative]
    if os.path.isabs(path) or _DRIVE.match(path):
        bases.append(Path(path))
    for candidate in chain.from_iterable(candidates(str(base)) for base in bases):
        if os.path.isfile(candidate):
            return check_allowed(candidate) if allowed_roots() else Path(candidate)
    return None


def candidates(base: str) -> Iterator[str]:
    """Yield the file names that a feature path may mean, in the order in which they are tried."""
    suffixes = vector_suffixes()
    if base.lower().endswith(suffixes):
        yield base
    stem = re.sub(r"\.nii(\.gz)?$", "", base)
    known = next((suffix for suffix in suffixes if stem.endswith(suffix)), "")
    stem = re.sub(r"\.nii(\.gz)?$", "", stem.removesuffix(known))
    yield from (stem + suffix for suffix in suffixes)
    yield base  # last, since the image itself may be beside its features
