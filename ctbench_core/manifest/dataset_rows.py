"""Read the tables of a public data set to one row a volume: labels by its convention, then links, splits and details.

What does not join is counted and named, and nothing is left out in silence.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.declared import ALL, PublicDataset, SourceTable
from ctbench_core.errors import ManifestError, first_rows
from ctbench_core.formatting import plural
from ctbench_core.manifest.cohort import read_names
from ctbench_core.manifest.collapse import Collapse, collapse_columns, collapse_rows
from ctbench_core.manifest.columns import IdColumns, use_column
from ctbench_core.manifest.dataset_files import DatasetFiles
from ctbench_core.manifest.input_table import build_table, match_rows
from ctbench_core.manifest.label_maps import label_map
from ctbench_core.manifest.labels import read_labels
from ctbench_core.manifest.manifest import clean_names, is_in, parse_identities
from ctbench_core.manifest.read import check_volumes
from ctbench_core.tables import read_header, read_table

SPLIT = "split"
VOLUME_KEY = "data.columns.volume"
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("valid", "val", "validate", "validation", "dev"), "valid"
)
_IMAGE_ENDING = r"(?i)\.(png|jpe?g|dcm)$"


@dataclass(frozen=True)
class DatasetRows:
    """N rows of the labels of a data set.

    Attributes:
        frame: ids, kept columns and findings (0, 1 or blank) as text, N rows.
        findings: the columns of ``frame`` that are findings.
        source: the label cells as the files have them, N rows before rows of one volume are joined.
        source_names: the volume of each row of ``source``.
        lines, files: where each row of ``frame`` was read, shape (N,).
        unmatched: what did not join, by how a sentence about a count of names reads on.
        joined: what joined, one sentence each.
    """

    frame: pd.DataFrame
    findings: list[str]
    source: pd.DataFrame
    source_names: np.ndarray
    lines: np.ndarray
    files: np.ndarray
    names: np.ndarray = field(default_factory=lambda: np.empty(0, object))
    unmatched: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    joined: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, rows: np.ndarray) -> DatasetRows:
        """Return some rows (a mask or positions); the source stays."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return dataclasses.replace(
            self,
            frame=self.frame.iloc[rows].reset_index(drop=True),
            lines=self.lines[rows],
            files=self.files[rows],
            names=self.names[rows] if len(self.names) else self.names,
        )

    def leave_out(self, rows: np.ndarray, reason: str) -> DatasetRows:
        """Return the rows without those of a mask, which are named under a reason."""
        if not rows.any():
            return self
        self.unmatched[reason].extend(self.names[rows])
        return self.take(~rows)


def read_rows_of(
    dataset: PublicDataset, files: DatasetFiles, rules: LabelsConfig, columns: ColumnsConfig, how: Collapse | None
) -> DatasetRows:
    """Return one row a volume, with its findings, ids, split and kept columns.

    Raises:
        ManifestError: a column is not as declared, a value has no meaning, or a volume has several rows or splits.
    """
    rows = _read_label_files(dataset, files, rules, columns, how)
    for table, path in files.of("link"):
        rows = _follow(rows, table, path, dataset)
    volume = (
        dataset.volume or columns.volume or next(table for table in dataset.tables if table.role == "labels").key[0]
    )
    names = clean_names(pd.Series(clean_names(rows.frame[volume])).str.replace(_IMAGE_ENDING, "", regex=True))
    rows = dataclasses.replace(rows, names=names, source_names=names)
    rows = rows.leave_out(names == "", f"with a blank {volume}: left out")
    rows = _join_repeated(rows, volume, dataset, how)
    for table, path in files.of("details"):
        rows = _add_details(rows, table, path, dataset)
    return _exclude(_assign_splits(rows, dataset, files), files)


def _read_label_files(
    dataset: PublicDataset, files: DatasetFiles, rules: LabelsConfig, columns: ColumnsConfig, how: Collapse | None
) -> DatasetRows:
    frames, sources, findings, lines, origins, notes = [], [], dict[str, None](), [], [], list[str]()
    key = _volume_column(dataset, files, columns)
    for table, path in files.of("labels"):
        frame, _ = read_table(path)
        at = frame.index.to_numpy() + 2
        frame = frame.reset_index(drop=True)
        kept = _kept(path, frame, table, dataset, key, notes)
        kept = kept.assign(**{name: frame[name] for name in columns.metadata if name in frame})
        labels = _label_columns(path, frame, [*kept, *table.key], dataset, rules, columns)
        cells = frame[labels]
        found = _read_findings(path, cells, at, dataset, rules, how, notes)
        if table.several:
            named = dict.fromkeys(("label", "target", "y"), path.name.split(".")[0])
            found, cells = found.rename(columns=named), cells.rename(columns=named)
        findings |= dict.fromkeys(found)
        split = {SPLIT: table.split} if table.split else {}
        frames.append(pd.concat([kept.drop(columns=list(found), errors="ignore"), found], axis=1).assign(**split))
        sources.append(cells)
        lines.append(at)
        origins.append(np.full(len(frame), str(path), dtype=object))
    notes += _partial_findings(findings, frames, files, dataset)
    return DatasetRows(
        pd.concat(frames, ignore_index=True).fillna(""),
        list(findings),
        pd.concat(sources, ignore_index=True),
        np.empty(0, object),
        np.concatenate(lines),
        np.concatenate(origins),
        notes=notes,
    )


