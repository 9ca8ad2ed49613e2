"""Divide a table that holds every split by its split column."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ctbench_core.errors import Fix, ManifestError, first_rows
from ctbench_core.formatting import plural
from ctbench_core.manifest.columns import require_columns, spelled_columns
from ctbench_core.manifest.manifest import Manifest
from ctbench_core.tables import read_table

KEY = "data.columns.split"
TEST_ROWS = "test"  # the name of the test set that a split column defines
_SPELLINGS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev", "tune", "tuning"),
    "test": (TEST_ROWS, "testing", "holdout", "held-out"),
}
_ROLES = {spelling: role for role, spellings in _SPELLINGS.items() for spelling in spellings}

_kept: dict[tuple[str, str, int, int], list[str]] = {}


def divide_by_column(manifest: Manifest, column: str) -> dict[str, Manifest]:
    """Return the rows of each split that has some: train, val, test. Rows with a blank split are left out.

    Raises:
        ManifestError: there is no such column, it holds another value, or no training row.
    """
    require_columns(manifest.path, list(manifest.frame), [column], KEY)
    values = manifest.frame[column].str.strip()
    roles = values.str.casefold().map(_ROLES)
    wrong = (values != "") & roles.isna()
    every_row = [Fix("Use all rows for training", {KEY: None})]
    if wrong.any():
        raise ManifestError(
            f"{manifest.path}: column {column!r} has {', '.join(map(repr, values[wrong].unique()[:5]))} on line "
            f"{first_rows(manifest.lines[wrong])}; expected train, val or test. Correct the values, or name another "
            f"column with {KEY}.",
            fixes=every_row,
        )
    parts = {role: manifest.select((roles == role).to_numpy()) for role in _SPELLINGS if (roles == role).any()}
    if "train" not in parts:
        raise ManifestError(
            f"{manifest.path}: column {column!r} has no training row; it has {', '.join(values.unique()[:5])}. "
            f"Name another column with {KEY}, or leave it empty.",
            fixes=every_row,
        )
    return _describe(manifest, column, parts, blank=int((values == "").sum()))


def _describe(manifest: Manifest, column: str, parts: dict[str, Manifest], blank: int) -> dict[str, Manifest]:
    """Name the parts, and say with the training rows what was divided."""
    sizes = ", ".join(f"{role} {len(part):,}" for role, part in parts.items())
    note = f"{manifest.name} is divided by column {column!r} ({KEY}): {sizes}."
    left_out = [f"{manifest.name}: {plural(blank, 'row')} with a blank {column!r} left out."] if blank else []
    named = {
        role: dataclasses.replace(part, name=TEST_ROWS if role == "test" else f"{manifest.name} {role}", warnings=[])
        for role, part in parts.items()
    }
    train = dataclasses.replace(named["train"], warnings=manifest.warnings + left_out, notes=[*manifest.notes, note])
    return named | {"train": train}


def read_roles(path: Path, column: str) -> list[str]:
    """List the splits that a table's column names; none where the table cannot be read."""
    try:
        status = path.stat()
        key = (str(path), column, status.st_mtime_ns, status.st_size)
        if key not in _kept:
            _kept.clear()
            frame, _ = read_table(path)
            _kept[key] = _roles_of(frame[column]) if column in frame else []
        return _kept[key]
    except (OSError, ManifestError):
        return []


def _roles_of(column: pd.Series) -> list[str]:
    named = {_ROLES.get(value) for value in column.str.strip().str.casefold().unique()}
    return [role for role in _SPELLINGS if role in named]


def find_split_columns(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns that may divide a table, each with its splits, two at least."""
    columns = {name: _roles_of(frame[name]) for name in spelled_columns("split", list(frame))}
    return {name: roles for name, roles in columns.items() if len(roles) > 1}


def unused_split(manifests: Sequence[Manifest]) -> dict[str, list[Fix]]:
    """Return a warning with its fix for each table that holds several splits in a column that is not used."""
    warnings = {}
    for manifest in manifests:
        for name, roles in find_split_columns(manifest.frame).items():
            text = (
                f"{manifest.name} has {', '.join(roles)} rows by column {name!r}, which is not used. Set {KEY}={name}."
            )
            warnings[text] = [Fix(f"Divide by column {name}", {KEY: name}, sure=True)]
    return warnings
