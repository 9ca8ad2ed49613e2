"""Select the cohort: an exclusion list, conditions on metadata, one reconstruction of each exam."""

from __future__ import annotations

import dataclasses
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import CohortConfig
from ctbench_core.errors import ConfigError, ManifestError, unknown_name
from ctbench_core.formatting import plural
from ctbench_core.manifest.manifest import Manifest, clean_names, is_in
from ctbench_core.tables import read_bytes, to_utf8

_COMPARE = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


def apply_cohort(manifest: Manifest, cohort: CohortConfig) -> Manifest:
    """Return the rows of the cohort: exclusions first, then conditions, then one reconstruction of each exam.

    Raises:
        ConfigError: a condition names no column or no known operator.
        ManifestError: no row is left, or the exclusion file is missing.
    """
    keep, steps = np.ones(len(manifest), dtype=bool), [f"{plural(len(manifest), 'volume')} in all"]
    if cohort.exclude:
        keep &= ~is_in(manifest.volumes, read_names(Path(cohort.exclude)))
        steps.append(f"{keep.sum():,} after the exclusion list")
    for condition in cohort.where:
        keep &= _meets(manifest, condition)
        steps.append(f"{keep.sum():,} with {condition['column']} {condition['op']} {condition['value']}")
    if cohort.recon != "all":
        keep &= _one_reconstruction(manifest, keep, last=cohort.recon == "last")
        steps.append(f"{keep.sum():,} with the {cohort.recon} reconstruction of each exam")
    if not keep.any():
        raise ManifestError(f"{manifest.place}: data.cohort leaves no row ({', '.join(steps)}). Relax its conditions.")
    if len(steps) == 1:
        return manifest
    selected = manifest if keep.all() else manifest.select(keep)
    return dataclasses.replace(selected, notes=[*manifest.notes, f"Cohort of {manifest.name}: {', '.join(steps)}."])


def read_names(path: Path) -> np.ndarray:
    """Read a list of volume names: one a line, or the first column of a table.

    Raises:
        ManifestError: the file is missing.
    """
    if not path.is_file():
        raise ManifestError(f"Exclusion list {path} does not exist. Correct data.cohort.exclude, or leave it empty.")
    text = to_utf8(path, read_bytes(path)).decode("utf-8")
    return clean_names(line.split(",")[0].strip().strip('"') for line in text.splitlines() if line.strip())


def _meets(manifest: Manifest, condition: dict[str, Any]) -> np.ndarray:
    if set(condition) != {"column", "op", "value"}:
        raise ConfigError(f"data.cohort.where: {condition} must have exactly the keys column, op and value.")
    column, op, value = condition["column"], condition["op"], condition["value"]
    if column not in manifest.frame.columns:
        raise ConfigError(
            f"data.cohort.where: {manifest.place} has no column {column!r}. It has: {', '.join(manifest.frame)}."
        )
    text = manifest.frame[column].astype(str).str.strip()
    if op == "in":
        return text.isin([str(item) for item in (value if isinstance(value, list) else [value])]).to_numpy()
    if op not in _COMPARE:
        raise unknown_name("operator of data.cohort.where", str(op), [*_COMPARE, "in"])
    if isinstance(value, (int, float)):
        # DICOM writes ages as "036Y"; a condition compares the number. A blank meets none.
        numbers = pd.to_numeric(text.str.replace(r"^(\d+)Y$", r"\1", regex=True), errors="coerce")
        return (_COMPARE[op](numbers, value) & numbers.notna()).to_numpy()
    return _COMPARE[op](text, str(value)).to_numpy()


def _one_reconstruction(manifest: Manifest, keep: np.ndarray, last: bool) -> np.ndarray:
    """Mark, among the rows to keep, each exam's lowest (or highest) reconstruction number."""
    table = pd.DataFrame({"exam": manifest.exams, "recon": manifest.recons, "row": np.arange(len(manifest))})[keep]
    table = table.sort_values(["recon", "row"], ascending=[not last, True]).drop_duplicates("exam")
    chosen = np.zeros(len(manifest), dtype=bool)
    chosen[table["row"].to_numpy()] = True
    return chosen
