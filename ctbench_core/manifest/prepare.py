"""Join tables like CT-RATE's, labels, a split, metadata and reports, by name to one manifest.

The split says which volumes; each needs labels, while metadata and reports may be blank. Tables by exam and tables by
volume join with each other. Names that do not match are counted and listed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ctbench_core.atomic import csv_bytes, write_csv, write_with
from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest.collapse import Collapse
from ctbench_core.manifest.columns import find_columns
from ctbench_core.manifest.input_table import (
    InputTable,
    TableRules,
    match_labels,
    match_rows,
    read_input_table,
    read_mapped,
)
from ctbench_core.manifest.label_maps import label_map
from ctbench_core.manifest.labels import infer_labels, label_candidates
from ctbench_core.manifest.manifest import VOLUME, Manifest, parse_identities
from ctbench_core.manifest.read import build_manifest

UNMATCHED_REASONS = {  # each reads on after a count of names
    "split_without_labels": "in the split but without labels: left out",
    "labels_not_in_split": "with labels but not in the split: left out",
    "labels_without_mapping": "with labels but not in the accession mapping: left out",
    "mapping_without_volume": "in the accession mapping but without a volume: left out",
    "mapping_without_labels": "in the accession mapping but without labels: left out",
    "without_metadata": "without metadata: kept, blank",
    "without_report": "without a report: kept, blank",
    "metadata_unused": "only in the metadata: not used",
    "report_unused": "only in the reports: not used",
}


@dataclass
class PrepareOptions:
    """What to join and how; every field is a key of the `prepare` verb."""

    output_file: str | None = None  # the manifest to write, .csv or .parquet; of a data set with splits, a folder
    dataset: str | None = None  # a registered public data set, in place of the tables
    root: str | None = None  # the folder with its files, or the only file
    labels_csv: str | None = None  # findings, one row a volume or exam
    split_csv: str | None = None  # which volumes or exams; a folder means its feature files; empty means all labelled
    metadata_csv: str | None = None
    reports_csv: str | None = None
    mapping_csv: str | None = None  # accession numbers to volumes, when labels_csv has accession numbers
    split: str | None = (
        None  # keep the rows of split_csv with this value in the column `split`; one split of a data set
    )
    name_column: str | None = None  # older name of data.columns.volume
    collapse: Collapse | None = (
        None  # join rows of one volume, or locations: any or majority of them; empty refuses them
    )
    location_separator: str | None = None  # of finding and location in the names of label columns
    accession_column: str = "AccessionNo"
    mapped_column: str = "NameinCTRATE"
    metadata_columns: list[str] | None = None  # which to keep; empty means all
    report_columns: list[str] | None = None
    visual_prefix: str | None = None  # path is <prefix>/<name><suffix>; empty means the tables' own column, else image
    visual_suffix: str | None = None  # empty means .npz, or the data set's own
    visual_level: Literal["volume", "exam"] = "volume"  # whether files are named by volume or by exam
    text_prefix: str | None = None  # empty means the tables' own column, else no text features
    text_suffix: str = ".npz"
    text_level: Literal["volume", "exam"] = "volume"

    def inputs(self) -> list[Path]:
        """Return the tables and folders that are read."""
        paths = (self.root, self.labels_csv, self.split_csv, self.metadata_csv, self.reports_csv, self.mapping_csv)
        return [Path(path) for path in paths if path is not None]


@dataclass(frozen=True)
class PrepareResult:
    """A manifest ready to be written, and what did not join.

    Attributes:
        manifest: validated; its ``frame`` is what will be written.
        unmatched: by a key of UNMATCHED_REASONS, the names concerned.
        warnings: what may be wrong, one sentence each.
        notes: which columns were read, one sentence each.
    """

    manifest: Manifest
    unmatched: dict[str, list[str]]
    warnings: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the `prepare` JSON of the contracts."""
        return {
            "output_file": str(self.manifest.path),
            "rows": len(self.manifest),
            "unmatched": {reason: len(names) for reason, names in self.unmatched.items()},
            "counts": self.manifest.counts(),
            "prevalence": self.manifest.prevalence(),
            "warnings": self.warnings,
            "notes": self.notes,
        }


