"""Where a manifest's feature path leads on this machine, and whether it may be followed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ctbench_core.errors import PathError

SUFFIXES = (".npz", ".npy", ".pt", ".pth", ".safetensors")
TABLE_SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc")

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


def allowed_roots() -> tuple[Path, ...]:
    """Return the folders of CTBENCH_ROOTS, resolved; empty means every folder of this machine."""
    given = os.environ.get("CTBENCH_ROOTS", "")
    return tuple(Path(part).expanduser().resolve() for part in given.split(os.pathsep) if part.strip())


def check_allowed(path: Path | str) -> Path:
    """Return the path, if it lies inside CTBENCH_ROOTS or no such limit is set.

    Links are followed first, so that none leads out.

    Raises:
        PathError: the path lies outside every allowed folder.
    """
    roots = allowed_roots()
    resolved = Path(path).expanduser().resolve()
    if roots and not any(resolved.is_relative_to(root) for root in roots):
        raise PathError(
            f"{path} lies outside the allowed folders ({', '.join(map(str, roots))}). Add its folder to CTBENCH_ROOTS."
        )
    return Path(path).expanduser()


def relative_path(written: str) -> str:
    """Normalise a path as written in a manifest to one relative to the feature root.

    Backslashes separate, a leading slash means the root, ``.`` and inner ``..`` are folded.

    Raises:
        PathError: the path climbs out of the root.
    """
    parts: list[str] = []
    for part in written.replace("\\", "/").split("/"):
        if part in ("", "."):
            continue
        if part == ".." and not parts:
            raise PathError(
                f"Feature path {written!r} climbs out of the feature root with '..'. Write it relative to paths.data_root."
            )
        parts.pop() if part == ".." else parts.append(part)
    return "/".join(parts)


def find_file(root: Path, written: str) -> Path | None:
    """Return the feature file that a manifest's path means, or None when there is none.

    Tried in turn below the root: as written, with ``.nii.gz`` dropped, with another known suffix;
    then the same for an absolute path of this machine.

    Raises:
        PathError: the path climbs out of the root, or leads outside CTBENCH_ROOTS.
    """
    relative = relative_path(written) if not _DRIVE.match(written) else None
    bases = [] if relative is None else [root / relative]
    if os.path.isabs(written) or _DRIVE.match(written):
        bases.append(Path(written))
    for base in bases:
        found = _with_known_suffix(str(base))
        if found is not None:
            return check_allowed(found) if allowed_roots() else found
    return None


def _with_known_suffix(base: str) -> Path | None:
    for candidate in _candidates(base):
        if os.path.isfile(candidate):
            return Path(candidate)
    return None


def _candidates(base: str) -> Iterable[str]:
    if base.lower().endswith(SUFFIXES):
        yield base
    stem = re.sub(r"\.nii(\.gz)?$", "", base)
    known = next((suffix for suffix in SUFFIXES if stem.endswith(suffix)), "")
    stem = re.sub(r"\.nii(\.gz)?$", "", stem.removesuffix(known))
    yield from (stem + suffix for suffix in SUFFIXES)
    yield base  # last: the image itself may lie beside its features