def _volume_column(dataset: PublicDataset, files: DatasetFiles, columns: ColumnsConfig) -> str | None:
    """Return the column that the user names for the volumes of label tables; a table without it has the declared one.

    Raises:
        ManifestError: no table of labels has it.
    """
    if dataset.volume or columns.volume is None:
        return None
    paths = [path for _, path in files.of("labels")]
    if not any(_same(columns.volume, read_header(path)) for path in paths):
        require_column(paths[0], read_header(paths[0]), (columns.volume,), dataset, VOLUME_KEY)
    return columns.volume


def _partial_findings(
    findings: dict[str, None], frames: list[pd.DataFrame], files: DatasetFiles, dataset: PublicDataset
) -> list[str]:
    """Say which findings a file lacks, unless each file has findings of its own."""
    tables = files.of("labels")
    if any(table.several for table, _ in tables):
        return [
            f"{len(tables)} tables of {dataset.title} are joined by volume; a finding is unknown where its table lacks it."
        ]
    lacking = {path.name: [name for name in findings if name not in frame] for (_, path), frame in zip(tables, frames)}
    return [f"{name} has no {', '.join(names)}: unknown in its volumes." for name, names in lacking.items() if names]


def _kept(
    path: Path, frame: pd.DataFrame, table: SourceTable, dataset: PublicDataset, key: str | None, notes: list[str]
) -> pd.DataFrame:
    """Return the key and the columns to keep, under their declared names."""
    spellings = (key, *table.key) if key else table.key
    correctable = table.role == "labels" and not dataset.volume
    name = require_column(path, list(frame), spellings, dataset, VOLUME_KEY if correctable else "")
    kept = {key or table.key[0]: frame[name]}
    wanted = [column for column in frame if column != name] if ALL in table.columns else table.columns
    ids = (dataset.volume, dataset.patient, dataset.exam, dataset.split)
    for column in wanted:
        found = _same(column, list(frame))
        if found is not None and found != name:
            kept[column] = frame[found]
        elif column in ids:
            kept[column] = frame[require_column(path, list(frame), (column,), dataset, "")]
        elif table.role != "labels":
            notes.append(f"{path.name} has no column {column!r}: left out.")
    return pd.DataFrame(kept)


def _same(name: str, names: Sequence[str]) -> str | None:
    """Return the column of this name; case, blanks, hyphens and underscores do not count."""
    plain = {"".join(c for c in other.casefold() if c not in " _-"): other for other in reversed(names)}
    return name if name in names else plain.get("".join(c for c in name.casefold() if c not in " _-"))


def require_column(path: Path, names: Sequence[str], spellings: Sequence[str], dataset: PublicDataset, key: str) -> str:
    """Return a table's column that has one of the spellings.

    Args:
        key: the config key that may name the column; empty without one.

    Raises:
        ManifestError: it has none; the message has the nearest columns.
    """
    for spelling in spellings:
        if (found := _same(spelling, names)) is not None:
            return found
    near = difflib.get_close_matches(spellings[0], names, n=3, cutoff=0.5)
    hint = f" Nearest: {', '.join(near)}." if near else ""
    fix = f"{'Rename the right one' if near else 'Add it'}{f', name it with {key}' if key else ''}"
    shown = ", ".join(names[:30]) + (f" and {len(names) - 30:,} more" if len(names) > 30 else "")
    raise ManifestError(
        f"{path} has no column {' or '.join(map(repr, spellings))}, which the files of {dataset.title} have. "
        f"Its columns are: {shown}.{hint} {fix}, or correct root= or dataset=.",
        fixes=[use_column(key, name) for name in near if key],
    )


