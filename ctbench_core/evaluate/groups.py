"""Groups of volumes by a metadata column: age bands, makers with their spellings merged, quarters of numbers."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

# Not known: such a volume is in no group and in no complement.
UNKNOWN = ""
OTHER = "other"
AGE_BANDS = ((0, 40), (40, 60), (60, 75), (75, 200))
# More values than this are too many to compare: numbers are cut into quarters, of texts the most frequent are kept.
MOST_GROUPS = 8
# What a patient is first asked about comes first.
FIRST = ("PatientSex", "PatientAge", "Manufacturer")
# Makers that changed hands or names: a spelling that begins so is that maker.
_MAKERS = {
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
_BLANK = frozenset({"", "nan", "na", "n/a", "none", "null", "unknown"})


def groups_of(column: pd.Series) -> np.ndarray:
    """Name the group of each row, (N,); `UNKNOWN` where the column is blank.

    A column of manufacturers has its spellings merged; ages ("036Y", "007M" or years) become bands; of numbers with
    more than `MOST_GROUPS` values, quarters are made; of other texts the most frequent keep their name, written as most
    rows write them (case and outer spaces make no group), and the rest is `OTHER`.
    """
    text = column.astype("string").fillna("").str.strip()
    text = text.where(~text.str.lower().isin(_BLANK), "")
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", str(column.name))
    lower = {word.lower() for word in words}
    if "manufacturer" in lower and "model" not in lower:
        return _named(text.map(_maker))
    if "age" in lower and (years := _years(text)) is not None:
        return np.array([_band(age) for age in years], dtype=object)
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.nunique() > MOST_GROUPS and (numbers.notna() | (text == "")).all():
        return _quarters(numbers)
    return _named(text)


def _maker(value: str) -> str:
    plain = re.sub(r"[^a-z ]+", " ", value.lower()).strip()
    return next((maker for start, maker in _MAKERS.items() if re.match(rf"{start}\b", plain)), value)


def _years(text: pd.Series) -> list[float] | None:
    """Read DICOM ages ("036Y", "007M", "012W", "020D") or numbers as years; None where most are neither."""
    parts = text.str.extract(r"^(\d+(?:\.\d+)?)\s*([YMWDymwd]?)$")
    days = pd.to_numeric(parts[0], errors="coerce") * parts[1].fillna("").str.upper().map(_DAYS)
    known = int(days.notna().sum())
    return (days / _DAYS["Y"]).to_numpy(float).tolist() if known and known * 2 >= (text != "").sum() else None


def _band(age: float) -> str:
    if np.isnan(age):
        return UNKNOWN
    low, high = next(band for band in AGE_BANDS if band[0] <= age < band[1] or band is AGE_BANDS[-1])
    return f"under {high}" if low == 0 else f"{low} and over" if high == AGE_BANDS[-1][1] else f"{low} to {high - 1}"


def _quarters(numbers: pd.Series) -> np.ndarray:
    cut = pd.qcut(numbers, 4, duplicates="drop", precision=3)
    names = {part: f"{part.left:g} to {part.right:g}" for part in cut.cat.categories}
    return np.array([UNKNOWN if pd.isna(part) else names[part] for part in cut], dtype=object)


def _named(text: pd.Series) -> np.ndarray:
    plain = text.str.lower()
    spelling = {key: part.value_counts().index[0] for key, part in text.groupby(plain)}
    known = plain[plain != ""].value_counts()
    kept = set(known.head(MOST_GROUPS if len(known) > MOST_GROUPS else len(known)).index)
    return np.array([UNKNOWN if not key else spelling[key] if key in kept else OTHER for key in plain], dtype=object)


def order_of(groups: np.ndarray) -> list[str]:
    """Return the groups in the order that tables show: bands and quarters by their numbers, others by their names."""
    names = sorted({str(name) for name in groups if name != UNKNOWN})
    return sorted(names, key=_place)


def _place(name: str) -> tuple[bool, float]:
    if name.startswith("under "):
        return False, float("-inf")
    found = re.match(r"(-?[\d.e+-]+) (?:to|and over)", name)
    return name == OTHER, float(found[1]) if found else 0.0


def usable_columns(metadata: pd.DataFrame, patients: np.ndarray, least: int = 5) -> list[str]:
    """Name the columns that divide the volumes into at least two groups of ``least`` patients, the usual ones first."""
    found = []
    for name in metadata.columns:
        groups = groups_of(metadata[name])
        sizes = [len(set(patients[groups == group].tolist())) for group in order_of(groups)]
        if sum(size >= least for size in sizes) > 1:
            found.append(str(name))
    return sorted(found, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
