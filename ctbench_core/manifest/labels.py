"""Read findings: which columns are labels, what their values mean, and which values have no meaning.

Nothing vanishes in silence: a column that mostly holds labels and somewhere anything else is a `LabelProblem`, and
what a rule of ``data.labels`` maps is counted and said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, Config, LabelsConfig
from ctbench_core.errors import ConfigError, ManifestError, first_rows, joined
from ctbench_core.formatting import plural
from ctbench_core.manifest.columns import IdColumns, find_columns, require_columns
from ctbench_core.manifest.label_maps import LabelMap, label_map
from ctbench_core.manifest.label_problems import LabelProblem, refusal
from ctbench_core.tables import BLANK, read_table

# The columns of CT-RATE's metadata tables: some hold 1 in every row, and none is a finding.
_CTRATE_METADATA = (
    "Manufacturer SeriesDescription ManufacturerModelName PatientSex PatientAge ReconstructionDiameter "
    "DistanceSourceToDetector DistanceSourceToPatient GantryDetectorTilt TableHeight RotationDirection ExposureTime "
    "XRayTubeCurrent Exposure FilterType GeneratorPower FocalSpots ConvolutionKernel PatientPosition RevolutionTime "
    "SingleCollimationWidth TotalCollimationWidth TableSpeed TableFeedPerRotation SpiralPitchFactor "
    "DataCollectionCenterPatient ReconstructionTargetCenterPatient ExposureModulationType CTDIvol "
    "ImagePositionPatient ImageOrientationPatient SliceLocation SamplesPerPixel PhotometricInterpretation Rows "
    "Columns XYSpacing RescaleIntercept RescaleSlope RescaleType NumberofSlices ZSpacing StudyDate"
)
_KNOWN_METADATA = frozenset(_CTRATE_METADATA.split())
_MOSTLY = 0.8  # a column with at least this share of label values among its filled cells is meant as labels

_WORDS = {"true": "1", "false": "0", "u": "-1", "uncertain": "-1"} | dict.fromkeys(BLANK, "")
_NUMBER = re.compile(r"\+?(-?)0*(\d+)(?:\.0*)?")
_MOST_REFUSALS = 5  # of one table; the others are counted
_MOST_TEXTS = 100  # spellings of 0, 1, -1 and blank: a column of more texts and few repeats is no label column
_MEANINGS = {"1": 1.0, "positive": 1.0, "0": 0.0, "negative": 0.0, "unknown": np.nan, "": np.nan}
_NO_FINDING = frozenset({"no finding", "no findings"})


@dataclass(frozen=True)
class Labels:
    """C findings of N rows.

    Attributes:
        names: the findings. targets: float32 in {0, 1, NaN}, shape (N, C).
        columns: the columns of the table that they were read from.
        mapping: what the rules of ``data.labels`` changed; empty when nothing.
        warnings, notes: one sentence each.
    """

    names: list[str]
    targets: np.ndarray
    columns: list[str]
    mapping: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabelCells:
    """One column of N cells as labels.

    Attributes:
        targets: float32 in {0, 1, NaN}, shape (N,). wrong: cells without a meaning, bool (N,).
        share: of the filled cells, those that are label values or uncertain.
        mapped: the number of cells that a rule of ``data.labels`` decided, by their text.
        uncertain: whether all wrong cells mean uncertain.
    """

    targets: np.ndarray
    wrong: np.ndarray
    share: float
    mapped: dict[str, int]
    uncertain: bool


def configured_findings(config: Config) -> list[str] | None:
    """Return the findings that a config names, without those that ``data.labels.only`` leaves out; None if none."""
    named, only = config.training.target_labels or config.data.columns.labels, config.data.labels.only
    return [name for name in named if name in only] if named and only else named or None


def read_labels(
    path: Path,
    frame: pd.DataFrame,
    lines: np.ndarray,
    columns: ColumnsConfig,
    ids: IdColumns,
    labels: Sequence[str] | None = None,
    rules: LabelsConfig | None = None,
) -> Labels:
    """Read the findings of a table of N rows, those of ``labels`` or else all that look like findings.

    A finding in ``labels`` that ``data.labels.only`` leaves out is unknown in every row.

    Raises:
        ManifestError: a finding has no column, or a value has no meaning.
        ConfigError: ``data.labels`` gives a value a meaning that does not exist.
    """
    rules = rules or LabelsConfig()
    renames = label_map(rules.rename)
    if rules.list_column is not None:
        return _read_list(path, frame, lines, labels, rules, renames)
    likely = {} if labels and not renames.name else likely_labels(frame, columns, ids, rules)
    sources = _sources(path, frame, labels, likely, renames)
    kept = {name: own for name, own in sources.items() if own and (rules.only is None or name in rules.only)}
    key = (
        "data.labels.rename, or leave its finding out with data.labels.only"
        if renames.name
        else "training.target_labels"
    )
    require_columns(path, list(frame), [column for own in kept.values() for column in own], key)
    read = {c: likely.get(c) or read_cells(frame[c], rules) for own in kept.values() for c in own}
    refuse_problems(path, frame, read, lines)
    names = list(labels or kept)
    unknown = np.full(len(frame), np.nan, dtype=np.float32)
    joined = {name: _join_any([read[column].targets for column in own]) for name, own in kept.items()}
    targets = np.array([joined.get(name, unknown) for name in names], dtype=np.float32)
    mapping = _mapping(
        rules, {(name if len(own) == 1 else c): read[c].mapped for name, own in kept.items() for c in own}
    )
    mapping |= _pairs(kept, [column for column in likely if column not in read], renames)
    if rules.only is not None:
        mapping["only"] = list(rules.only)
    return Labels(
        names,
        np.ascontiguousarray(targets.reshape(len(names), len(frame)).T),
        list(dict.fromkeys(column for own in sources.values() for column in own)),
        mapping,
        _describe(path, mapping),
        [] if labels else [f"Findings inferred from {path.name}: {', '.join(names) or 'none'}."],
    )


def judged_findings(labels: Sequence[str], rules: LabelsConfig) -> list[str]:
    """Return the findings that a table can be judged by: with a pair in the label map, and not left out by ``only``.

    Raises:
        ConfigError: there is no such label map, or no finding is left.
    """
    renames = label_map(rules.rename)
    judged = [name for name in labels if renames.columns_of(name, ()) and (rules.only is None or name in rules.only)]
    if not judged:
        raise ConfigError(
            f"None of {', '.join(labels)} is read by data.labels.rename and kept by data.labels.only. Name a label map "
            "that has these findings, or correct data.labels.only."
        )
    return judged


def _sources(
    path: Path,
    frame: pd.DataFrame,
    labels: Sequence[str] | None,
    likely: Mapping[str, LabelCells],
    renames: LabelMap,
) -> dict[str, tuple[str, ...]]:
    """Return the columns that each finding is read from; none for one that a label map does not have."""
    if labels:
        _refuse_repeated(path, labels)
        return {name: renames.columns_of(name, frame) for name in labels}
    if renames.name:
        return {name: own for name, own in renames.pairs.items() if not set(own).isdisjoint(likely)}
    _refuse_repeated(path, [renames.findings_of(column)[0] for column in likely])
    return {renames.findings_of(column)[0]: (column,) for column in likely}


def _join_any(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Join columns of labels (N,): positive where any is, else unknown where any is, else negative."""
    votes = np.stack(columns)
    return np.where((votes == 1).any(axis=0), np.float32(1), votes.max(axis=0))


