"""Read one of the tables that a manifest is made of: rows by volume or by exam, identical rows only once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.errors import ManifestError, first_rows
from ctbench_core.manifest.manifest import clean_names, parse_identities
from ctbench_core.tables import read_table

# The spellings of CT-RATE's tables and similar ones, compared without case, blanks and underscores.
_NAME_COLUMNS = ("volumename", "volume", "volumeid", "nameinctrate")
_FEATURE_SUFFIXES = frozenset({".npz", ".npy", ".pt", ".pth", ".safetensors"})


@dataclass(frozen=True)
class InputTable:
    """M rows of a table.

    Attributes:
        names: volume names, or exam names where ``by_exam``, shape (M,).
        exams: the exam of each row, shape (M,).
        frame: the other columns as text, M rows.
        lines: line numbers in the file, shape (M,).
        repeated: names of identical rows that were dropped.
        unmapped: accession numbers without a labelled volume, by a key of UNMATCHED_REASONS.
    """

    path: Path
    names: np.ndarray
    exams: np.ndarray
    frame: pd.DataFrame
    lines: np.ndarray
    by_exam: bool
    repeated: list[str]
    unmapped: dict[str, list[str]]

    def select(self, rows: np.ndarray) -> InputTable:
        """Return some rows (a mask or positions)."""
        return _build(self.path, self.names[rows], self.frame.iloc[rows], self.lines[rows], self.unmapped)


def read_input_table(path: Path, name_column: str | None = None) -> InputTable:
    """Read a table whose rows are volumes or exams; a folder is read as the list of its feature files.

    Raises:
        ManifestError: no column of names, a blank name, or two different rows of one name.
    """
    if path.is_dir():
        return _read_folder(path)
    frame, _ = read_table(path, kind="Table")
    frame = _add_header(frame)
    column = _find_column(path, frame, name_column, _NAME_COLUMNS, "name_column")
    return _build(path, clean_names(frame[column]), frame.drop(columns=column), frame.index.to_numpy() + 2, {})


def read_mapped(path: Path, mapping_path: Path, accession_column: str, mapped_column: str) -> InputTable:
    """Read labels by accession number, named by a table that maps accession numbers to volumes.

    A volume that is blank or reads ``not in CT-RATE`` is skipped; one accession may map to several volumes.

    Raises:
        ManifestError: a column is missing, or one accession or volume has two different rows.
    """
    frame, _ = read_table(path, kind="Table")
    column = _find_column(path, frame, accession_column, (), "accession_column")
    accessions, lines = frame[column].str.strip(), frame.index.to_numpy() + 2
    rows, repeated = _distinct(path, accessions.to_numpy(), frame.drop(columns=column), lines)
    mapping, _ = read_table(mapping_path, kind="Table")
    keys = mapping[_find_column(mapping_path, mapping, accession_column, (), "accession_column")].str.strip()
    names = clean_names(mapping[_find_column(mapping_path, mapping, mapped_column, (), "mapped_column")])
    outside = np.array([name == "" or name.casefold().startswith("not in") for name in names])
    positions = pd.Index(accessions.to_numpy()[rows]).get_indexer(keys)
    matched = (positions >= 0) & ~outside
    unmapped = {
        "labels_without_mapping": accessions[~accessions.isin(keys)].tolist(),
        "mapping_without_volume": keys[outside].tolist(),
        "mapping_without_labels": keys[(positions < 0) & ~outside].tolist(),
        "repeated_accessions": repeated,
    }
    label_rows = rows[positions[matched]]
    return _build(path, names[matched], frame.drop(columns=column).iloc[label_rows], lines[label_rows], unmapped)


def match_labels(base: InputTable, labels: InputTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the volumes of ``base`` that have labels, their rows in ``labels``, and the names without labels.

    A base by exam means all labelled volumes of its exams. One volume at least must have labels.
    """
    if base.by_exam and not labels.by_exam:
        rows = np.flatnonzero(np.isin(labels.exams, base.exams))
        names, unlabelled = labels.names[rows], base.names[~np.isin(base.exams, labels.exams)]
    else:
        keys, known = (base.exams, labels.exams) if labels.by_exam else (base.names, labels.names)
        positions = pd.Index(known).get_indexer(keys)
        names, rows, unlabelled = base.names[positions >= 0], positions[positions >= 0], base.names[positions < 0]
    if not len(names):
        raise ManifestError(
            f"{base.path} and {labels.path} share no volume: the first begins with {', '.join(base.names[:1])}, "
            f"the second with {', '.join(labels.names[:1]) or 'nothing'}. Give two tables of the same volumes."
        )
    return names, rows, unlabelled