def _label_columns(
    path: Path,
    frame: pd.DataFrame,
    kept: Sequence[str],
    dataset: PublicDataset,
    rules: LabelsConfig,
    columns: ColumnsConfig,
) -> list[str]:
    """Name the columns of a table that are labels."""
    if rules.list_column is not None:
        return [require_column(path, list(frame), (rules.list_column,), dataset, "data.labels.list_column")]
    if dataset.location:
        located = [name for name in frame if dataset.location in name and name not in columns.metadata]
        return located or [require_column(path, list(frame), (f"finding{dataset.location}location",), dataset, "")]
    if dataset.findings:
        wanted = [name for name in dataset.findings if name not in columns.metadata]
        names = [require_column(path, list(frame), (name,), dataset, "") for name in wanted]
    else:
        ids = [name for name in (dataset.volume, dataset.patient, dataset.exam, dataset.split) if name]
        others = [*kept, *columns.metadata, *ids]
        names = [name for name in frame if _same(name, others) is None]
    renames = label_map(rules.rename)
    wanted = [name for name in names if renames.new_name(name) in (columns.labels or ())]
    return wanted or names


def _read_findings(
    path: Path, cells: pd.DataFrame, lines: np.ndarray, dataset: PublicDataset, rules: LabelsConfig,
    how: Collapse | None, notes: list[str],
) -> pd.DataFrame:  # fmt: skip
    """Return the findings as text (0, 1, blank), one column each."""
    plain = dataclasses.replace(rules, rename={}, only=None)
    if dataset.location:
        joined, said = collapse_columns(path, cells, lines, how or "any", dataset.location, plain)
        notes += said
        return joined
    labels = None if rules.list_column is not None else list(cells)
    if rules.list_column is not None:
        plain = dataclasses.replace(plain, list_column=cells.columns[0])
    read = read_labels(path, cells, lines, ColumnsConfig(), IdColumns(None, None, None, {}), labels, plain)
    texts = np.where(np.isnan(read.targets), "", np.where(read.targets == 1, "1", "0"))
    return pd.DataFrame(texts, columns=read.names, dtype="str")


def _follow(rows: DatasetRows, table: SourceTable, path: Path, dataset: PublicDataset) -> DatasetRows:
    """Go from label rows to the rows of the next table; one may lead to several."""
    other, _ = read_table(path)
    other = _kept(path, other, table, dataset, None, rows.notes).reset_index(drop=True)
    key = table.key[0]
    keys, others = clean_names(rows.frame[key]), clean_names(other[key])
    right = pd.DataFrame({"key": others, "at": np.arange(len(other))})[~other.duplicated()]
    pairs = pd.DataFrame({"key": keys, "row": np.arange(len(keys))}).merge(right, on="key", sort=False)
    rows.unmatched[f"with labels but not in {path.name} ({table.title}): left out"].extend(keys[~is_in(keys, others)])
    rows.unmatched[f"only in {path.name} ({table.title}): not used"].extend(others[~is_in(others, keys)])
    if not len(pairs):
        raise ManifestError(
            f"{path} and the labels share no {key}: it begins with {others[0]}, the labels with {keys[0]}. Give the "
            "files of one release."
        )
    matched = int(is_in(keys, others).sum())
    rows.joined.append(
        f"{matched:,} of {plural(len(keys), 'row')} of labels lead to {plural(len(pairs), 'volume')} by {path.name}."
    )
    new = other.drop(columns=[name for name in other if name in rows.frame]).iloc[pairs["at"]].reset_index(drop=True)
    at = pairs["row"].to_numpy()
    taken = rows.take(at)
    source = rows.source.iloc[at].reset_index(drop=True)
    return dataclasses.replace(taken, frame=pd.concat([taken.frame, new], axis=1), source=source)


def _join_repeated(rows: DatasetRows, volume: str, dataset: PublicDataset, how: Collapse | None) -> DatasetRows:
    """Return one row a volume; refuse volumes with several splits, and with several rows that are not to be joined."""
    if SPLIT in rows.frame:
        _refuse_two_splits(rows)
    several = any(table.several for table in dataset.tables)
    if how is None:
        for file in dict.fromkeys(rows.files):
            own = rows.files == file
            fix = ", or join them with collapse=any or collapse=majority"
            check_volumes(Path(file), rows.names[own], rows.lines[own], volume, fix, nameable=not dataset.volume)
        if not several:
            check_volumes(Path(rows.files[0]), rows.names, rows.lines, volume, ", or join them with collapse=any")
    others = [name for name in rows.frame if name not in rows.findings]
    rest = rows.frame.drop(columns=volume)
    frame, first, notes = collapse_rows(
        Path(dataset.title), rows.names, rest, rows.lines, how or "any", ColumnsConfig(metadata=others), LabelsConfig()
    )
    joined = rows.take(first)
    missing = [name for name in rows.findings if name not in frame]
    frame = frame.assign(**dict.fromkeys(missing, ""))  # no row knows them
    notes = rows.notes if several and how is None else rows.notes + notes
    return dataclasses.replace(joined, frame=frame, notes=notes)


