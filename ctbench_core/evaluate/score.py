"""Metrics of anyone's predictions, from one table of probabilities and targets."""

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
from ctbench_core.dataset import check_places
from ctbench_core.errors import ConfigError, ManifestError, first_rows
from ctbench_core.evaluate.bundle import compute_metrics, with_intervals, write_bundle
from ctbench_core.features import check_allowed
from ctbench_core.manifest import Manifest, clean_names, parse_identities, read_manifest
from ctbench_core.runs import Disclosures, RunPaths, new_status, run_paths, write_config, write_latest, write_status

ID_COLUMNS = ("volumename", "VolumeName", "volume", "image", "id")
PATIENT_COLUMNS = ("patient", "patient_id")
EXAM_COLUMNS = ("exam", "exam_id")


@dataclass
class ScoreOptions:
    """How to read a table of predictions; every field is a word of the `score` verb."""

    name: str | None = None  # keep the result in the run store under this name
    id: str | None = None  # column of the volume names; by default the first usual one
    patient: str | None = None  # column of the patients; by default patient, patient_id, then the names
    prob_prefix: str = "prob_"
    target_prefix: str = "target_"
    labels: list[str] | None = None  # findings to score; by default every probability column's
    rename: dict[str, str] = field(default_factory=dict)  # finding in the table -> finding here
    manifest: str | None = None  # take targets from this manifest, matched by volume name


def score_table(path: Path | str, options: ScoreOptions | None = None, config: Config | None = None) -> dict[str, Any]:
    """Score a CSV or Parquet table of predictions and return METRICS with intervals.

    The table holds ``prob_<finding>`` columns, and ``target_<finding>`` (or plain ``<finding>``) columns
    of 0, 1 or blank, or its rows are matched to a manifest. Volumes and patients are optional: without
    them every row is its own patient.

    Raises:
        InputError: the table is missing or unreadable, or a column is absent or holds no such values.
    """
    options, config = options or ScoreOptions(), config or Config()
    check_places(config)
    path = check_allowed(path)
    manifest, probabilities, warnings = read_predictions(path, options)
    metrics = with_intervals(compute_metrics(manifest, probabilities, []), manifest, probabilities)
    marks = _marks(manifest, config)
    result = metrics | marks.to_json() | {"warnings": warnings}
    if options.name:
        result["run_dir"] = str(_keep(config, options.name, manifest, probabilities).root)
    return result


def _keep(config: Config, name: str, manifest: Manifest, probabilities: np.ndarray) -> RunPaths:
    paths = run_paths(config)
    status = new_status(name, kind="score")
    write_config(paths.config, config)
    write_status(paths.status, status, state="running")
    with np.errstate(divide="ignore"):  # a probability of exactly 0 or 1 has an infinite logit
        logits = np.log(probabilities) - np.log1p(-probabilities)
    marks = _marks(manifest, config)
    write_bundle(paths.evaluation(manifest.name), manifest, logits, [], probabilities, marks=marks)
    write_status(paths.status, status, state="finished")
    write_latest(config, paths.root)
    return paths


def _marks(manifest: Manifest, config: Config) -> Disclosures:
    """Return the marks of predictions that came as a table: no ledger knows how often their test was opened."""
    return Disclosures(Path(manifest.name).stem, manifest.counts(), label_origins=[config.data.label_origin])


def read_predictions(path: Path, options: ScoreOptions) -> tuple[Manifest, np.ndarray, list[str]]:
    """Read a table of predictions as a manifest of its rows and probabilities of shape (N, C)."""
    frame = _read_frame(path)
    found = [column.removeprefix(options.prob_prefix) for column in frame if column.startswith(options.prob_prefix)]
    if not found:
        raise ManifestError(
            f"{path} has no column that begins with {options.prob_prefix!r}. Its columns are: {', '.join(frame)}. "
            "Name the beginning with prob_prefix=."
        )
    labels = _chosen(path, found, options)
    volumes = _ids(path, frame, options)
    probabilities = np.column_stack([_probabilities(path, frame, options.prob_prefix + label) for label in labels])
    names = [options.rename.get(label, label) for label in labels]
    manifest = _manifest(path, frame, volumes, options)
    if options.manifest is None:
        targets = np.column_stack([_targets(path, frame, label, options) for label in labels])
        return _with_labels(manifest, names, targets), probabilities, []
    return _matched(_with_labels(manifest, names, np.empty((len(frame), 0))), probabilities, Path(options.manifest))


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


def _chosen(path: Path, found: Sequence[str], options: ScoreOptions) -> list[str]:
    back = {new: old for old, new in options.rename.items()}
    wanted = [back.get(label, label) for label in options.labels] if options.labels else list(found)
    absent = [label for label in wanted if label not in found]
    if absent:
        raise ManifestError(f"{path} has no probabilities of {', '.join(absent)}. It has: {', '.join(found)}.")
    return wanted


