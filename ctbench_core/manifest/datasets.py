"""Prepare the manifests of a public data set from its own files, by its declaration."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import write_json
from ctbench_core.config import ColumnsConfig, LabelsConfig
from ctbench_core.declared import DATASETS, PublicDataset
from ctbench_core.errors import ConfigError, unknown_name
from ctbench_core.formatting import format_metric, plural
from ctbench_core.manifest.collapse import Collapse
from ctbench_core.manifest.dataset_files import find_files
from ctbench_core.manifest.dataset_rows import SPLIT, SPLITS, DatasetRows, read_rows_of
from ctbench_core.manifest.label_maps import label_map
from ctbench_core.manifest.labels import mapped_cells
from ctbench_core.manifest.manifest import VOLUME, Manifest, is_in, parse_identities
from ctbench_core.manifest.prepare import PrepareOptions, feature_paths, write_frame
from ctbench_core.manifest.prepared import record_of, record_path
from ctbench_core.manifest.read import build_manifest

_TABLE_ENDINGS = (".csv", ".parquet", ".pq")


@dataclass(frozen=True)
class PreparedPart:
    """One manifest of a data set, and what its record says.

    Attributes:
        before: by finding, the prevalence of the label cells that are 0 or 1 as written; only where it differs.
        record: the content of its record, without the digest.
    """

    manifest: Manifest
    before: dict[str, float]
    record: dict[str, Any]


@dataclass(frozen=True)
class PreparedDataset:
    """The manifests of a data set, ready to be written.

    Attributes:
        files: each table's title and file, in the order of the declaration.
        convention: the keys of ``data.labels`` that were used, and ``collapse``.
        joined: what joined, one sentence each.
        unmatched: the names that did not join, by how a sentence about a count of names reads on.
    """

    dataset: PublicDataset
    root: Path
    files: list[tuple[str, Path]]
    convention: dict[str, Any]
    parts: list[PreparedPart]
    joined: list[str]
    unmatched: dict[str, list[str]]
    warnings: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the `prepare` JSON of the contracts, with what is special to a data set."""
        return {
            "dataset": self.dataset.name,
            "root": str(self.root),
            "licence": self.dataset.licence,
            "files": {title: str(path) for title, path in self.files},
            "convention": self.convention,
            "rows": sum(len(part.manifest) for part in self.parts),
            "joined": self.joined,
            "unmatched": {reason: len(names) for reason, names in self.unmatched.items()},
            "manifests": {
                part.manifest.name: {
                    "path": str(part.manifest.path),
                    "counts": part.manifest.counts(),
                    "prevalence": part.manifest.prevalence(),
                    "prevalence_before": part.before,
                }
                for part in self.parts
            },
            "warnings": self.warnings,
            "notes": self.notes,
        }


def prepare_dataset(
    options: PrepareOptions, columns: ColumnsConfig | None = None, given: Mapping[str, Any] | None = None
) -> PreparedDataset:
    """Find, read and join the files of ``options.dataset``, without writing anything.

    Args:
        columns: names of the path columns to make; ``volume`` and ``metadata`` correct the declaration.
        given: keys of ``data.labels`` that replace those of the data set's convention.

    Raises:
        ConfigError: the data set or root does not exist, or an option does not fit.
        ManifestError: a file or column is missing or ambiguous, or a table breaks its contract.
    """
    dataset = DATASETS.resolve(options.dataset or "")
    _refuse_tables(options, dataset)
    columns, how = columns or ColumnsConfig(), options.collapse or dataset.collapse or None
    rules = _rules(dataset, given or {})
    files = find_files(dataset, Path(options.root or ""))
    rows = _choose_findings(read_rows_of(dataset, files, rules, columns, how), rules, columns)
    notes = files.missing + rows.notes
    parts = [
        _build_part(rows.take(mask), path, dataset, rules, how, options, columns)
        for path, mask in _divide(rows, dataset, options, notes)
    ]
    warnings = [text for part in parts for text in part.manifest.warnings + part.record["warnings"]]
    unmatched = {reason: names for reason, names in rows.unmatched.items() if names}
    return PreparedDataset(
        dataset, Path(options.root or ""), [(table.title, path) for table, path in files.found],
        _convention(dataset, rules, how), parts, rows.joined, unmatched, warnings, notes,
    )  # fmt: skip