def prepare(
    options: PrepareOptions, columns: ColumnsConfig | None = None, rules: LabelsConfig | None = None
) -> PrepareResult:
    """Join the tables and validate the result, without writing it.

    Args:
        columns: names of the columns of the tables, of the path columns to make, and which columns of the labels are
            findings (by default all that are no id, path or metadata).
        rules: what the values of labels mean, as in ``data.labels``.

    Raises:
        ConfigError: neither labels nor a split is set, the output is one of the inputs, or options do not fit.
        ManifestError: a table cannot be read, lacks a column, or nothing joins.
    """
    output = Path(options.output_file or "manifest.csv")
    if output.resolve() in [path.resolve() for path in options.inputs()]:
        raise ConfigError(f"output_file={output} is also an input. Choose another file, to keep the table.")
    if options.location_separator is not None and options.collapse is None:
        raise ConfigError("location_separator= joins the locations of a finding: also set collapse=any or majority.")
    join = _Join(options, columns or ColumnsConfig(), rules or LabelsConfig())
    manifest = dataclasses.replace(join.manifest(), name=output.name, path=output)
    unmatched = {reason: join.unmatched[reason] for reason in UNMATCHED_REASONS if join.unmatched[reason]}
    warnings = manifest.warnings + join.warnings + _warn_unused_labels(manifest, join.columns, join.rules.labels)
    return PrepareResult(manifest, unmatched, warnings, join.notes)


def write_manifest(prepared: PrepareResult) -> None:
    """Write the manifest to its path; an existing file is replaced."""
    write_frame(prepared.manifest.path, prepared.manifest.frame)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table of text as Parquet or CSV, by the path's suffix."""
    if path.suffix in {".parquet", ".pq"}:
        write_with(path, lambda file: frame.to_parquet(file, index=False))
    else:
        write_csv(path, frame)


class _Join:
    """One join of tables: reads them, matches their rows, and collects unmatched names and warnings."""

    def __init__(self, options: PrepareOptions, columns: ColumnsConfig, labels: LabelsConfig) -> None:
        if options.text_prefix is not None and columns.text_feature is None:
            # Config trees made before text features have null here.
            columns = dataclasses.replace(columns, text_feature=ColumnsConfig().text_feature)
        columns = dataclasses.replace(columns, volume=options.name_column or columns.volume)
        self.options, self.columns = options, dataclasses.replace(columns, volume=None)  # the result has the usual name
        self.rules = TableRules(columns, labels, options.collapse, options.location_separator)
        self.unmatched: defaultdict[str, list[str]] = defaultdict(list)
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def manifest(self) -> Manifest:
        """Return the joined tables as a validated manifest."""
        labels = self._read_labels()
        base = self._read_base(labels)
        if labels is None and not set(self.columns.labels or ()) <= set(base.frame):
            # The config names findings that only a table of labels would have.
            self.columns = dataclasses.replace(self.columns, labels=None)
        names, rows, findings = base.names, np.arange(len(base.names)), self.columns.labels
        if labels is not None:
            names, rows, unlabelled = match_labels(base, labels)
            self._add("split_without_labels", unlabelled)
            self._add("labels_not_in_split", np.delete(labels.names, rows))
            if self.rules.labels.list_column is None:
                ids = find_columns(labels.path, list(labels.frame), ColumnsConfig())
                findings = findings or self._kept(label_candidates(labels.frame, self.columns, ids))
        origin = base if labels is None else labels  # messages name its file and lines
        frame = self._join_columns(names, origin.frame.iloc[rows], base)
        indexed, digest = frame.set_axis(origin.lines[rows] - 2), hashlib.sha256(csv_bytes(frame)).hexdigest()
        required = labels is not None
        return build_manifest(origin.path, indexed, digest, self.columns, findings, required, self.rules.labels)

    def _kept(self, columns: Sequence[str]) -> list[str]:
        """Return the findings of label columns under the names that the rules give them, those to keep only."""
        rules = self.rules.labels
        renames = label_map(rules.rename)
        names = dict.fromkeys(finding for column in columns for finding in renames.findings_of(column))
        return [name for name in names if rules.only is None or name in rules.only]

    def _add(self, reason: str, names: np.ndarray | list[str]) -> None:
        self.unmatched[reason].extend(names)

    def _read(self, path: str) -> InputTable:
        table = read_input_table(Path(path), self.rules)
        self.notes += table.notes
        self.warnings += table.warnings
        return table

    def _read_labels(self) -> InputTable | None:
        options = self.options
        if options.labels_csv is None or options.mapping_csv is None:
            return None if options.labels_csv is None else self._read(options.labels_csv)
        path, mapping = Path(options.labels_csv), Path(options.mapping_csv)
        table = read_mapped(path, mapping, options.accession_column, options.mapped_column, self.rules)
        self.warnings += table.warnings
        self.unmatched |= table.unmapped
        return table

    def _read_base(self, labels: InputTable | None) -> InputTable:
        """Return the table that says which volumes: the split, or else the labels."""
        split = self.options.split
        if self.options.split_csv is None:
            if labels is None:
                raise ConfigError("Set labels_csv= (a table of findings), split_csv= (a list of volumes) or both.")
            return labels
        table = self._read(self.options.split_csv)
        column = next((name for name in table.frame if name.casefold() == "split"), None)
        values = pd.Series(dtype=str) if column is None else table.frame[column].str.strip()
        splits = ", ".join(sorted(set(values)))
        if split is None:
            if values.nunique() > 1:
                self.warnings.append(f"{table.path.name} has splits {splits}: all are used. Set split= to use one.")
            return table
        if split not in set(values):
            raise ManifestError(
                f"{table.path} has no row with split {split!r}; its column split has {splits or 'no value'}. "
                "Correct split=, or leave it empty to use all rows."
            )
        return table.select((values == split).to_numpy())

    def _join_columns(self, names: np.ndarray, findings: pd.DataFrame, base: InputTable) -> pd.DataFrame:
        """Join the columns: name, paths, labels, ids, metadata, reports."""
        exams, columns, options = parse_identities(names).exams, self.columns, self.options
        found = find_columns(base.path, list(base.frame), ColumnsConfig())
        ids = {found.patient, found.exam, columns.patient, columns.exam, columns.grouping_col}
        ids |= {columns.visual_feature, columns.text_feature}
        split = base.frame[[name for name in base.frame if name in ids and name not in findings]]
        parts = [findings.reset_index(drop=True), _take(split, match_rows(names, exams, base))]
        for kind, path, wanted in (
            ("metadata", options.metadata_csv, options.metadata_columns),
            ("report", options.reports_csv, options.report_columns),
        ):
            if path is not None:
                table = self._read(path)
                rows = match_rows(names, exams, table, else_by_exam=kind == "report")
                self._add(f"without_{kind}", names[rows < 0])
                self._add(f"{kind}_unused", np.delete(table.names, np.unique(rows[rows >= 0])))
                parts.append(_take(_select_columns(table, wanted, kind), rows))
        joined = pd.concat(parts, axis=1)
        repeated = joined.columns.duplicated()
        if repeated.any():
            duplicates = ", ".join(joined.columns[repeated])
            self.warnings.append(f"Duplicate column {duplicates}: the values of the first table are used.")
        joined = joined.loc[:, ~repeated]
        front = pd.DataFrame({VOLUME: names} | feature_paths(names, exams, joined, columns, options))
        return pd.concat([front, joined.drop(columns=[name for name in front if name in joined])], axis=1)


