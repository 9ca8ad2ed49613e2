"""Find the file that a manifest's feature path means, inside the allowed folders only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from ctbench_core.declared import vector_suffixes
from ctbench_core.errors import PathError

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a drive


def is_url(place: Path | str) -> bool:
    """Return whether a place is a URL, such as ``s3://bucket/features``, and no path."""
    return isinstance(place, str) and bool(_URL.match(place))


def _allowed_places() -> list[str]:
    """Return the folders and URLs of CTBENCH_ROOTS; the colon of ``://`` separates nothing."""
    parts = re.split(re.escape(os.pathsep) + "(?!//)", os.environ.get("CTBENCH_ROOTS", ""))
    return [part.strip() for part in parts if part.strip()]


def allowed_roots() -> tuple[Path, ...]:
    """Return the folders of CTBENCH_ROOTS, resolved; empty means every folder of this machine."""
    return tuple(Path(part).expanduser().resolve() for part in _allowed_places() if not is_url(part))


def check_place(place: Path | str) -> None:
    """Check a folder or file as `check_allowed`, a URL as `check_url`; raises PathError as they do."""
    check_url(str(place)) if is_url(place) else check_allowed(place)


def check_url(url: str) -> str:
    """Return the URL if it holds no secret and lies below a URL of CTBENCH_ROOTS, or no such limit is set.

    Raises:
        PathError: it has a password, a token or ``..``, or lies outside.
    """
    parts = urlsplit(url)
    if parts.password or parts.query or (parts.username and not parts.scheme.startswith("abfs")):
        raise PathError(
            f"A {parts.scheme}:// URL has a user, password or query, which would be stored with every run. Leave it "
            "out, and give access by the environment or the store's own config file."
        )
    places = _allowed_places()
    inside = any(is_url(root) and f"{url}/".startswith(root.rstrip("/") + "/") for root in places)
    if ".." in re.split(r"[/\\]", url) or (places and not inside):
        raise PathError(f"{url} lies outside the allowed places ({', '.join(places)}). Add its URL to CTBENCH_ROOTS.")
    return url


def check_allowed(path: Path | str) -> Path:
    """Return the path if, links followed, it is inside CTBENCH_ROOTS or no such limit is set.

    Raises:
        PathError: the path is outside every allowed folder.
    """
    roots, places = allowed_roots(), _allowed_places()
    resolved = Path(path).expanduser().resolve()
    if places and not any(resolved.is_relative_to(root) for root in roots):
        allowed = ", ".join(map(str, roots)) or "none"
        raise PathError(f"{path} lies outside the allowed folders ({allowed}). Add its folder to CTBENCH_ROOTS.")
    return Path(path).expanduser()


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
        PathError: the path points outside the root or outside CTBENCH_ROOTS.
    """
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
