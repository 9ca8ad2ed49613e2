"""Score a table of predictions that were made elsewhere: probabilities and targets, or a manifest with targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, Config, LabelsConfig
from ctbench_core.dataset import check_paths
from ctbench_core.errors import ConfigError, ManifestError, first_rows
from ctbench_core.evaluate.bundle import compute_metrics, disclosed, with_intervals, with_one_volume, write_bundle
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.manifest import (
    Manifest,
    configured_findings,
    find_columns,
    judged_findings,
    read_configured,
    read_labels,
    read_rows,
)
from ctbench_core.runs import Disclosures, RunPaths, new_status, run_paths, write_config, write_latest, write_status
from ctbench_core.tables import parse_numbers, read_table, unguarded


@dataclass
class ScoreOptions:
    """How to read a table of predictions; every field is a key of the `score` verb."""

    name: str | None = None  # name under which the result is stored as a run
    id: str | None = None  # older name of data.columns.volume
    patient: str | None = None  # older name of data.columns.patient
    prob_prefix: str = "prob_"
    target_prefix: str = "target_"
    labels: list[str] | None = None  # findings to score; by default all with a probability column
    rename: dict[str, str] = field(default_factory=dict)  # older name of data.labels.rename
    manifest: str | None = None  # take targets from this manifest, matched by volume name


def score_table(path: Path | str, options: ScoreOptions | None = None, config: Config | None = None) -> dict[str, Any]:
    """Score a CSV or Parquet table of predictions and return METRICS with intervals.

    The table has ``prob_<finding>`` columns, and either ``target_<finding>`` (or plain ``<finding>``) columns of 0, 1
    or blank, or volume names that match a manifest; ``data.columns`` and ``data.labels`` hold as for manifests. Without
    a column of volumes the stored names are blank; without patients every row is its own, which a warning says.

    Raises:
        InputError: the table is missing or unreadable, or a column is missing or has invalid values.
    """
    options, config = options or ScoreOptions(), config or Config()
    check_paths(config)
    path = check_allowed(path)
    manifest, probabilities = read_predictions(path, options, config)
    # A table has no ledger entries: nobody knows how often its test set was evaluated.
    origins: list[str] = [config.data.label_origin]
    disclosures = Disclosures(
        Path(manifest.name).stem,
        manifest.counts(),
        test_set=manifest.identity.id,
        label_origins=origins,
        unknown_patients=manifest.unknown_patients,
        warnings=manifest.warnings,
    )
    metrics = with_intervals(compute_metrics(manifest, probabilities, []), manifest, probabilities)
    metrics = with_one_volume(metrics, manifest, probabilities)
    result = disclosed(metrics, disclosures).to_json() | {"notes": manifest.notes}
    if options.name:
        paths = _store_run(config, options.name, manifest, probabilities, disclosures)
        result["run_dir"] = str(paths.root)
    return result


def _store_run(
    config: Config, name: str, manifest: Manifest, probabilities: np.ndarray, disclosures: Disclosures
) -> RunPaths:
    paths = run_paths(config)
    status = new_status(name, kind="score")
    write_config(paths.config, config)
    write_status(paths.status, status, state="running")
    with np.errstate(divide="ignore"):  # a probability of exactly 0 or 1 has an infinite logit
        logits = np.log(probabilities) - np.log1p(-probabilities)
    bundle = paths.evaluation(manifest.name)
    write_bundle(bundle, manifest, logits, [], probabilities, disclosures=disclosures)
    write_status(paths.status, status, state="finished")
    write_latest(config, paths.root)
    return paths


def read_predictions(path: Path, options: ScoreOptions, config: Config) -> tuple[Manifest, np.ndarray]:
    """Read a table of predictions as a manifest of its rows and probabilities, float64 of shape (N, C).

    Raises:
        ManifestError: the table is unreadable, a volume is duplicate, or a column is missing or has invalid values.
    """
    columns, rules = _settings(options, config)
    frame, digest = read_table(path)
    frame = unguarded(frame)  # scores that were downloaded here
    findings = [name.removeprefix(options.prob_prefix) for name in frame if name.startswith(options.prob_prefix)]
    if not findings:
        raise ManifestError(
            f"{path} has no column that begins with {options.prob_prefix!r}. Its columns are: {', '.join(frame)}. "
            "Set the prefix with prob_prefix=."
        )
    if isinstance(rules.rename, str) and options.manifest is None:
        raise ConfigError(
            f"data.labels.rename={rules.rename} is a label map of a manifest's columns. Name the manifest with the targets "
            "in manifest=, or list the names of this table in data.labels.rename={old: new}."
        )
    labels = _selected_labels(path, findings, options.labels or configured_findings(config) or rules.only, rules)
    lines, ids = frame.index.to_numpy() + 2, find_columns(path, list(frame), columns)
    frame = frame.reset_index(drop=True)
    is_unnamed = ids.volume is not None and (frame[ids.volume].str.strip() == "").all()  # as in a kept table
    unnamed = [f"{path.name}: {ids.volume} is blank in every row. Rows are named by their line."] if is_unnamed else []
    ids = dataclasses.replace(ids, volume=None) if is_unnamed else ids
    manifest = read_rows(path, frame, digest, lines, ids)
    names = [_renamed(rules).get(label, label) for label in labels]
    probabilities = np.column_stack(
        [_probabilities(path, frame, options.prob_prefix + label, lines) for label in labels]
    )
    if options.manifest is not None:
        if ids.volume is None:
            raise ManifestError(
                f"{path} has no column of volume names to match {options.manifest}. Set it with data.columns.volume."
            )
        return _match_manifest(dataclasses.replace(manifest, labels=names), probabilities, options.manifest, config)
    plain = dataclasses.replace(rules, rename={}, only=None)
    sources = names if rules.list_column else [_target_column(path, frame, label, options) for label in labels]
    read = read_labels(path, frame, lines, columns, ids, sources, rules if rules.list_column else plain)
    alone = [
        name
        for name in frame
        if name.startswith(options.target_prefix) and name.removeprefix(options.target_prefix) not in findings
    ]
    unscored = [f"{path.name}: {', '.join(alone)} without a column of probabilities: not scored."] if alone else []
    return dataclasses.replace(
        manifest,
        labels=names,
        targets=read.targets,
        warnings=unnamed + manifest.warnings + read.warnings + unscored,
        notes=manifest.notes + read.notes,
        label_mapping=read.mapping,
        reserved=manifest.reserved.union(read.columns, (options.prob_prefix + label for label in findings)),
    ), probabilities


def _settings(options: ScoreOptions, config: Config) -> tuple[ColumnsConfig, LabelsConfig]:
    """Return the columns and label rules of the config, with the verb's older options in place."""
    columns, rules = config.data.columns, config.data.labels
    columns = dataclasses.replace(
        columns, volume=options.id or columns.volume, patient=options.patient or columns.patient
    )
    return columns, dataclasses.replace(rules, rename=options.rename or rules.rename)


