"""CT-RATE's tables, or any of their kind, to one manifest: labels, a split, metadata and reports joined by name.

The split says which volumes; labels must be there for each, metadata and reports may be blank. Tables by
exam and tables by volume join with each other. Whatever finds no partner is counted and named.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_bytes, write_with
from ctbench_core.config import ColumnsConfig
from ctbench_core.errors import ConfigError, ManifestError
from ctbench_core.manifest.identity import parse_identities
from ctbench_core.manifest.manifest import Manifest
from ctbench_core.manifest.read import KNOWN_METADATA, VOLUME, infer_labels, manifest_of
from ctbench_core.manifest.source import Source, labelled, places_of, read_mapped, read_source

REASONS = {
    "split_without_labels": "named by the split, but without labels: left out",
    "labels_not_in_split": "labelled, but not named by the split: left out",
    "labels_without_mapping": "accessions with labels that the mapping does not name: left out",
    "mapping_without_volume": "accessions that the mapping places in no volume: left out",
    "mapping_without_labels": "accessions of the mapping without labels: left out",
    "without_metadata": "without metadata: kept, blank",
    "without_report": "without a report: kept, blank",
    "metadata_unused": "metadata rows of other volumes",
    "report_unused": "report rows of other volumes",
    "repeated_accessions": "accessions that stand twice with the same labels: taken once",
    "repeated_rows": "rows that stand twice with the same values: taken once",
}


@dataclass
class PrepareOptions:
    """What to join and how; every field is a word of the `prepare` verb."""

    output_file: str | None = None  # the manifest to write, .csv or .parquet
    labels_csv: str | None = None  # findings, a row a volume or exam
    split_csv: str | None = None  # which volumes or exams; a folder means its feature files; empty means all labelled
    metadata_csv: str | None = None
    reports_csv: str | None = None
    mapping_csv: str | None = None  # accession numbers to volumes, when labels_csv goes by accession
    split: str | None = None  # keep the rows of split_csv whose column `split` says so
    name_column: str | None = None  # column of the volume names; by default VolumeName and its spellings
    accession_column: str = "AccessionNo"
    mapped_column: str = "NameinCTRATE"
    metadata_columns: list[str] | None = None  # which to keep; empty means all
    report_columns: list[str] | None = None
    visual_prefix: str | None = None  # path is <prefix>/<name><suffix>; empty means the tables' own column, else image
    visual_suffix: str = ".npz"
    visual_level: Literal["volume", "exam"] = "volume"  # whether files are named by volume or by exam
    text_prefix: str | None = None  # empty means the tables' own column, else no text features
    text_suffix: str = ".npz"
    text_level: Literal["volume", "exam"] = "volume"

    def inputs(self) -> list[Path]:
        """Return the tables and folders that are read."""
        given = (self.labels_csv, self.split_csv, self.metadata_csv, self.reports_csv, self.mapping_csv)
        return [Path(path) for path in given if path is not None]


def options_from(words: Mapping[str, Any]) -> PrepareOptions:
    """Build options from the words of the `prepare` verb.

    Raises:
        ConfigError: a value is of the wrong kind.
    """
    options = PrepareOptions()
    for name, given in words.items():
        value = str(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else given
        expected = list if name.endswith("_columns") else str
        if not isinstance(value, (expected, type(None))):
            raise ConfigError(f"{name} is {value!r}; expected {'a list' if expected is list else 'text'}.")
        if name.endswith("_level") and value not in ("volume", "exam"):
            raise ConfigError(f"{name} is {value!r}. Known: volume, exam.")
        setattr(options, name, value)
    return options


@dataclass
class _Notes:
    """What the steps of one joining have to tell."""

    unmatched: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take(self, reason: str, names: np.ndarray) -> None:
        """Add names to a reason."""
        self.unmatched.setdefault(reason, []).extend(names.tolist())


@dataclass(frozen=True)
class Prepared:
    """A manifest to be, and what did not join.

    Attributes:
        manifest: validated; its ``frame`` is what will be written.
        unmatched: by a word of REASONS, the names concerned.
        warnings: what the reader should know, one sentence each.
    """

    manifest: Manifest
    unmatched: dict[str, list[str]]
    warnings: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the `prepare` JSON of the contracts."""
        return {
            "output_file": str(self.manifest.path),
            "rows": len(self.manifest),
            "unmatched": {reason: len(names) for reason, names in self.unmatched.items()},
            "counts": self.manifest.counts(),
            "prevalence": self.manifest.prevalence(),
            "warnings": self.warnings,
        }


