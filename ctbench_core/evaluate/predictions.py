"""Score a table of predictions that were made elsewhere: probabilities and targets, or a manifest with targets."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import ColumnsConfig, Config
from ctbench_core.dataset import check_paths
from ctbench_core.errors import ConfigError, ManifestError, first_rows
from ctbench_core.evaluate.bundle import compute_metrics, with_intervals, write_bundle
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.manifest import Manifest, clean_names, parse_identities, read_manifest
from ctbench_core.runs import Disclosures, RunPaths, new_status, run_paths, write_config, write_latest, write_status

ID_COLUMNS = ("volumename", "VolumeName", "volume", "image", "id")
PATIENT_COLUMNS = ("patient", "patient_id")
EXAM_COLUMNS = ("exam", "exam_id")


@dataclass
class ScoreOptions:
    """How to read a table of predictions; every field is a key of the `score` verb."""

    name: str | None = None  # name under which the result is stored as a run
    id: str | None = None  # column of the volume names; by default the first of ID_COLUMNS
    patient: str | None = None  # column of the patients; by default patient, patient_id, then the names
    prob_prefix: str = "prob_"
    target_prefix: str = "target_"
    labels: list[str] | None = None  # findings to score; by default all with a probability column
    rename: dict[str, str] = field(default_factory=dict)  # finding in the table -> finding here
    manifest: str | None = None  # take targets from this manifest, matched by volume name


def score_table(path: Path | str, options: ScoreOptions | None = None, config: Config | None = None) -> dict[str, Any]:
    """Score a CSV or Parquet table of predictions and return METRICS with intervals.

    The table has ``prob_<finding>`` columns, and either ``target_<finding>`` (or plain ``<finding>``) columns of 0, 1
    or blank, or volume names that match a manifest. Columns of volumes and patients are optional: without them every
    row is its own patient.

    Raises:
        InputError: the table is missing or unreadable, or a column is missing or has invalid values.
    """
    options, config = options or ScoreOptions(), config or Config()
    check_paths(config)
    path = check_allowed(path)
    manifest, probabilities, warnings = read_predictions(path, options)
    metrics = with_intervals(compute_metrics(manifest, probabilities, []), manifest, probabilities)
    # A table has no ledger entries: nobody knows how often its test set was evaluated.
    origins: list[str] = [config.data.label_origin]
    disclosures = Disclosures(Path(manifest.name).stem, manifest.counts(), label_origins=origins)
    result = metrics | disclosures.to_json() | {"warnings": warnings}
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


def read_predictions(path: Path, options: ScoreOptions) -> tuple[Manifest, np.ndarray, list[str]]:
    """Read a table of predictions as a manifest of its rows and probabilities of shape (N, C)."""
    frame = _read_frame(path)
    findings = [name.removeprefix(options.prob_prefix) for name in frame if name.startswith(options.prob_prefix)]
    if not findings:
        raise ManifestError(
            f"{path} has no column that begins with {options.prob_prefix!r}. Its columns are: {', '.join(frame)}. "
            "Set the prefix with prob_prefix=."
        )
    labels = _selected_labels(path, findings, options)
    volumes = _volume_names(path, frame, options)
    probabilities = np.column_stack([_probabilities(path, frame, options.prob_prefix + label) for label in labels])
    names = [options.rename.get(label, label) for label in labels]
    manifest = _manifest(path, frame, volumes, options)
    if options.manifest is None:
        targets = np.column_stack([_targets(path, frame, label, options) for label in labels])
        return dataclasses.replace(manifest, labels=names, targets=targets), probabilities, []
    return _match_manifest(dataclasses.replace(manifest, labels=names), probabilities, Path(options.manifest))


def _read_frame(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ManifestError(f"Table {path} does not exist. Give a CSV or Parquet file of predictions.")
    try:
        if path.suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
        else:
            text = path.read_text(encoding="utf-8-sig")
            separator = max(",;\t", key=text.partition("\n")[0].count)
            frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise ManifestError(f"Table {path} cannot be read: {error}. Give a CSV in UTF-8 or a Parquet file.") from error
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame


def _selected_labels(path: Path, findings: Sequence[str], options: ScoreOptions) -> list[str]:
    table_names = {new: old for old, new in options.rename.items()}
    labels = [table_names.get(label, label) for label in options.labels] if options.labels else list(findings)
    missing = [label for label in labels if label not in findings]
    if missing:
        raise ManifestError(f"{path} has no probabilities of {', '.join(missing)}. It has: {', '.join(findings)}.")
    return labels


def _volume_names(path: Path, frame: pd.DataFrame, options: ScoreOptions) -> np.ndarray:
    column = _column(path, frame, options.id, ID_COLUMNS)
    if options.manifest and column is None:
        raise ManifestError(f"{path} has no column of volume names to match {options.manifest}. Set it with id=.")
    return clean_names(frame[column]) if column else np.arange(len(frame)).astype(str).astype(object)


def _column(path: Path, frame: pd.DataFrame, name: str | None, usual: Sequence[str]) -> str | None:
    if name is not None and name not in frame.columns:
        raise ManifestError(f"{path} has no column {name!r}. Its columns are: {', '.join(frame)}.")
    return name or next((column for column in usual if column in frame.columns), None)


def _numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return a column's numbers, NaN where blank, and a mask of values that are neither number nor blank.

    Python's own float parses text exactly; a last digit decides a tie.
    """
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), dtype=bool)
    text = column.astype("string").str.strip().fillna("")
    blank = text.str.lower().isin(["", "nan", "na", "none", "null"]).to_numpy(dtype=bool)
    wrong = pd.to_numeric(text, errors="coerce").isna().to_numpy(dtype=bool) & ~blank
    values = np.full(len(column), np.nan)
    values[~blank & ~wrong] = [float(value) for value in text[~blank & ~wrong]]
    return values, wrong