def match_rows(names: np.ndarray, exams: np.ndarray, table: InputTable, else_by_exam: bool = False) -> np.ndarray:
    """Return each volume's row of a table, -1 for none, int64 of shape (N,).

    Rows match by volume; where either side names exams only, by exam: then the exam's first row.
    """
    first = pd.Index(table.exams).drop_duplicates()
    starts = np.flatnonzero(~pd.Index(table.exams).duplicated())
    positions = first.get_indexer(exams)
    by_exam = np.where(positions >= 0, starts[positions], -1)
    if table.by_exam:
        return by_exam
    by_name = pd.Index(table.names).get_indexer(names)
    return np.where((by_name < 0) & (else_by_exam | (names == exams)), by_exam, by_name)


def _find_column(path: Path, frame: pd.DataFrame, name: str | None, usual: tuple[str, ...], option: str) -> str:
    """Return the column of this name, or without a name the first usual one."""
    if name is not None and name in frame:
        return name
    columns = {str(column).casefold().replace("_", "").replace(" ", ""): str(column) for column in frame}
    column = next((columns[spelling] for spelling in usual if spelling in columns), None)
    if column is None or name is not None:
        expected = repr(name) if name is not None else "VolumeName"
        raise ManifestError(
            f"{path} has no column {expected}. Its columns are: {', '.join(map(str, frame))}. Name the right one with {option}=."
        )
    return column


def _add_header(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the first line into a row where a plain list of volumes has no header."""
    first = str(frame.columns[0])
    if len(frame.columns) > 1 or parse_identities(clean_names([first])).unnamed[0]:
        return frame
    top = pd.DataFrame({"VolumeName": [first]}, index=[-1])
    return pd.concat([top, frame.set_axis(["VolumeName"], axis=1)])


def _read_folder(path: Path) -> InputTable:
    stems = sorted(file.stem for file in path.rglob("*") if file.suffix in _FEATURE_SUFFIXES and file.is_file())
    if not stems:
        raise ManifestError(
            f"{path} contains no feature file ({', '.join(sorted(_FEATURE_SUFFIXES))}). Choose another folder or a table."
        )
    names = clean_names(stems)
    return _build(path, names, pd.DataFrame(index=range(len(names))), np.zeros(len(names), dtype=np.int64), {})


def _build(
    path: Path, names: np.ndarray, frame: pd.DataFrame, lines: np.ndarray, unmapped: dict[str, list[str]]
) -> InputTable:
    blank = names == ""
    if blank.any():
        raise ManifestError(
            f"{path}: volume name is blank on line {first_rows(lines[blank])}. Fill it in, or remove the row."
        )
    rows, repeated = _distinct(path, names, frame, lines)
    names = names[rows]
    parsed = parse_identities(names)
    named = ~parsed.unnamed
    # An exam's name lacks the reconstruction, so it parses to itself.
    by_exam = bool(named.any() and (names[named] == parsed.exams[named]).all())
    frame = frame.iloc[rows].reset_index(drop=True)
    return InputTable(path, names, parsed.exams, frame, lines[rows], by_exam, repeated, unmapped)


def _distinct(path: Path, names: np.ndarray, frame: pd.DataFrame, lines: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the first row of each name, and the names of further rows; those must have the same values."""
    keyed = frame.apply(lambda column: column.str.strip()).reset_index(drop=True).assign(**{"": names})
    repeated = keyed[""].duplicated().to_numpy()
    differs = repeated & ~keyed.duplicated().to_numpy()
    if differs.any():
        raise ManifestError(
            f"{path}: duplicate name with different values {first_rows(names[differs])}, on "
            f"line {first_rows(lines[differs])}. Keep the right row."
        )
    return np.flatnonzero(~repeated), names[repeated].tolist()