def write_dataset(prepared: PreparedDataset) -> None:
    """Write each manifest and its record; existing files are replaced."""
    for part in prepared.parts:
        path = part.manifest.path
        write_frame(path, part.manifest.frame)
        write_json(record_path(path), record_of(hashlib.sha256(path.read_bytes()).hexdigest(), **part.record))


def _rules(dataset: PublicDataset, given: Mapping[str, Any]) -> LabelsConfig:
    """Return the data set's convention with the given keys in its place; given texts are added to its own."""
    declared = dict(dataset.labels)
    mappings = {name: {**declared.get(name, {}), **value} for name, value in given.items() if isinstance(value, dict)}
    rules = LabelsConfig(**{**declared, **given, **mappings})
    if isinstance(rules.rename, str):
        raise ConfigError(
            f"prepare keeps the names of {dataset.title}, so data.labels.rename={rules.rename} does not fit here. Give the label "
            "map to evaluate, which reads the prepared manifest by it."
        )
    return rules


def _refuse_tables(options: PrepareOptions, dataset: PublicDataset) -> None:
    tables = [name for name in vars(options) if name.endswith("_csv") and getattr(options, name) is not None]
    if tables:
        raise ConfigError(f"dataset={dataset.name} finds its files below root=. Leave out {', '.join(tables)}.")
    if not options.root:
        raise ConfigError(f"Set root= to the folder with the files of {dataset.title}, or to its only file.")


def _choose_findings(rows: DatasetRows, rules: LabelsConfig, columns: ColumnsConfig) -> DatasetRows:
    """Return the rows with the findings that ``rename``, ``only`` and ``data.columns.labels`` leave, under new names."""
    renames = label_map(rules.rename)
    renamed = {name: renames.new_name(name) for name in rows.findings}
    for wanted in (columns.labels, rules.only):
        for name in wanted or ():
            if name not in renamed.values():
                raise unknown_name("finding", name, renamed.values())
    kept = {
        old: new
        for old, new in renamed.items()
        if (rules.only is None or new in rules.only) and (not columns.labels or new in columns.labels)
    }
    if len(set(kept.values())) < len(kept):
        raise ConfigError("data.labels.rename gives two findings one name. Give each its own.")
    frame = rows.frame.drop(columns=[name for name in rows.findings if name not in kept]).rename(columns=kept)
    return dataclasses.replace(rows, frame=frame, findings=list(kept.values()))


def _divide(
    rows: DatasetRows, dataset: PublicDataset, options: PrepareOptions, notes: list[str]
) -> list[tuple[Path, np.ndarray]]:
    """Return each manifest's path and its rows, as a mask."""
    output = Path(options.output_file or "manifests")
    one_file = output.suffix in _TABLE_ENDINGS
    splits = rows.frame[SPLIT].to_numpy() if SPLIT in rows.frame else np.full(len(rows.names), "train", dtype=object)
    present = [name for name in ("train", "valid", "test") if (splits == name).any()]
    if options.split is not None:
        wanted = SPLITS.get(options.split.casefold(), options.split)
        if SPLIT not in rows.frame or wanted not in present:
            raise ConfigError(f"{dataset.title} has no split {options.split!r} here. It has: {', '.join(present)}.")
        present = [wanted]
    if one_file and len(present) > 1:
        raise ConfigError(
            f"{dataset.title} has {plural(len(present), 'split')}, {', '.join(present)}, each a manifest: give a folder "
            f"as output_file={output.with_suffix('')}, or choose one with split=."
        )
    files = {name: f"{name}.csv" for name in present}
    if present == ["train", "valid"]:
        # Papers report on the validation set of such data sets; choosing epochs by it would make the result too good.
        files["valid"] = "test.csv"
        notes.append(
            f"{dataset.title} has no test split: its validation split is written as test.csv, and training splits a "
            "tenth of the training patients off for validation."
        )
    if SPLIT not in rows.frame:
        notes.append(
            f"{dataset.title} has no splits here: one manifest. Evaluate by folds of patients with data.kfold.folds=5, or "
            "name a test manifest with data.test_manifests."
        )
    return [(output if one_file else output / file, splits == name) for name, file in files.items()]


