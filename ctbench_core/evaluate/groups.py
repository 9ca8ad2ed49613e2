"""Group volumes by a metadata column: age bands, manufacturers with merged spellings, quartiles of numbers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from ctbench_core.tables import BLANK

# A volume with an unknown value is in no group and in no complement.
UNKNOWN = ""
OTHER = "other"
AGE_BANDS = ((0, 40), (40, 60), (60, 75), (75, 200))
# With more values than this, numbers are cut into quartiles, and only the most frequent texts are kept.
MAX_GROUPS = 8
# Columns listed first.
FIRST = ("PatientSex", "PatientAge", "Manufacturer")
# Manufacturer by the beginning of its spellings; some were renamed or sold.
_MANUFACTURERS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "pnms": "Philips Neusoft",
    "neusoft": "Philips Neusoft",
    "ge": "GE",
    "general electric": "GE",
    "toshiba": "Canon",
    "canon": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Hitachi",
    "united imaging": "United Imaging",
    "uih": "United Imaging",
}
_DAYS = {"Y": 365.25, "": 365.25, "M": 30.4375, "W": 7.0, "D": 1.0}
_BLANK = frozenset({*BLANK, "n/a", "unknown"})


def metadata_groups(column: pd.Series) -> np.ndarray:
    """Return the group of each row, (N,); `UNKNOWN` where the column is blank.

    Spellings of a manufacturer are merged; ages ("036Y", "007M" or years) become bands; numbers with more than
    `MAX_GROUPS` values become quartiles. Of other texts the most frequent are groups, in their most frequent spelling
    (case and outer spaces are ignored), and the rest is `OTHER`.
    """
    text = column.astype("string").fillna("").str.strip()
    text = text.where(~text.str.lower().isin(_BLANK), "")
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", str(column.name))
    lower = {word.lower() for word in words}
    if "manufacturer" in lower and "model" not in lower:
        return _frequent_texts(text.map(_manufacturer))
    if "age" in lower and (years := _years(text)) is not None:
        return np.array([_band(age) for age in years], dtype=object)
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.nunique() > MAX_GROUPS and (numbers.notna() | (text == "")).all():
        return _quartiles(numbers)
    return _frequent_texts(text)


def _manufacturer(value: str) -> str:
    plain = re.sub(r"[^a-z ]+", " ", value.lower()).strip()
    return next((name for start, name in _MANUFACTURERS.items() if re.match(rf"{start}\b", plain)), value)


def _years(text: pd.Series) -> list[float] | None:
    """Parse DICOM ages ("036Y", "007M", "012W", "020D") or numbers as years; None if most values are neither."""
    parts = text.str.extract(r"^(\d+(?:\.\d+)?)\s*([YMWDymwd]?)$")
    days = pd.to_numeric(parts[0], errors="coerce") * parts[1].fillna("").str.upper().map(_DAYS)
    known = int(days.notna().sum())
    return (days / _DAYS["Y"]).to_numpy(float).tolist() if known and known * 2 >= (text != "").sum() else None


def _band(age: float) -> str:
    if np.isnan(age):
        return UNKNOWN
    low, high = next(band for band in AGE_BANDS if band[0] <= age < band[1] or band is AGE_BANDS[-1])
    return f"under {high}" if low == 0 else f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low} to {high - 1}"


def _quartiles(numbers: pd.Series) -> np.ndarray:
    cut = pd.qcut(numbers, 4, duplicates="drop", precision=3)
    names = {part: f"{part.left:g} to {part.right:g}" for part in cut.cat.categories}
    return np.array([UNKNOWN if pd.isna(part) else names[part] for part in cut], dtype=object)


def _frequent_texts(text: pd.Series) -> np.ndarray:
    plain = text.str.lower()
    spelling = {key: part.value_counts().index[0] for key, part in text.groupby(plain)}
    frequent = set(plain[plain != ""].value_counts().head(MAX_GROUPS).index)
    groups = [UNKNOWN if not key else spelling[key] if key in frequent else OTHER for key in plain]
    return np.array(groups, dtype=object)


def sorted_groups(groups: np.ndarray) -> list[str]:
    """Return the groups in the order of tables: bands and quartiles by their numbers, others by their names."""
    names = sorted({str(name) for name in groups if name != UNKNOWN})
    return sorted(names, key=_sort_key)


def _sort_key(name: str) -> tuple[bool, float]:
    if name.startswith("under "):
        return False, float("-inf")
    match = re.match(r"(-?[\d.e+-]+) (?:to|and over)", name)
    return name == OTHER, float(match[1]) if match else 0.0


def comparable_columns(metadata: pd.DataFrame, patients: np.ndarray, minimum: int = 5) -> list[str]:
    """Return the columns with at least two groups of ``minimum`` patients, `FIRST` ones first."""
    columns = []
    for name in metadata.columns:
        groups = metadata_groups(metadata[name])
        sizes = [len(set(patients[groups == group].tolist())) for group in sorted_groups(groups)]
        if sum(size >= minimum for size in sizes) > 1:
            columns.append(str(name))
    return sorted(columns, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