def prepare(options: PrepareOptions, columns: ColumnsConfig | None = None) -> Prepared:
    """Join the tables and validate the result; nothing is written.

    Args:
        columns: names of the path columns to make, and which columns of the labels are findings (by
            default all that are no id, path or metadata).

    Raises:
        ConfigError: neither labels nor a split is given, or the output is one of the inputs.
        ManifestError: a table cannot be read, has no such column, or nothing joins.
    """
    columns, notes = columns or ColumnsConfig(), _Notes()
    if options.text_prefix is not None and columns.text_feature is None:  # an older tree's null: no text so far
        columns = dataclasses.replace(columns, text_feature=ColumnsConfig().text_feature)
    output = Path(options.output_file or "manifest.csv")
    if output.resolve() in [path.resolve() for path in options.inputs()]:
        raise ConfigError(f"output_file={output} is also read. Name another file, so that the table is kept.")
    labels = _labels(options, notes)
    base = _base(options, labels, notes)
    if labels is None and not set(columns.labels or ()) <= set(base.frame):  # a tree's findings, no table of them
        columns = dataclasses.replace(columns, labels=None)
    origin = base if labels is None else labels
    names, rows = base.names, np.arange(len(base.names))
    if labels is not None:
        names, rows, lost = labelled(base, labels)
        notes.take("split_without_labels", lost)
        notes.take("labels_not_in_split", np.delete(labels.names, rows))
    frame = _frame(names, origin.frame.iloc[rows], base, options, columns, notes)
    manifest = manifest_of(
        origin.path,  # messages name the labels' file and lines
        frame.set_axis(origin.lines[rows] - 2),
        hashlib.sha256(_csv(frame)).hexdigest(),
        columns,
        columns.labels or (None if labels is None else _findings(labels, columns)),
        require_labels=labels is not None,
    )
    manifest = dataclasses.replace(manifest, name=output.name, path=output)
    unmatched = {reason: notes.unmatched[reason] for reason in REASONS if notes.unmatched.get(reason)}
    return Prepared(manifest, unmatched, manifest.warnings + notes.warnings + _more_findings(manifest, columns))


def write_manifest(prepared: Prepared) -> None:
    """Write the manifest to its path, as CSV or, by its suffix, Parquet; an existing file is replaced."""
    path, frame = prepared.manifest.path, prepared.manifest.frame
    if path.suffix in {".parquet", ".pq"}:
        write_with(path, lambda file: frame.to_parquet(file, index=False))
    else:
        write_bytes(path, _csv(frame))


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _labels(options: PrepareOptions, notes: _Notes) -> Source | None:
    if options.labels_csv is None:
        return None
    if options.mapping_csv is None:
        return _read(options.labels_csv, options, notes)
    path, mapping = Path(options.labels_csv), Path(options.mapping_csv)
    source = read_mapped(path, mapping, options.accession_column, options.mapped_column)
    notes.unmatched |= source.unmapped
    return source


def _read(path: str, options: PrepareOptions, notes: _Notes) -> Source:
    source = read_source(Path(path), options.name_column)
    notes.take("repeated_rows", np.array(source.repeated, dtype=object))
    return source


def _base(options: PrepareOptions, labels: Source | None, notes: _Notes) -> Source:
    """Return the table that says which volumes: the split, or else the labels."""
    if options.split_csv is None:
        if labels is None:
            raise ConfigError("prepare needs labels_csv=, split_csv= or both: a table of findings, a list of volumes.")
        return labels
    source = _read(options.split_csv, options, notes)
    column = next((name for name in source.frame if name.casefold() == "split"), None)
    kinds = [] if column is None else sorted(set(source.frame[column].str.strip()))
    if options.split is None:
        if len(kinds) > 1:
            notes.warnings.append(
                f"{source.path.name} tells splits {', '.join(kinds)}: all taken. Choose one by split=."
            )
        return source
    if column is None or options.split not in kinds:
        raise ManifestError(
            f"{source.path} has no row of split {options.split!r}: its column split holds {', '.join(kinds) or 'nothing'}."
        )
    return source.select((source.frame[column].str.strip() == options.split).to_numpy())