def _build_part(
    rows: DatasetRows, path: Path, dataset: PublicDataset, rules: LabelsConfig, how: Collapse | None,
    options: PrepareOptions, columns: ColumnsConfig,
) -> PreparedPart:  # fmt: skip
    """Return one manifest: ids and paths under the usual names, findings, and the other columns."""
    frame = _arrange(rows, dataset, options, columns)
    usual = ColumnsConfig(visual_feature=columns.visual_feature, text_feature=columns.text_feature)
    origin = Path(rows.files[0])
    manifest = build_manifest(origin, frame.set_axis(rows.lines - 2), "", usual, rows.findings)
    manifest = dataclasses.replace(
        manifest,
        name=path.name,
        path=path,
        warnings=[text.replace(origin.name, path.name) for text in manifest.warnings],
    )
    source = rows.source[is_in(rows.source_names, rows.names)]
    mapping, sentences, before = mapped_cells(path, source, rules)
    after = manifest.prevalence()
    renames = label_map(rules.rename)
    new_names = {name: renames.new_name(name) for name in before}
    before = {
        new: before[old]
        for old, new in new_names.items()
        if new in after and not np.array_equal(before[old], after[new], equal_nan=True)
    }
    convention = _convention(dataset, rules, how)
    joined = "locations of a finding" if dataset.location else "rows of a volume" if len(source) > len(frame) else ""
    statements = [*sentences, *_statements(path, joined, how, before, after)]
    record = {
        "dataset": dataset.name,
        "title": dataset.title,
        "licence": dataset.licence,
        "findings": rows.findings,
        "label_mapping": mapping | {"dataset": dataset.name, **convention, "prevalence_before": before},
        "prevalence": after,
        "warnings": statements,
        "notes": [f"{path.name} was prepared from {dataset.title}. {dataset.terms}"],
    }
    return PreparedPart(manifest, before, record)


def _arrange(
    rows: DatasetRows, dataset: PublicDataset, options: PrepareOptions, columns: ColumnsConfig
) -> pd.DataFrame:
    frame, names = rows.frame.drop(columns=SPLIT, errors="ignore"), pd.Series(rows.names, dtype="str")
    options = dataclasses.replace(
        options,
        visual_prefix=dataset.prefix if options.visual_prefix is None else options.visual_prefix,
        visual_suffix=dataset.suffix if options.visual_suffix is None else options.visual_suffix,
    )
    exams = parse_identities(rows.names).exams
    front = {VOLUME: rows.names} | feature_paths(rows.names, exams, frame, columns, options)
    ids = (("patient_id", dataset.patient, dataset.patient_pattern), ("exam_id", dataset.exam, dataset.exam_pattern))
    for name, column, pattern in ids:
        if column and column in frame:
            front[name] = frame.pop(column)
        elif pattern:
            front[name] = names.str.extract(f"({pattern})")[0].fillna("")
    rest = frame.drop(columns=[*rows.findings, *(name for name in front if name in frame)])
    rest = rest.loc[:, (rest != "").any()]  # columns of another split's tables
    return pd.concat([pd.DataFrame(front), frame[rows.findings], rest], axis=1)


def _convention(dataset: PublicDataset, rules: LabelsConfig, how: Collapse | None) -> dict[str, Any]:
    """Return the rules that read the labels, without those that say nothing."""
    usual = LabelsConfig()
    used = {name: value for name, value in vars(rules).items() if value != getattr(usual, name) or name == "blank"}
    used |= {"separator": rules.separator} if rules.list_column is not None else {}
    return used | ({"collapse": how} if how else {}) | ({"location": dataset.location} if dataset.location else {})


def _statements(
    path: Path, joined: str, how: Collapse | None, before: dict[str, float], after: dict[str, float]
) -> list[str]:
    """Say what was joined, and the prevalence before and after the mapping."""
    statements = [f"{path.name}: {joined} were joined by collapse={how}."] if joined and how else []
    if before:
        pairs = (
            f"{name} {format_metric(p)} as written, {format_metric(after[name])} here" for name, p in before.items()
        )
        statements.append(f"{path.name}: prevalence changed by the label convention: {'; '.join(pairs)}.")
    return statements