def _renamed(rules: LabelsConfig) -> dict[str, str]:
    """Return the names here of a table's findings; a label map is of the manifest with the targets, not of the table."""
    return {} if isinstance(rules.rename, str) else {str(old): str(new) for old, new in rules.rename.items()}


def _selected_labels(
    path: Path, findings: Sequence[str], wanted: Sequence[str] | None, rules: LabelsConfig
) -> list[str]:
    """Return the findings to score, by their names in the table; by default all."""
    table_names = {new: old for old, new in _renamed(rules).items()}
    labels = [table_names.get(label, label) for label in wanted] if wanted else list(findings)
    missing = [label for label in labels if label not in findings]
    if missing:
        raise ManifestError(f"{path} has no probabilities of {', '.join(missing)}. It has: {', '.join(findings)}.")
    return labels


def _probabilities(path: Path, frame: pd.DataFrame, column: str, lines: np.ndarray) -> np.ndarray:
    values, wrong = parse_numbers(frame[column])
    invalid = wrong | (values < 0) | (values > 1)
    if invalid.any():
        raise ManifestError(
            f"{path}: {column} is not 0 to 1 or blank on line {first_rows(lines[invalid])}. Correct these values."
        )
    return values


def _target_column(path: Path, frame: pd.DataFrame, label: str, options: ScoreOptions) -> str:
    column = next((name for name in (options.target_prefix + label, label) if name in frame), None)
    if column is None:
        raise ManifestError(
            f"{path} has no targets for {label!r}: expected column {options.target_prefix + label!r} or {label!r}. "
            "Set the prefix with target_prefix=, or take the targets from a manifest with manifest=."
        )
    return column


def _match_manifest(
    table: Manifest, probabilities: np.ndarray, path: str, config: Config
) -> tuple[Manifest, np.ndarray]:
    """Return the manifest's rows that have predictions, in the manifest's order."""
    rules = config.data.labels
    labels = judged_findings(table.labels, rules) if isinstance(rules.rename, str) else table.labels
    probabilities = probabilities[:, [table.labels.index(label) for label in labels]]
    truth = read_configured(check_allowed(path), config, labels)
    positions = pd.Index(table.volumes).get_indexer(truth.volumes)
    if (positions < 0).all():
        raise ManifestError(
            f"No volume of {table.path} is in {path}. The table has, for example, {table.volumes[0]!r}; the manifest "
            f"has {truth.volumes[0]!r}. Set the column of volume names with data.columns.volume."
        )
    common = truth.select(positions >= 0)
    if not len(common) == len(truth) == len(table):
        warning = (
            f"{plural(len(common), 'volume')} matched; {len(truth) - len(common)} of {truth.name} have no prediction "
            f"and {len(table) - len(common)} predictions have no row there."
        )
        common = dataclasses.replace(common, warnings=[*common.warnings, warning])
    return common, probabilities[positions[positions >= 0]]
