"""Read one of the tables that a manifest is made of: rows by volume or by exam, each name once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.declared import vector_suffixes
from ctbench_core.errors import ManifestError
from ctbench_core.manifest.collapse import Collapse, collapse_columns, collapse_rows
from ctbench_core.manifest.columns import find_volume, require_columns
from ctbench_core.manifest.manifest import clean_names, is_in, parse_identities
from ctbench_core.manifest.read import check_volumes
from ctbench_core.tables import read_table


@dataclass(frozen=True)
class TableRules:
    """How tables are read: ``columns`` and ``labels`` of the config, and how rows and locations are joined, if at all."""

    columns: ColumnsConfig = field(default_factory=ColumnsConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
    collapse: Collapse | None = None
    location_separator: str | None = None


@dataclass(frozen=True)
class InputTable:
    """M rows of a table.

    Attributes:
        names: volume names, or exam names where ``by_exam``, shape (M,).
        exams: the exam of each row, shape (M,).
        frame: the other columns as text, M rows.
        lines: line numbers in the file, shape (M,).
        unmapped: accession numbers without a labelled volume, by a key of UNMATCHED_REASONS.
        notes: which column was read, one sentence each.
        warnings: what was joined, one sentence each.
    """

    path: Path
    names: np.ndarray
    exams: np.ndarray
    frame: pd.DataFrame
    lines: np.ndarray
    by_exam: bool
    unmapped: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def select(self, rows: np.ndarray) -> InputTable:
        """Return some rows (a mask or positions)."""
        return dataclasses.replace(
            self,
            names=self.names[rows],
            exams=self.exams[rows],
            frame=self.frame.iloc[rows].reset_index(drop=True),
            lines=self.lines[rows],
        )


def read_input_table(path: Path, rules: TableRules) -> InputTable:
    """Read a table whose rows are volumes or exams; a folder is read as the list of its feature files.

    Raises:
        ManifestError: no column of names, a blank name, or two rows of one name that are not to be joined.
    """
    if path.is_dir():
        return _read_folder(path)
    frame, _ = read_table(path)
    frame = _add_header(frame)
    column, notes = find_volume(path, list(frame), rules.columns.volume)
    names, lines = clean_names(frame[column]), frame.index.to_numpy() + 2
    frame, rows, joined = _join_repeated(path, names, frame.drop(columns=column), lines, column, rules)
    return build_table(path, names[rows], frame, lines[rows], notes=notes, warnings=joined)


def read_mapped(
    path: Path, mapping_path: Path, accession_column: str, mapped_column: str, rules: TableRules
) -> InputTable:
    """Read labels by accession number, named by a table that maps accession numbers to volumes.

    A volume that is blank or reads ``not in CT-RATE`` is skipped; one accession may map to several volumes.

    Raises:
        ManifestError: a column is missing, or one accession or volume has two rows that are not to be joined.
    """
    frame, _ = read_table(path)
    require_columns(path, list(frame), [accession_column], "accession_column=")
    names, lines = frame[accession_column].str.strip().to_numpy(dtype=object), frame.index.to_numpy() + 2
    rest = frame.drop(columns=accession_column)
    frame, rows, notes = _join_repeated(path, names, rest, lines, accession_column, rules)
    accessions, lines = pd.Series(names[rows]), lines[rows]
    mapping, _ = read_table(mapping_path)
    require_columns(mapping_path, list(mapping), [accession_column], "accession_column=")
    require_columns(mapping_path, list(mapping), [mapped_column], "mapped_column=")
    keys, volumes = mapping[accession_column].str.strip(), clean_names(mapping[mapped_column])
    outside = np.array([name == "" or name.casefold().startswith("not in") for name in volumes])
    positions = pd.Index(accessions).get_indexer(keys)
    matched = (positions >= 0) & ~outside
    unmapped = {
        "labels_without_mapping": accessions[~accessions.isin(keys)].tolist(),
        "mapping_without_volume": keys[outside].tolist(),
        "mapping_without_labels": keys[(positions < 0) & ~outside].tolist(),
    }
    mapped, volumes = positions[matched], volumes[matched]
    part, lines = frame.iloc[mapped].reset_index(drop=True), lines[mapped]
    part, rows, joined = _join_repeated(mapping_path, volumes, part, lines, mapped_column, rules)
    return build_table(path, volumes[rows], part, lines[rows], unmapped=unmapped, warnings=notes + joined)


def match_labels(base: InputTable, labels: InputTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the volumes of ``base`` that have labels, their rows in ``labels``, and the names without labels.

    A base by exam means all labelled volumes of its exams. One volume at least must have labels.
    """
    if base.by_exam and not labels.by_exam:
        rows = np.flatnonzero(is_in(labels.exams, base.exams))
        names, unlabelled = labels.names[rows], base.names[~is_in(base.exams, labels.exams)]
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


def _add_header(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn the first line into a row where a plain list of volumes has no header."""
    first = str(frame.columns[0])
    if len(frame.columns) > 1 or parse_identities(clean_names([first])).unnamed[0]:
        return frame
    top = pd.DataFrame({"VolumeName": [first]}, index=[-1])
    return pd.concat([top, frame.set_axis(["VolumeName"], axis=1)])


def _read_folder(path: Path) -> InputTable:
    suffixes = vector_suffixes()
    stems = sorted(file.stem for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
    if not stems:
        raise ManifestError(
            f"{path} contains no feature file ({', '.join(suffixes)}). Choose another folder or a table."
        )
    names = clean_names(stems)
    lines = np.zeros(len(names), dtype=np.int64)
    check_volumes(path, names, lines, "file name", nameable=False)
    return build_table(path, names, pd.DataFrame(index=range(len(names))), lines)


def _join_repeated(
    path: Path, names: np.ndarray, frame: pd.DataFrame, lines: np.ndarray, column: str, rules: TableRules
) -> tuple[pd.DataFrame, np.ndarray, list[str]]:
    """Return one row a name, its positions among the rows, and what was joined; refuse what is not to be joined."""
    if rules.collapse is None:
        check_volumes(path, names, lines, column, ", or join them with collapse=any or collapse=majority")
        return frame, np.arange(len(names)), []
    check_volumes(path, names[names == ""], lines[names == ""], column)
    said: list[str] = []
    if rules.location_separator and any(rules.location_separator in name for name in frame):
        frame, said = collapse_columns(path, frame, lines, rules.collapse, rules.location_separator, rules.labels)
    joined, rows, notes = collapse_rows(path, names, frame, lines, rules.collapse, rules.columns, rules.labels)
    return joined, rows, said + notes


def build_table(path: Path, names: np.ndarray, frame: pd.DataFrame, lines: np.ndarray, **remarks: Any) -> InputTable:
    """Return rows by name, each once; they are exams where every name that follows CT-RATE's pattern is one."""
    parsed = parse_identities(names)
    named = ~parsed.unnamed
    # An exam's name lacks the reconstruction, so it parses to itself.
    by_exam = bool(named.any() and (names[named] == parsed.exams[named]).all())
    return InputTable(path, names, parsed.exams, frame.reset_index(drop=True), lines, by_exam, **remarks)
