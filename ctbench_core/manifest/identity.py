"""Who a volume belongs to: its exam, its patient, and its reconstruction.

CT-RATE names read ``<split>_<patient>_<scan>_<reconstruction>``, as ``train_12_a_2``. Dropping the
last part names the exam, dropping the last two names the patient. The split stays in the patient's
name because patient numbers restart in each split. Tables with one row an exam leave the
reconstruction away (``train_12_a``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

_NAME = r"^(?P<patient>.+_\d+)_(?P<scan>[A-Za-z]+)(?:_(?P<recon>\d{1,9}))?$"


@dataclass(frozen=True)
class Identities:
    """Exam, patient and reconstruction of N volumes; ``unnamed`` marks those whose name tells none."""

    exams: np.ndarray
    patients: np.ndarray
    recons: np.ndarray
    unnamed: np.ndarray


def clean_names(names: Iterable[str]) -> np.ndarray:
    """Strip blanks and a trailing ``.nii.gz`` or ``.nii`` from volume names, shape (N,)."""
    series = pd.Series(list(names), dtype=object).astype(str).str.strip()
    return series.str.replace(r"\.nii(\.gz)?$", "", regex=True).to_numpy(dtype=object)


def parse_identities(names: Sequence[str] | np.ndarray) -> Identities:
    """Read exam, patient and reconstruction number from volume names, each of shape (N,).

    A name that does not follow the pattern is its own exam and its own patient, reconstruction 0.
    """
    series = pd.Series(list(names), dtype=object).astype(str)
    parts = series.str.extract(_NAME)
    unnamed = parts["patient"].isna().to_numpy()
    exams = (parts["patient"] + "_" + parts["scan"]).where(~unnamed, series)
    patients = parts["patient"].where(~unnamed, series)
    recons = parts["recon"].fillna("0").astype(int)
    return Identities(
        exams.to_numpy(dtype=object), patients.to_numpy(dtype=object), recons.to_numpy(dtype=np.int64), unnamed
    )
