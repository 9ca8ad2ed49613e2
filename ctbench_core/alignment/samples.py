"""What browsing an alignment shows of each volume: who it is, its findings, and its report's text."""

from __future__ import annotations

import pandas as pd

from ctbench_core.manifest import Manifest

# A column of words this long on average is a report's text.
_WORDS, _LOOKED_AT = 5, 200
TEXT_PREFIX, LABEL_PREFIX = "text_", "target_"


def report_columns(manifest: Manifest) -> list[str]:
    """Name the columns of running text: some words a cell on average, and neither id, path nor finding."""
    taken = {"volumename", *manifest.labels}
    names = [name for name in manifest.frame.columns if name not in taken and not name.endswith(("_id", "_path"))]
    return [name for name in names if _is_text(manifest.frame[name])]


def _is_text(column: pd.Series) -> bool:
    filled = column[column.str.strip() != ""].drop_duplicates().head(_LOOKED_AT)
    return bool(len(filled)) and float(filled.str.split().str.len().mean()) >= _WORDS


def samples_of(manifest: Manifest) -> pd.DataFrame:
    """Return a row a volume: volumename, exam, patient, target_<finding> (0, 1, null), text_<column>."""
    columns = {"volumename": manifest.volumes, "exam": manifest.exams, "patient": manifest.patients}
    frame = pd.DataFrame({name: values.astype(str) for name, values in columns.items()})
    for place, label in enumerate(manifest.labels):
        frame[f"{LABEL_PREFIX}{label}"] = pd.array(manifest.targets[:, place], dtype="Float32").astype("Int8")
    for name in report_columns(manifest):
        frame[f"{TEXT_PREFIX}{name}"] = manifest.frame[name].to_numpy()
    return frame