def _pairs(kept: Mapping[str, tuple[str, ...]], unused: Sequence[str], renames: LabelMap) -> dict[str, Any]:
    """Return what was read under another name: by column, or the pairs of a label map and the columns without one."""
    if renames.name:
        pairs = {name: {"columns": list(own), "note": renames.notes.get(name, "")} for name, own in kept.items()}
        others = {column: _why_unused(column, renames) for column in unused}
        return {"label_map": {"name": renames.name, "sha256": renames.digest, "pairs": pairs, "unused": others}}
    moved = {own[0]: name for name, own in kept.items() if own[0] != name}
    return {"rename": moved} if moved else {}


def _why_unused(column: str, renames: LabelMap) -> str:
    findings = renames.findings_of(column)
    return f"{', '.join(findings)} is not judged" if findings else renames.reason(column)


def label_problems(
    path: Path | str,
    columns: ColumnsConfig | None = None,
    labels: Sequence[str] | None = None,
    rules: LabelsConfig | None = None,
) -> list[LabelProblem]:
    """Return the values that keep a manifest's label columns from being read, column by column.

    Raises:
        ManifestError: the table cannot be read.
    """
    path, columns, rules = Path(path), columns or ColumnsConfig(), rules or LabelsConfig()
    frame, _ = read_table(path)
    if rules.list_column is not None:
        return []
    renames = label_map(rules.rename)
    named = [column for name in labels or columns.labels or [] for column in renames.columns_of(name, frame)]
    if named:
        cells = {name: read_cells(frame[name], rules) for name in named if name in frame}
    else:
        cells = likely_labels(frame, columns, find_columns(path, list(frame), columns), rules)
        cells = {name: column for name, column in cells.items() if renames.findings_of(name)}
    return _problems(frame, cells, frame.index.to_numpy() + 2)