def _findings(labels: Source, columns: ColumnsConfig) -> list[str]:
    taken = _carried(columns) | KNOWN_METADATA | set(columns.metadata) | {""}
    return [c for c in labels.frame if c not in taken and not c.endswith(("_id", "_path"))]


def _carried(columns: ColumnsConfig) -> set[str]:
    """Name the columns of a split that go into the manifest: ids and feature paths."""
    return {"patient_id", "exam_id", columns.grouping_col, columns.visual_feature, columns.text_feature or ""}


def _frame(
    names: np.ndarray,
    findings: pd.DataFrame,
    base: Source,
    options: PrepareOptions,
    columns: ColumnsConfig,
    notes: _Notes,
) -> pd.DataFrame:
    """Lay the columns side by side: name, paths, labels, ids, metadata, reports."""
    exams = parse_identities(names).exams
    split = base.frame[[c for c in base.frame if c in _carried(columns) and c not in findings]]
    parts = [findings.reset_index(drop=True), _rows(split, places_of(names, exams, base))]
    for kind, path, wanted in (
        ("metadata", options.metadata_csv, options.metadata_columns),
        ("report", options.reports_csv, options.report_columns),
    ):
        if path is not None:
            source = _read(path, options, notes)
            places = places_of(names, exams, source, else_by_exam=kind == "report")
            notes.take(f"without_{kind}", names[places < 0])
            notes.take(f"{kind}_unused", np.delete(source.names, np.unique(places[places >= 0])))
            parts.append(_rows(_chosen(source, wanted, kind), places))
    table = pd.concat(parts, axis=1)
    twice = table.columns.duplicated()
    if twice.any():
        notes.warnings.append(f"{', '.join(table.columns[twice])} stand in several tables: the first counts.")
    table = table.loc[:, ~twice]
    made = {VOLUME: names} | _paths(names, exams, options, columns, table)
    front = pd.DataFrame(made)
    return pd.concat([front, table.drop(columns=[name for name in made if name in table])], axis=1)


def _rows(frame: pd.DataFrame, places: np.ndarray) -> pd.DataFrame:
    return frame.reindex(places).fillna("").reset_index(drop=True)  # -1 is no row: blank


def _chosen(source: Source, wanted: Sequence[str] | None, kind: str) -> pd.DataFrame:
    absent = [name for name in wanted or () if name not in source.frame]
    if absent:
        raise ManifestError(
            f"{source.path} has no column {', '.join(map(repr, absent))}. Its columns are: {', '.join(source.frame)}. "
            f"Correct {kind}_columns=."
        )
    return source.frame if wanted is None else source.frame[list(wanted)]


def _paths(
    names: np.ndarray, exams: np.ndarray, options: PrepareOptions, columns: ColumnsConfig, table: pd.DataFrame
) -> dict[str, Any]:
    """Return the path columns: made from the options, or as the tables have them."""
    paths: dict[str, Any] = {}
    for kind, column, usual in (("visual", columns.visual_feature, "image"), ("text", columns.text_feature, None)):
        prefix, suffix, level = (getattr(options, f"{kind}_{part}") for part in ("prefix", "suffix", "level"))
        if column is None or (prefix is None and column in table):
            paths |= {} if column is None else {column: table[column]}
        elif prefix is not None or usual is not None:
            folder = str(usual if prefix is None else prefix).rstrip("/")
            begin, end = f"{folder}/" if folder else "", suffix if suffix[:1] in ("", ".", "_", "-") else f".{suffix}"
            paths[column] = [f"{begin}{name}{end}" for name in (exams if level == "exam" else names)]
    return paths


def _more_findings(manifest: Manifest, columns: ColumnsConfig) -> list[str]:
    extra = [label for label in infer_labels(manifest.frame, columns) if label not in manifest.labels]
    if not extra:
        return []
    return [
        f"{', '.join(extra)} hold only 0 and 1 but are no findings here: name the findings in "
        "training.target_labels, or these in data.columns.metadata, when you use this manifest."
    ]