def _probabilities(path: Path, frame: pd.DataFrame, column: str) -> np.ndarray:
    values, wrong = _numbers(frame[column])
    _require_valid(path, column, wrong | (values < 0) | (values > 1), "0 to 1")
    return values


def _targets(path: Path, frame: pd.DataFrame, label: str, options: ScoreOptions) -> np.ndarray:
    column = next((name for name in (options.target_prefix + label, label) if name in frame.columns), None)
    if column is None:
        raise ManifestError(
            f"{path} has no targets for {label!r}: expected column {options.target_prefix + label!r} or {label!r}. "
            "Set the prefix with target_prefix=, or take the targets from a manifest with manifest=."
        )
    values, wrong = _numbers(frame[column])
    _require_valid(path, column, wrong | ~(np.isnan(values) | np.isin(values, (0, 1))), "0, 1")
    return values


def _require_valid(path: Path, column: str, invalid: np.ndarray, expected: str) -> None:
    if invalid.any():
        lines = first_rows(np.flatnonzero(invalid) + 2)
        raise ManifestError(f"{path}: {column} is not {expected} or blank on line {lines}. Correct these values.")


def _manifest(path: Path, frame: pd.DataFrame, volumes: np.ndarray, options: ScoreOptions) -> Manifest:
    parsed = parse_identities(volumes)
    return Manifest(
        name=path.name,
        path=path,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        volumes=volumes,
        exams=_ids(frame, _column(path, frame, None, EXAM_COLUMNS), parsed.exams),
        patients=_ids(frame, _column(path, frame, options.patient, PATIENT_COLUMNS), parsed.patients),
        recons=parsed.recons,
        labels=[],
        targets=np.empty((len(frame), 0)),
        visual_paths=np.full(len(frame), "", dtype=object),
        text_paths=None,
        frame=frame,
        lines=np.arange(2, len(frame) + 2),
    )


def _ids(frame: pd.DataFrame, column: str | None, parsed: np.ndarray) -> np.ndarray:
    """Return the ids of a column; where it is missing or blank, those parsed from the volume names."""
    if column is None:
        return parsed
    ids = frame[column].astype("string").str.strip().fillna("").to_numpy(dtype=object)
    return np.where(ids == "", parsed, ids).astype(object)


def _match_manifest(table: Manifest, probabilities: np.ndarray, path: Path) -> tuple[Manifest, np.ndarray, list[str]]:
    """Return the manifest's rows that have predictions, in the manifest's order."""
    truth = read_manifest(check_allowed(path), ColumnsConfig(), table.labels)
    row = {name: i for i, name in enumerate(table.volumes.tolist())}
    repeated = len(table) - len(row)
    if repeated:
        raise ManifestError(f"Duplicate volumes in {table.path} ({plural(repeated, 'row')}). Keep one row a volume.")
    matched = np.array([name in row for name in truth.volumes.tolist()], dtype=bool)
    if not matched.any():
        raise ManifestError(
            f"No volume of {table.path} is in {path}. The table has, for example, {table.volumes[:1].tolist()}; the "
            f"manifest has {truth.volumes[:1].tolist()}. Set the column of volume names with id=."
        )
    common = truth.select(matched)
    predictions = probabilities[[row[name] for name in common.volumes.tolist()]]
    if len(common) == len(truth) == len(table):
        return common, predictions, []
    warning = (
        f"{plural(len(common), 'volume')} matched; {len(truth) - len(common)} of {truth.name} have no prediction and "
        f"{len(table) - len(common)} predictions have no row there."
    )
    return common, predictions, [warning]


def score_options(overrides: Mapping[str, Any]) -> ScoreOptions:
    """Return the options given as keys of the `score` verb.

    Raises:
        ConfigError: a value has the wrong type.
    """
    for name, value in overrides.items():
        expected = {"labels": list, "rename": dict}.get(name, str)
        if not isinstance(value, expected):
            raise ConfigError(f"{name} is {value!r}; expected a {expected.__name__}.")
    return ScoreOptions(**overrides)