def label_candidates(frame: pd.DataFrame, columns: ColumnsConfig, ids: IdColumns) -> list[str]:
    """Name every column that is no id, path or metadata."""
    others = _KNOWN_METADATA.union(
        columns.metadata, ids.names, (columns.visual_feature, columns.text_feature or "", columns.split or "")
    )
    return [name for name in frame if name and name not in others and not name.endswith(("_id", "_path"))]


def infer_labels(frame: pd.DataFrame, columns: ColumnsConfig, ids: IdColumns, rules: LabelsConfig) -> list[str]:
    """Name every column that is no id, path or metadata, and whose filled cells are all labels."""
    return [name for name, cells in likely_labels(frame, columns, ids, rules).items() if not cells.wrong.any()]


def likely_labels(
    frame: pd.DataFrame, columns: ColumnsConfig, ids: IdColumns, rules: LabelsConfig
) -> dict[str, LabelCells]:
    """Read the columns that are meant as labels: no id, path or metadata, and most filled cells are label values."""
    cells = {
        name: read_cells(frame[name], rules)
        for name in label_candidates(frame, columns, ids)
        if frame[name].nunique() <= _MOST_TEXTS + len(rules.values) + (1 - _MOSTLY) * len(frame)
    }
    return {name: column for name, column in cells.items() if column.share >= _MOSTLY}


class _Meanings:
    """What the texts of label cells mean under the rules: 0, 1 or NaN (unknown)."""

    def __init__(self, rules: LabelsConfig) -> None:
        self.usual = {"1": 1.0, "0": 0.0, "": 0.0 if rules.blank == "negative" else np.nan}
        if rules.uncertain != "error":
            self.usual["-1"] = _MEANINGS[rules.uncertain]
        self.mapped = {"-1"} | ({""} if rules.blank == "negative" else set())  # the usual texts that a rule decides
        self.own: dict[str, float] = {}
        for text, meaning in rules.values.items():
            plain = canonical_label("" if meaning is None else str(meaning))
            if plain not in _MEANINGS:
                raise ConfigError(f"data.labels.values maps {text!r} to {meaning!r}; expected 0, 1 or unknown.")
            short = canonical_label(str(text))
            self.own |= dict.fromkeys({str(text).strip().casefold(), short} - {""}, _MEANINGS[plain])

    def read(self, text: str) -> tuple[float, bool, bool, bool]:
        """Return a text's meaning, and whether it has one, looks like a filled label, and is mapped by a rule."""
        plain, exact = canonical_label(text), text.strip().casefold()
        own = self.own.get(exact, self.own.get(plain) if plain else None)
        if own is not None:
            return own, True, True, True
        known = plain in self.usual
        return self.usual.get(plain, np.nan), known, plain in ("0", "1", "-1"), known and plain in self.mapped

    def name(self, text: str) -> str:
        """Name the meaning of a text that has one."""
        value = self.read(text)[0]
        return "unknown" if np.isnan(value) else "positive" if value else "negative"


def canonical_label(text: str) -> str:
    """Return a label's text whatever its spelling: ``1``, ``0``, ``-1`` (uncertain), empty (blank), or the text itself."""
    text = text.strip().casefold()
    number = _NUMBER.fullmatch(text)
    if number is None:
        return _WORDS.get(text, text)
    return "0" if number[2] == "0" else f"{number[1]}{number[2]}"


