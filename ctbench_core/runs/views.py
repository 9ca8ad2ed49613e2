"""Save views of the run table in the run store: a query, an order, columns, under a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ctbench_core.atomic import write_json
from ctbench_core.errors import InputError
from ctbench_core.locks import file_lock
from ctbench_core.runs.readers import read_json

FILE, _LOCK = ".views.json", ".views.lock"

View = dict[str, list[str]]  # values by query parameter of the page


def read_views(outputs_root: Path) -> dict[str, View]:
    """Return the saved views by name, in the order of their names.

    Raises:
        DamagedFile: their file cannot be read.
    """
    stored = read_json(outputs_root / FILE, dict[str, View]) or {}
    return dict(sorted(stored.items(), key=lambda item: item[0].casefold()))


def save_view(outputs_root: Path, name: str, view: Mapping[str, list[str]]) -> None:
    """Save a view; one of the same name is replaced.

    Raises:
        InputError: the name is blank. DamagedFile: the present views cannot be read; they are left as they are.
    """
    if not name.strip():
        raise InputError("A view needs a name. Type one.")
    _change(outputs_root, {name.strip(): dict(view)})


def delete_view(outputs_root: Path, name: str) -> None:
    """Delete a view, if it is there. Errors as `save_view`."""
    _change(outputs_root, {name: None})


def _change(outputs_root: Path, changes: Mapping[str, View | None]) -> None:
    outputs_root.mkdir(parents=True, exist_ok=True)
    with file_lock(outputs_root / _LOCK):  # another page may save at the same time
        views = {**read_views(outputs_root), **changes}
        write_json(outputs_root / FILE, {name: view for name, view in views.items() if view is not None})