def _refuse_two_splits(rows: DatasetRows) -> None:
    counts = rows.frame[SPLIT].str.strip().groupby(rows.names).nunique()
    double = counts.index[counts > 1]
    if len(double):
        at = is_in(rows.names, double)
        lines = pd.Series(rows.lines[at]).groupby(rows.files[at], sort=False)
        places = ", ".join(f"{file} on line {first_rows(own.tolist())}" for file, own in lines)
        raise ManifestError(
            f"{first_rows(double, 'volume')}: several splits, in {places}. One manifest has one split a volume: prepare "
            "these files apart, each with root=<file>, or correct them."
        )


def _add_details(rows: DatasetRows, table: SourceTable, path: Path, dataset: PublicDataset) -> DatasetRows:
    """Add the columns of a table to the rows that it has."""
    other, _ = read_table(path)
    lines = other.index.to_numpy() + 2
    other = _kept(path, other, table, dataset, None, rows.notes).reset_index(drop=True)
    key = table.key[0]
    alone = ~other.duplicated().to_numpy()  # releases repeat rows
    other, lines = other[alone], lines[alone]
    names = clean_names(pd.Series(clean_names(other[key])).str.replace(_IMAGE_ENDING, "", regex=True))
    check_volumes(path, names, lines, key, nameable=False)
    details = build_table(path, names, other.drop(columns=key), lines)
    keys = clean_names(rows.frame[key]) if key in rows.frame else rows.names
    at = match_rows(keys, parse_identities(keys).exams, details)
    here = (rows.frame[SPLIT] == table.split).to_numpy() if table.split else np.ones(len(at), bool)
    at = np.where(here, at, -1)
    rows.joined.append(
        f"{int((at >= 0).sum()):,} of {plural(int(here.sum()), 'volume')} have {table.title} in {path.name}."
    )
    if dataset.split not in details.frame:  # who lacks a split is left out and named there
        rows.unmatched[f"without {table.title} ({path.name}): kept, blank"].extend(rows.names[here & (at < 0)])
    rows.unmatched[f"only in {path.name} ({table.title}): not used"].extend(np.delete(names, np.unique(at[at >= 0])))
    frame = rows.frame.copy()
    for name, column in details.frame.items():
        values = column.reindex(at).fillna("").to_numpy()
        if name in rows.findings:
            rows.notes.append(f"{path.name}: column {name!r} is left out, since a finding has its name.")
        else:
            frame[name] = np.where(frame[name] == "", values, frame[name]) if name in frame else values
    return dataclasses.replace(rows, frame=frame)


def _assign_splits(rows: DatasetRows, dataset: PublicDataset, files: DatasetFiles) -> DatasetRows:
    """Return the rows with their split as train, valid or test; without any split, as they are."""
    lists = files.of("volumes")
    frame = rows.frame.copy()
    if lists:
        frame[SPLIT] = ""
        for table, path in lists:
            names = clean_names(pd.Series(read_names(path)).str.replace(_IMAGE_ENDING, "", regex=True))
            frame.loc[is_in(rows.names, names), SPLIT] = table.split
            rows.unmatched[f"only in {path.name} ({table.title}): not used"].extend(names[~is_in(names, rows.names)])
    elif dataset.split and (column := _same(dataset.split, list(frame))) is not None:
        frame = frame.rename(columns={column: SPLIT})
        texts = frame[SPLIT].str.strip()
        frame[SPLIT] = texts.str.casefold().map(SPLITS).fillna("")
        strange = (frame[SPLIT] == "") & (texts != "")
        if strange.any():
            _refuse_splits(texts[strange].unique(), column, files)
    rows = dataclasses.replace(rows, frame=frame)
    if SPLIT not in frame:
        return rows
    return rows.leave_out((frame[SPLIT] == "").to_numpy(), "with labels but without a split: left out")


def _refuse_splits(values: Sequence[str], column: str, files: DatasetFiles) -> None:
    """Refuse values of a column of splits, with the lines of the files that have them."""
    places = []
    for _, path in files.found:
        frame, _ = read_table(path)
        name = _same(column, list(frame))
        lines = frame.index[frame[name].str.strip().isin(values)] + 2 if name else []
        if len(lines):
            places.append(f"{path}: column {name!r} has {', '.join(sorted(values))} on line {first_rows(lines)}")
    raise ManifestError(f"{'; '.join(places)}; expected {', '.join(SPLITS)}. Correct the values.")


def _exclude(rows: DatasetRows, files: DatasetFiles) -> DatasetRows:
    """Return the rows without the volumes, or volumes of the exams, of the exclusion lists."""
    for table, path in files.of("exclusion"):
        listed = read_names(path)
        exams = parse_identities(rows.names).exams
        absent = listed[~is_in(listed, rows.names) & ~is_in(listed, exams)]
        rows.unmatched[f"only in {path.name} ({table.title}): not used"].extend(absent)
        rows = rows.leave_out(is_in(rows.names, listed) | is_in(exams, listed), f"in {path.name}: left out")
    return rows