def read_cells(column: pd.Series, rules: LabelsConfig) -> LabelCells:
    """Read a column of text as labels, each distinct text once."""
    meanings = _Meanings(rules)
    codes, uniques = pd.factorize(column)
    texts = [str(text) for text in uniques]
    rows = np.array([meanings.read(text) for text in texts], dtype=np.float64).reshape(-1, 4)
    known, alike, mapped = rows[:, 1:].astype(bool).T
    filled = alike | np.array([canonical_label(text) != "" for text in texts], dtype=bool)
    counts = np.bincount(codes, minlength=len(texts))
    changes: dict[str, int] = {}
    for i in np.flatnonzero(mapped):
        changes[texts[i].strip()] = changes.get(texts[i].strip(), 0) + int(counts[i])
    total, wrong = counts[filled].sum(), [text for text, ok in zip(texts, known) if not ok]
    return LabelCells(
        rows[codes, 0].astype(np.float32),
        ~known[codes],
        float(counts[alike].sum() / total) if total else 0.0,
        changes,
        bool(wrong) and all(canonical_label(text) == "-1" for text in wrong),
    )


def _problems(frame: pd.DataFrame, cells: Mapping[str, LabelCells], lines: np.ndarray) -> list[LabelProblem]:
    problems = []
    for name, column in cells.items():
        if column.wrong.any():
            counts = frame[name][column.wrong].str.strip().value_counts(sort=False)
            values = {
                str(text): int(count) for text, count in counts.sort_values(ascending=False, kind="stable").items()
            }
            kind: Literal["uncertain", "text"] = "uncertain" if column.uncertain else "text"
            problems.append(LabelProblem(name, values, lines[column.wrong].tolist(), kind))
    return problems


def refuse_problems(path: Path, frame: pd.DataFrame, cells: Mapping[str, LabelCells], lines: np.ndarray) -> None:
    """Refuse columns with values that are no labels; ``cells`` are the columns as read.

    Raises:
        ManifestError: there are any; the message has the first five kinds of values, each with its columns and fixes.
    """
    kinds: dict[tuple[str, ...], list[LabelProblem]] = {}
    for problem in _problems(frame, cells, lines):
        values = ("-1",) if problem.kind == "uncertain" else tuple(sorted(problem.values))
        kinds.setdefault(values, []).append(problem)
    errors = [refusal(path, problems) for problems in kinds.values()]
    if (rest := errors[_MOST_REFUSALS:]) and (last := errors[_MOST_REFUSALS - 1]):
        more = f" So do other values in {plural(len(rest), 'other column')}."
        errors[_MOST_REFUSALS - 1] = ManifestError(f"{last}{more}", fixes=last.fixes)
    if errors:
        raise joined(errors[:_MOST_REFUSALS])


def mapped_cells(
    path: Path, cells: pd.DataFrame, rules: LabelsConfig
) -> tuple[dict[str, Any], list[str], dict[str, float]]:
    """Return what the rules change in label columns as in `Labels`, a sentence a change, and prevalences without them.

    The prevalence is of the cells that are 0 or 1 as written, NaN where there are none; a list column has none. NaN is
    no cell: a table without the column.
    """
    if rules.list_column is not None:
        return {"list_column": rules.list_column, "separator": rules.separator, "blank": rules.blank}, [], {}
    mapped: dict[str, dict[str, int]] = {}
    before = {}
    for name in cells:
        written = cells[name].dropna()
        mapped[name] = read_cells(written, rules).mapped
        known = read_cells(written, LabelsConfig()).targets
        known = known[~np.isnan(known)]
        before[name] = float(known.mean(dtype=np.float64)) if len(known) else float("nan")
    mapping = _mapping(rules, mapped)
    return mapping, _describe(path, mapping), before