def _ids(path: Path, frame: pd.DataFrame, options: ScoreOptions) -> np.ndarray:
    column = _column(path, frame, options.id, ID_COLUMNS)
    names = clean_names(frame[column]) if column else np.arange(len(frame)).astype(str).astype(object)
    if options.manifest and column is None:
        raise ManifestError(f"{path} has no column of volume names to match with {options.manifest}. Name it with id=.")
    return names


def _column(path: Path, frame: pd.DataFrame, given: str | None, usual: Sequence[str]) -> str | None:
    if given is not None and given not in frame.columns:
        raise ManifestError(f"{path} has no column {given!r}. Its columns are: {', '.join(frame)}.")
    return given or next((column for column in usual if column in frame.columns), None)


def _numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return a column's numbers, NaN where blank, and a mask of what is neither number nor blank.

    Text is parsed by Python's own float, which is exact: a last digit decides a tie.
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
    bad = wrong | (values < 0) | (values > 1)
    if bad.any():
        lines = np.flatnonzero(bad) + 2
        raise ManifestError(
            f"{path}: {column} is no probability on line {first_rows(lines, len(lines))}; expected 0 to 1, or blank."
        )
    return values


def _targets(path: Path, frame: pd.DataFrame, label: str, options: ScoreOptions) -> np.ndarray:
    column = next((name for name in (options.target_prefix + label, label) if name in frame.columns), None)
    if column is None:
        raise ManifestError(
            f"{path} has no targets for {label!r}: expected column {options.target_prefix + label!r} or {label!r}. "
            "Name the beginning with target_prefix=, or take the targets from a manifest with manifest=."
        )
    values, wrong = _numbers(frame[column])
    bad = wrong | ~(np.isnan(values) | np.isin(values, (0, 1)))
    if bad.any():
        lines = np.flatnonzero(bad) + 2
        raise ManifestError(f"{path}: {column} is not 0, 1 or blank on line {first_rows(lines, len(lines))}.")
    return values


def _manifest(path: Path, frame: pd.DataFrame, volumes: np.ndarray, options: ScoreOptions) -> Manifest:
    parsed = parse_identities(volumes)
    patients = _given(frame, _column(path, frame, options.patient, PATIENT_COLUMNS), parsed.patients)
    exams = _given(frame, _column(path, frame, None, EXAM_COLUMNS), parsed.exams)
    return Manifest(
        name=path.name,
        path=path,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        volumes=volumes,
        exams=exams,
        patients=patients,
        recons=parsed.recons,
        labels=[],
        targets=np.empty((len(frame), 0)),
        visual_paths=np.full(len(frame), "", dtype=object),
        text_paths=None,
        frame=frame,
        lines=np.arange(2, len(frame) + 2),
    )


def _given(frame: pd.DataFrame, column: str | None, fallback: np.ndarray) -> np.ndarray:
    if column is None:
        return fallback
    given = frame[column].astype("string").str.strip().fillna("").to_numpy(dtype=object)
    return np.where(given == "", fallback, given).astype(object)


def _with_labels(manifest: Manifest, names: list[str], targets: np.ndarray) -> Manifest:
    return dataclasses.replace(manifest, labels=names, targets=targets)


def _matched(table: Manifest, probabilities: np.ndarray, path: Path) -> tuple[Manifest, np.ndarray, list[str]]:
    """Take the manifest's rows that the table predicts, in the manifest's order."""
    truth = read_manifest(check_allowed(path), ColumnsConfig(), table.labels)
    repeated = len(table.volumes) - len(set(table.volumes.tolist()))
    if repeated:
        raise ManifestError(f"{table.path} predicts {repeated} volumes more than once. Keep one row a volume.")
    row = {name: i for i, name in enumerate(table.volumes.tolist())}
    matched = np.array([name in row for name in truth.volumes.tolist()], dtype=bool)
    if not matched.any():
        raise ManifestError(
            f"No volume of {table.path} stands in {path}: it has {table.volumes[:1].tolist()}, the manifest {truth.volumes[:1].tolist()}. "
            "Name the column of volume names with id=."
        )
    kept = truth.select(matched)
    rows = [row[name] for name in kept.volumes.tolist()]
    warnings = []
    if len(kept) < len(truth) or len(kept) < len(table):
        warnings.append(
            f"{len(kept)} volumes matched; {len(truth) - len(kept)} of {truth.name} have no prediction and "
            f"{len(table) - len(kept)} predictions have no row there."
        )
    return kept, probabilities[rows], warnings


def options_from(words: Mapping[str, Any]) -> ScoreOptions:
    """Build options from the words of the `score` verb.

    Raises:
        ConfigError: a value is of the wrong kind.
    """
    options = ScoreOptions()
    for name, value in words.items():
        expected = {"labels": list, "rename": dict}.get(name, str)
        if not isinstance(value, expected):
            raise ConfigError(f"{name} is {value!r}; expected a {expected.__name__}.")
        setattr(options, name, value)
    return options
