"""One of the tables that a manifest is made of: rows by volume or by exam, repeated rows taken once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.errors import ManifestError, first_rows
from ctbench_core.manifest.identity import clean_names, parse_identities
from ctbench_core.tables import read_table

# Spelled as in CT-RATE's tables and their kin, compared without case, blanks and underscores.
_NAME_COLUMNS = ("volumename", "volume", "volumeid", "nameinctrate")
_FEATURE_SUFFIXES = frozenset({".npz", ".npy", ".pt", ".pth", ".safetensors"})


@dataclass(frozen=True)
class Source:
    """M rows of a table.

    Attributes:
        names: volume names, or exam names where ``by_exam``, shape (M,).
        exams: the exam of each row, shape (M,).
        frame: the other columns as text, M rows.
        lines: line numbers in the file, shape (M,).
        repeated: names of rows that stood there again, identical.
        unmapped: accession numbers that led to no labelled volume, by a word that says why.
    """

    path: Path
    names: np.ndarray
    exams: np.ndarray
    frame: pd.DataFrame
    lines: np.ndarray
    by_exam: bool
    repeated: list[str]
    unmapped: dict[str, list[str]]

    def select(self, rows: np.ndarray) -> Source:
        """Return the given rows (a mask or positions)."""
        return _source(self.path, self.names[rows], self.frame.iloc[rows], self.lines[rows], self.unmapped)


def read_source(path: Path, name_column: str | None = None) -> Source:
    """Read a table whose rows are volumes or exams; a folder counts as the list of its feature files.

    Raises:
        ManifestError: no column of names, a blank name, or two different rows of one name.
    """
    if path.is_dir():
        return _folder(path)
    frame, _ = read_table(path, kind="Table")
    frame = _with_header(frame)
    column = _find_column(path, frame, name_column, _NAME_COLUMNS, "name_column")
    return _source(path, clean_names(frame[column]), frame.drop(columns=column), frame.index.to_numpy() + 2, {})


def read_mapped(path: Path, mapping_path: Path, accession_column: str, mapped_column: str) -> Source:
    """Read labels by accession number, named through a table of accession numbers and volumes.

    A volume that reads ``not in CT-RATE``, or is blank, is none; one accession may name several volumes.

    Raises:
        ManifestError: a column is missing, or one accession or volume has two different rows.
    """
    frame, _ = read_table(path, kind="Table")
    column = _find_column(path, frame, accession_column, (), "accession_column")
    accessions = frame[column].str.strip()
    rows, repeated = _distinct(path, accessions.to_numpy(), frame.drop(columns=column), frame.index.to_numpy() + 2)
    mapping, _ = read_table(mapping_path, kind="Table")
    keys = mapping[_find_column(mapping_path, mapping, accession_column, (), "accession_column")].str.strip()
    names = clean_names(mapping[_find_column(mapping_path, mapping, mapped_column, (), "mapped_column")])
    outside = np.array([name == "" or name.casefold().startswith("not in") for name in names])
    places = pd.Index(accessions.to_numpy()[rows]).get_indexer(keys)
    found = (places >= 0) & ~outside
    unmapped = {
        "labels_without_mapping": accessions[~accessions.isin(keys)].tolist(),
        "mapping_without_volume": keys[outside].tolist(),
        "mapping_without_labels": keys[(places < 0) & ~outside].tolist(),
        "repeated_accessions": repeated,
    }
    chosen = rows[places[found]]
    kept = frame.drop(columns=column).iloc[chosen]
    return _source(path, names[found], kept, frame.index.to_numpy()[chosen] + 2, unmapped)


def labelled(base: Source, labels: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the volumes of ``base`` that have labels, their rows of the labels, and the names without.

    A base by exam means all volumes of the exam that are labelled.

    Raises:
        ManifestError: none is labelled.
    """
    if base.by_exam and not labels.by_exam:
        rows = np.flatnonzero(np.isin(labels.exams, base.exams))
        names, lost = labels.names[rows], base.names[~np.isin(base.exams, labels.exams)]
    else:
        keys, known = (base.exams, labels.exams) if labels.by_exam else (base.names, labels.names)
        places = pd.Index(known).get_indexer(keys)
        names, rows, lost = base.names[places >= 0], places[places >= 0], base.names[places < 0]
    if not len(names):
        raise ManifestError(
            f"{base.path} and {labels.path} share no volume: the first begins with {', '.join(base.names[:1])}, "
            f"the second with {', '.join(labels.names[:1]) or 'nothing'}. Check that both are of the same data."
        )
    return names, rows, lost


