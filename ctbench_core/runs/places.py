"""The folders that the app and the command line may read and write: CTBENCH_ROOTS and the run store."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ctbench_core.config import is_url
from ctbench_core.errors import PathError
from ctbench_core.runs.layout import app_store


def allowed_roots() -> tuple[Path | str, ...]:
    """Return the folders of CTBENCH_ROOTS, resolved, and its URLs as text; empty means that nothing is refused."""
    parts = re.split(re.escape(os.pathsep) + "(?!//)", os.environ.get("CTBENCH_ROOTS", ""))  # no split at ://
    places = [part.strip() for part in parts if part.strip()]
    return tuple(place if is_url(place) else Path(place).expanduser().resolve() for place in places)


def check_allowed(path: Path | str) -> Path:
    """Return the path if, links followed, it is inside CTBENCH_ROOTS or the app's run store, or no such limit is set.

    Raises:
        PathError: the path is outside every allowed folder.
    """
    roots = allowed_roots()
    resolved = Path(path).expanduser().resolve()
    folders = [*(root for root in roots if isinstance(root, Path)), app_store().resolve()]
    if roots and not any(resolved.is_relative_to(folder) for folder in folders):
        allowed = ", ".join(map(str, roots))
        raise PathError(f"{path} lies outside the allowed folders ({allowed}). Add its folder to CTBENCH_ROOTS.")
    return Path(path).expanduser()


def leads_out(path: Path | str) -> bool:
    """Whether a link leads out of the allowed folders; see `check_allowed`."""
    try:
        check_allowed(path)
    except PathError:
        return True
    return False