def feature_paths(
    names: np.ndarray, exams: np.ndarray, joined: pd.DataFrame, columns: ColumnsConfig, options: PrepareOptions
) -> dict[str, Any]:
    """Return the path columns of N volumes, built from the options or taken from the joined tables."""
    paths: dict[str, Any] = {}
    kinds = (("visual", columns.visual_feature, "image"), ("text", columns.text_feature, None))
    for kind, column, default in kinds:
        prefix, suffix, level = (getattr(options, f"{kind}_{part}") for part in ("prefix", "suffix", "level"))
        suffix = ".npz" if suffix is None else suffix
        if column is not None and prefix is None and column in joined:
            paths[column] = joined[column]
        elif column is not None and (prefix is not None or default is not None):
            folder = str(default if prefix is None else prefix).rstrip("/")
            start, dot = f"{folder}/" if folder else "", "" if suffix[:1] in ("", ".", "_", "-") else "."
            paths[column] = [f"{start}{name}{dot}{suffix}" for name in (exams if level == "exam" else names)]
    return paths


def _take(frame: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    return frame.reindex(rows).fillna("").reset_index(drop=True)  # -1 is no row: blank


def _select_columns(table: InputTable, wanted: Sequence[str] | None, kind: str) -> pd.DataFrame:
    absent = [name for name in wanted or () if name not in table.frame]
    if absent:
        raise ManifestError(
            f"{table.path} has no column {', '.join(map(repr, absent))}. Its columns are: {', '.join(table.frame)}. "
            f"Correct {kind}_columns=."
        )
    return table.frame if wanted is None else table.frame[list(wanted)]


def _warn_unused_labels(manifest: Manifest, columns: ColumnsConfig, rules: LabelsConfig) -> list[str]:
    ids = find_columns(manifest.path, list(manifest.frame), ColumnsConfig())
    others = infer_labels(manifest.frame, columns, ids, rules)
    extra = ", ".join(label for label in others if label not in manifest.reserved)
    text = (
        f"Not used as findings, though all values are 0 or 1: {extra}. When you use this manifest, name the "
        "findings in training.target_labels, or these columns in data.columns.metadata."
    )
    return [text] if extra else []