def places_of(names: np.ndarray, exams: np.ndarray, source: Source, else_by_exam: bool = False) -> np.ndarray:
    """Return each volume's row of a table, -1 for none, int64 of shape (N,).

    Rows are found by volume, or by exam where either side knows exams only: then the exam's first row.
    """
    first = pd.Index(source.exams).drop_duplicates()
    starts = np.flatnonzero(~pd.Index(source.exams).duplicated())
    places = first.get_indexer(exams)
    by_exam = np.where(places >= 0, starts[places], -1)
    if source.by_exam:
        return by_exam
    by_name = pd.Index(source.names).get_indexer(names)
    return np.where((by_name < 0) & (else_by_exam | (names == exams)), by_exam, by_name)


def _find_column(path: Path, frame: pd.DataFrame, wanted: str | None, usual: tuple[str, ...], option: str) -> str:
    """Name the wanted column, or the first usual one.

    Raises:
        ManifestError: there is none; the message lists the columns and names the option.
    """
    if wanted is not None and wanted in frame:
        return wanted
    plain = {str(column).casefold().replace("_", "").replace(" ", ""): str(column) for column in frame}
    found = next((plain[name] for name in usual if name in plain), None)
    if found is None or wanted is not None:
        expected = repr(wanted) if wanted is not None else "VolumeName"
        raise ManifestError(
            f"{path} has no column {expected}. Its columns are: {', '.join(map(str, frame))}. Name the right one with {option}=."
        )
    return found


def _with_header(frame: pd.DataFrame) -> pd.DataFrame:
    """Put the first line back where a plain list of volumes has no header."""
    first = str(frame.columns[0])
    if len(frame.columns) > 1 or parse_identities(clean_names([first])).unnamed[0]:
        return frame
    top = pd.DataFrame({"VolumeName": [first]}, index=[-1])
    return pd.concat([top, frame.set_axis(["VolumeName"], axis=1)])


def _folder(path: Path) -> Source:
    stems = sorted(file.stem for file in path.rglob("*") if file.suffix in _FEATURE_SUFFIXES and file.is_file())
    if not stems:
        raise ManifestError(f"{path} holds no feature file ({', '.join(sorted(_FEATURE_SUFFIXES))}).")
    names = clean_names(stems)
    return _source(path, names, pd.DataFrame(index=range(len(names))), np.zeros(len(names), dtype=np.int64), {})


def _source(
    path: Path, names: np.ndarray, frame: pd.DataFrame, lines: np.ndarray, unmapped: dict[str, list[str]]
) -> Source:
    blank = names == ""
    if blank.any():
        raise ManifestError(
            f"{path}: the volume's name is blank on line {first_rows(lines[blank], int(blank.sum()))}. Fill or remove it."
        )
    rows, repeated = _distinct(path, names, frame, lines)
    names = names[rows]
    parsed = parse_identities(names)
    named = ~parsed.unnamed
    # An exam's name lacks the reconstruction, so it parses to itself.
    by_exam = bool(named.any() and (names[named] == parsed.exams[named]).all())
    kept = frame.iloc[rows].reset_index(drop=True)
    return Source(path, names, parsed.exams, kept, lines[rows], by_exam, repeated, unmapped)


def _distinct(path: Path, names: np.ndarray, frame: pd.DataFrame, lines: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the first row of each name, and the names that stand again with the same values.

    Raises:
        ManifestError: a name has two rows of different values.
    """
    keyed = frame.apply(lambda column: column.str.strip()).reset_index(drop=True).assign(**{"": names})
    again = keyed[""].duplicated().to_numpy()
    differs = again & ~keyed.duplicated().to_numpy()
    if differs.any():
        raise ManifestError(
            f"{path}: {first_rows(names[differs], int(differs.sum()))} {'has' if differs.sum() == 1 else 'have'} two rows "
            f"with different values, again on line {first_rows(lines[differs], int(differs.sum()))}. Keep the right row."
        )
    return np.flatnonzero(~again), names[again].tolist()