def _refuse_repeated(path: Path, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ManifestError(f"{path}: duplicate label {', '.join(map(repr, repeated))}. Name each finding once.")


def _mapping(rules: LabelsConfig, mapped: Mapping[str, dict[str, int]]) -> dict[str, Any]:
    """Return what the rules changed: each text with its meaning and the number of cells by finding."""
    meanings = _Meanings(rules)
    values: dict[str, dict[str, Any]] = {}
    for name, counts in mapped.items():
        for text, count in counts.items():
            values.setdefault(text, {"meaning": meanings.name(text), "cells": {}})["cells"][name] = count
    return {"values": values} if values else {}


def _describe(path: Path, mapping: Mapping[str, Any]) -> list[str]:
    """Say what was mapped, a sentence a text."""
    sentences = []
    for text, entry in mapping.get("values", {}).items():
        cells = entry["cells"]
        columns = ", ".join(f"{name} {count:,}" for name, count in cells.items())
        sentences.append(
            f"{path.name}: {text or 'blank'} is read as {entry['meaning']} in {plural(sum(cells.values()), 'cell')} "
            f"({columns}), by data.labels."
        )
    if renamed := mapping.get("rename"):
        pairs = ", ".join(f"{old} as {new}" for old, new in renamed.items())
        sentences.append(f"{path.name}: findings are renamed by data.labels.rename: {pairs}.")
    if used := mapping.get("label_map"):
        count = plural(len(used["pairs"]), "finding")
        sentences.append(f"{path.name}: {count} read by the label map {used['name']} (data.labels.rename).")
        if used["unused"]:
            columns = first_rows(list(used["unused"]), "column")
            sentences.append(f"{path.name}: label columns without a counterpart, not used: {columns}.")
    return sentences


def _read_list(
    path: Path,
    frame: pd.DataFrame,
    lines: np.ndarray,
    labels: Sequence[str] | None,
    rules: LabelsConfig,
    renames: LabelMap,
) -> Labels:
    """Read the findings of a column that lists those of each row; what a filled row does not list is negative."""
    assert rules.list_column is not None
    require_columns(path, list(frame), [rules.list_column], "data.labels.list_column")
    codes, uniques = pd.factorize(frame[rules.list_column])
    rows = [_items(str(text), rules.separator, renames) for text in uniques]
    contradiction = np.array([any(map(_is_none, row)) and len(row) > 1 for row in rows], dtype=bool)[codes]
    if contradiction.any():
        raise ManifestError(
            f"{path}: column {rules.list_column!r} has 'No Finding' beside a finding on line "
            f"{first_rows(lines[contradiction])}. Correct the rows."
        )
    present = sorted({name for row in rows for name in row if not _is_none(name)})
    kept = [name for name in labels or present if rules.only is None or name in rules.only]
    kept = [name for name in kept if renames.columns_of(name, ())]
    names = list(labels or kept)
    _refuse_repeated(path, names)
    table = np.array([[float(name in row) for name in names] for row in rows], np.float32).reshape(
        len(rows), len(names)
    )
    if rules.blank == "unknown":
        table[[not row for row in rows]] = np.nan
    table[:, [name not in kept for name in names]] = np.nan
    unused, absent = [n for n in present if n not in names], [n for n in names if n not in present]
    warnings = []
    if unused:
        warnings.append(f"{path.name}: column {rules.list_column!r} also lists {', '.join(unused)}: not used.")
    if absent:
        warnings.append(
            f"{path.name}: column {rules.list_column!r} never lists {', '.join(absent)}: negative in every row."
        )
    origin = "" if labels else f" Findings: {', '.join(names) or 'none'}."
    notes = [f"Findings are read from the lists in column {rules.list_column!r} of {path.name}.{origin}"]
    mapping: dict[str, Any] = {"list_column": rules.list_column, "separator": rules.separator, "blank": rules.blank}
    if renames.name:
        unused_items = [name for name in unused if not renames.pairs.get(name)]
        mapping |= _pairs({name: renames.pairs[name] for name in kept}, unused_items, renames)
    elif isinstance(rules.rename, dict) and rules.rename:
        mapping |= {"rename": dict(rules.rename)}
    mapping |= {"only": list(rules.only)} if rules.only is not None else {}
    return Labels(names, table[codes], [rules.list_column], mapping, warnings, notes)


def _items(text: str, separator: str, renames: LabelMap) -> list[str]:
    """Return the findings that a cell lists, also as ``['a', 'b']``, under their new names; empty for a blank cell."""
    text, quotes = text.strip(), ""
    if text.startswith("[") and text.endswith("]"):
        text, quotes = text[1:-1], " '\""
    items = [item.strip().strip(quotes or None) for item in text.split(separator)]
    names = (name for item in items if canonical_label(item) != "" for name in renames.findings_of(item) or [item])
    return list(dict.fromkeys(names))


def _is_none(name: str) -> bool:
    return name.casefold() in _NO_FINDING
