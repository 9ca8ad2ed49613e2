"""Image-text pairs to align, from a manifest or from arrays: what is a hit, and what browsing shows of each volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ctbench_core.alignment.truths import label_groups
from ctbench_core.config import Config
from ctbench_core.dataset import load_inputs, manifest_path
from ctbench_core.declared import TRUTHS, Truth, load
from ctbench_core.errors import FeatureError, ManifestError
from ctbench_core.features import FeatureMatrix, check_allowed, read_copy, read_npz, require_usable
from ctbench_core.formatting import plural
from ctbench_core.manifest import Manifest, apply_cohort, read_manifest
from ctbench_core.progress import Progress


@dataclass(frozen=True)
class Pairs:
    """N image-text pairs: distinct vectors, the row of each sample in them, and the groups of samples that match.

    With ``text_groups`` (M,) there are M texts, paired with the images by equal groups; ``volumes`` names both sides' rows.
    """

    name: str
    image: np.ndarray
    text: np.ndarray
    image_rows: np.ndarray
    text_rows: np.ndarray
    groups: np.ndarray
    label_groups: np.ndarray | None
    volumes: np.ndarray
    warnings: list[str]
    manifest: Manifest | None = None
    text_groups: np.ndarray | None = None

    @property
    def exams(self) -> np.ndarray | None:
        """The exam of each sample (N,), None where it is not known."""
        return None if self.manifest is None else self.manifest.exams


_GROUPS = ("groups_image", "groups_text")


def read_arrays(path: Path) -> Pairs:
    """Read pairs from one .npz of ``image`` and ``text`` arrays, each of shape (N, D).

    With arrays ``groups_image`` (N,) and ``groups_text`` (M,), of numbers or names, text has shape (M, D): several
    texts an image or images a text.

    Raises:
        FeatureError: the file is missing or unreadable, or the arrays do not pair.
    """
    if not check_allowed(path).is_file():
        raise FeatureError(f"Embeddings {path} do not exist. Choose an .npz with arrays image and text.")
    arrays = read_npz(path, ("image", "text", *_GROUPS))
    if lacking := [name for name in ("image", "text") if name not in arrays or arrays[name].dtype.kind not in "fiub"]:
        raise FeatureError(f"{path} has no numeric array {' and no '.join(lacking)}. Save it with image and text.")
    with np.errstate(over="ignore"):
        image, text = (np.asarray(arrays[name], dtype=np.float32) for name in ("image", "text"))
    groups = {name: arrays[name] for name in _GROUPS if name in arrays}
    _check_shapes(path, image, text, groups)
    if not (np.isfinite(image).all() and np.isfinite(text).all()):
        raise FeatureError(f"{path} holds values that are NaN or infinite. Drop these rows, or export them again.")
    rows, text_rows = np.arange(len(image)), np.arange(len(text))
    own, theirs = groups.get("groups_image", rows), groups.get("groups_text")
    names = np.arange(max(len(image), len(text))).astype(str)
    warnings = [] if theirs is None else _alone(path, own, theirs)
    return Pairs(path.stem, image, text, rows, text_rows, own, None, names, warnings, text_groups=theirs)


def _check_shapes(path: Path, image: np.ndarray, text: np.ndarray, groups: dict[str, np.ndarray]) -> None:
    """Refuse arrays that do not fit: without groups, the same shape; with groups, one a row and the same width."""
    if len(groups) == 1:
        raise FeatureError(f"{path} has {next(iter(groups))} only. Add the other of groups_image and groups_text.")
    if image.ndim != 2 or text.ndim != 2 or not len(image) or image.shape[1] != text.shape[1]:
        raise FeatureError(
            f"{path}: image is {image.shape} and text {text.shape}; expected (N, D) and (M, D), N above 0."
        )
    if groups:
        for name, matrix in (("groups_image", image), ("groups_text", text)):
            if groups[name].shape != matrix.shape[:1] or not len(matrix):
                raise FeatureError(
                    f"{path}: {name} is {groups[name].shape} for {plural(len(matrix), 'row')}; expected one group a row."
                )
        if any(values.dtype.kind not in "biufUS" for values in groups.values()) or (
            len({values.dtype.kind in "US" for values in groups.values()}) > 1
        ):
            kinds = " and ".join(f"{name} {values.dtype}" for name, values in groups.items())
            raise FeatureError(f"{path}: groups are of two types, {kinds}. Write both as numbers or both as names.")
        if not np.isin(groups["groups_image"], groups["groups_text"]).any():
            raise FeatureError(
                f"{path}: no group of groups_image is in groups_text. Check that both name the same items."
            )
    elif len(image) != len(text):
        raise FeatureError(
            f"{path}: image is {image.shape} and text {text.shape}; both must have the same shape (N, D), or arrays "
            "groups_image and groups_text say which rows belong together."
        )


def _alone(path: Path, image: np.ndarray, text: np.ndarray) -> list[str]:
    """Say how many images and texts have no partner: as queries they are counted, not scored."""
    counts = {"image": ~np.isin(image, text), "text": ~np.isin(text, image)}
    return [
        f"{path.name}: {plural(int(alone.sum()), name)} without a partner of the same group: counted, not scored."
        for name, alone in counts.items()
        if alone.any()
    ]


def read_pairs(config: Config, progress: Progress) -> Pairs:
    """Read the pairs of ``data.train_manifest``: volumes, their reports, and which candidates are hits.

    Raises:
        InputError: the manifest has no text column, a feature file is unusable, or no row is left.
    """
    manifest = paired_manifest(config)
    image = _features(config, manifest, "visual", progress)
    text = _features(config, manifest, "text", progress)
    if image.dim != text.dim:
        raise FeatureError(
            f"{manifest.place}: visual features have {plural(image.dim, 'dimension')} and text features {text.dim}; "
            "similarity needs a common space. Use embeddings from after the projection layer."
        )
    usable = (image.rows >= 0) & (text.rows >= 0)
    warnings = list(manifest.warnings)
    if not usable.all():
        warnings.append(f"{manifest.name}: {plural(int((~usable).sum()), 'row')} left out for unusable features.")
    manifest = manifest.select(usable)
    image_rows, text_rows = image.rows[usable], text.rows[usable]
    groups, semantic = _groups(manifest, TRUTHS[config.analysis.truth], text.matrix, text_rows)
    vectors, rows, volumes = (image.matrix, text.matrix), (image_rows, text_rows), manifest.volumes
    return Pairs(manifest.name, *vectors, *rows, groups, semantic, volumes, warnings, manifest)


def paired_manifest(config: Config) -> Manifest:
    """Read the cohort of ``data.train_manifest``: volumes with their reports.

    Raises:
        InputError: the manifest is unusable or has no text column, or no row is left.
    """
    wanted = config.training.target_labels or config.data.columns.labels
    path = manifest_path(config, config.data.train_manifest)
    manifest = read_copy(path, lambda: read_manifest(path, config.data.columns, wanted, require_labels=False))
    manifest = apply_cohort(manifest, config.data.cohort)
    if manifest.text_paths is None:
        raise ManifestError(
            f"{manifest.place} has no column {config.data.columns.text_feature!r}, so there is no text to align with. "
            "Add it, or set data.columns.text_feature to the column of the text features."
        )
    if TRUTHS[config.analysis.truth].needs_labels and not manifest.labels:
        raise ManifestError(
            f"{manifest.place} has no label column, which analysis.truth={config.analysis.truth} needs. Add one, or choose "
            "another analysis.truth."
        )
    return _abnormal(manifest) if config.analysis.filter_normal_cases else manifest


def _features(config: Config, manifest: Manifest, kind: str, progress: Progress) -> FeatureMatrix:
    features = load_inputs(config, {manifest.name: manifest}, progress, kinds=[kind])[kind]
    if config.data.on_bad_feature == "fail":
        require_usable(features, f"Feature root {config.paths.data_root}", manifest.row_names())
    return features


def _abnormal(manifest: Manifest) -> Manifest:
    abnormal = np.nansum(manifest.targets, axis=1) > 0
    if not abnormal.any():
        raise ManifestError(
            f"{manifest.place}: analysis.filter_normal_cases leaves no row, because no volume has a finding."
        )
    return manifest.select(abnormal)


def _groups(
    manifest: Manifest, truth: Truth, text: np.ndarray, text_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the group of each sample by a truth, and by label vector where there are labels."""
    groups: np.ndarray = load(truth.groups)(manifest, text, text_rows)
    return groups, label_groups(manifest, text, text_rows) if manifest.labels else None


# A column with that many words per cell, on average over some distinct cells, is report text.
_MIN_WORDS, _MAX_CELLS = 5, 200


def samples_frame(manifest: Manifest) -> pd.DataFrame:
    """Return a row per volume: volumename, exam, patient, target_<finding> (0, 1, null), text_<column>."""
    columns = {"volumename": manifest.volumes, "exam": manifest.exams, "patient": manifest.patients}
    frame = pd.DataFrame({name: values.astype(str) for name, values in columns.items()})
    for column, label in enumerate(manifest.labels):
        frame[f"target_{label}"] = pd.array(manifest.targets[:, column], dtype="Float32").astype("Int8")
    for name in _report_columns(manifest):
        frame[f"text_{name}"] = manifest.frame[name].to_numpy()
    return frame


def _report_columns(manifest: Manifest) -> list[str]:
    """Return the columns of report text, which are neither ids, paths nor findings."""
    return [name for name in manifest.metadata_columns if _is_text(manifest.frame[name])]


def _is_text(column: pd.Series) -> bool:
    cells = column[column.str.strip() != ""].drop_duplicates().head(_MAX_CELLS)
    return bool(len(cells)) and float(cells.str.split().str.len().mean()) >= _MIN_WORDS
