"""Write the demo data set: synthetic vectors with CT-RATE's findings, prevalence and co-occurrence.

It has no image, report or person. Each exam gets an image vector, in which some findings are easy to detect and some
are not, and a text vector, another noisy view of the same exam. The manifests are written last: where they exist, the
features are complete.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.atomic import csv_bytes, remove, write_bytes
from ctbench_core.errors import ConfigError
from ctbench_core.progress import Progress

# Shapes: E exams, V volumes, P patients, C findings, D dimensions.
DIMENSIONS = 128
DEMO_FOLDER = Path("data/demo")
MIN_PATIENTS = 30  # with fewer, a rare finding has no positive in the validation split


@dataclass(frozen=True)
class Finding:
    """A finding's prevalence (share of volumes) and how far it shifts an image vector (in SD of the noise)."""

    prevalence: float
    visibility: float


# Prevalence in the 47,149 CT-RATE training volumes. Visibilities are invented: they spread the
# AUROC of a linear probe from about .6 to .97.
FINDINGS = {
    "Medical material": Finding(0.1234, 2.0),
    "Arterial wall calcification": Finding(0.2837, 2.4),
    "Cardiomegaly": Finding(0.1126, 2.6),
    "Pericardial effusion": Finding(0.0724, 2.2),
    "Coronary artery wall calcification": Finding(0.2550, 2.2),
    "Hiatal hernia": Finding(0.1432, 0.9),
    "Lymphadenopathy": Finding(0.2592, 0.9),
    "Emphysema": Finding(0.1935, 1.9),
    "Atelectasis": Finding(0.2601, 1.2),
    "Lung nodule": Finding(0.4535, 0.6),
    "Lung opacity": Finding(0.3695, 1.5),
    "Pulmonary fibrotic sequela": Finding(0.2670, 0.7),
    "Pleural effusion": Finding(0.1210, 2.8),
    "Mosaic attenuation pattern": Finding(0.0772, 1.6),
    "Peribronchial thickening": Finding(0.1055, 1.3),
    "Consolidation": Finding(0.1764, 2.2),
    "Bronchiectasis": Finding(0.1004, 1.5),
    "Interlobular septal thickening": Finding(0.0794, 1.8),
}

# Phi coefficients measured on the same volumes; every other pair has the median of all pairs.
CO_OCCURRENCE = {
    ("Arterial wall calcification", "Coronary artery wall calcification"): 0.744,
    ("Arterial wall calcification", "Cardiomegaly"): 0.338,
    ("Lung opacity", "Consolidation"): 0.330,
    ("Pericardial effusion", "Pleural effusion"): 0.311,
    ("Peribronchial thickening", "Bronchiectasis"): 0.302,
    ("Lung nodule", "Lung opacity"): -0.122,
    ("Lung nodule", "Consolidation"): -0.119,
    # Not measured: the product of the first two, since the median would contradict them.
    ("Coronary artery wall calcification", "Cardiomegaly"): 0.251,
}
_OTHER_PAIRS = 0.095

# CT-RATE's structure: exams a patient, reconstructions an exam, and scanners.
_SHARE_WITH_FOLLOW_UP = 0.13
_MORE_FOLLOW_UPS = 0.37
_SHARE_WITH_TWO_RECONSTRUCTIONS = 0.9
_MANUFACTURERS = {"Philips": 0.63, "Siemens Healthineers": 0.32, "PNMS": 0.05}
# Invented: how similar a patient's exams are, and the composition of each view.
_PATIENT_SHARE = 0.7
_SAME_NORMAL_REPORT = 0.5
_ANATOMY, _RECONSTRUCTION = 0.9, 0.4  # an image's noise; the variances add up to about 1
_TEXT_FINDING, _TEXT_ANATOMY, _TEXT_NOISE = 2.5, 0.1, 1.0
_BLANK_LABELS = 12

# manifest: (split in the names, share of the patients). Valid and test share a name, as CT-RATE has only two
# splits; patient numbers restart in each split, and test continues after valid.
_SPLITS = {"train": ("train", 0.63), "valid": ("valid", 0.16), "test": ("valid", 0.21)}


def write_demo(
    folder: Path | str = DEMO_FOLDER, *, patients: int = 840, seed: int = 0, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the demo data set; equal arguments give equal bytes, and a rerun writes only files that differ.

    Args:
        folder: where to write ``features/image``, ``features/text`` and ``manifests``.
        patients: of all splits; 840 give about 1,200 training, 300 validation and 400 test volumes.
        seed: of all random draws.
        progress: called with (phase, files done, files in all).

    Returns:
        ``data_root``, ``manifest_dir`` and the number of ``volumes``.

    Raises:
        ConfigError: fewer than 30 patients.
    """
    if patients < MIN_PATIENTS:
        raise ConfigError(f"The demo data need at least {MIN_PATIENTS} patients, got {patients}. Raise patients=.")
    features, manifests = Path(folder) / "features", Path(folder) / "manifests"
    tables, files = _draw(patients, seed)
    contents = {manifests / f"{name}.csv": csv_bytes(table) for name, table in tables.items()}
    for path, content in contents.items():
        if not _has_content(path, content):
            remove(path)  # its features are about to change
    _write_features({features / name: vector for name, vector in files.items()}, progress)
    for path, content in contents.items():
        _write_if_new(path, content)
    return {
        "data_root": features.as_posix(),
        "manifest_dir": manifests.as_posix(),
        "volumes": sum(len(table) for table in tables.values()),
    }


def _draw(patients: int, seed: int) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
    """Draw the manifests by name and the feature vectors by path under the feature root."""
    shared = np.random.default_rng([seed, len(_SPLITS)])
    # Findings shift both views along the same nearly orthogonal directions, shape (C, D).
    directions = np.linalg.qr(shared.standard_normal((DIMENSIONS, len(FINDINGS))))[0].T
    normal_report = _unit(shared.standard_normal(DIMENSIONS))
    correlation = latent_correlation()
    tables: dict[str, pd.DataFrame] = {}
    files: dict[str, np.ndarray] = {}
    first = {"train": 1, "valid": 1}
    for stream, (name, (split, share)) in enumerate(_SPLITS.items()):
        rng = np.random.default_rng([seed, stream])
        count = round(share * patients)
        exams = _draw_exams(rng, split, first[split], count, correlation)
        first[split] += count
        volumes = exams.loc[exams.index.repeat(exams["reconstructions"])]
        image, text = _draw_views(rng, exams, directions, normal_report)
        tables[name] = _manifest(volumes)
        files.update(zip(tables[name]["visual_feature_path"], image))
        files.update(zip(exams["exam"].map("text/{}.npz".format), text))
        if name == "train":
            _blank_labels(rng, tables[name], exams["exam"])
    return tables, files


def _draw_exams(
    rng: np.random.Generator, split: str, first: int, patients: int, correlation: np.ndarray
) -> pd.DataFrame:
    """Draw E exams of P patients with metadata and findings, one row an exam."""
    follow_up = rng.random(patients) < _SHARE_WITH_FOLLOW_UP
    per_patient = 1 + follow_up * np.minimum(rng.geometric(1 - _MORE_FOLLOW_UPS, patients), 16)
    owner = np.repeat(np.arange(patients), per_patient)
    scan = np.concatenate([np.arange(count) for count in per_patient])
    root = np.linalg.cholesky(correlation)
    of_patient = rng.standard_normal((patients, len(FINDINGS))) @ root.T
    of_exam = rng.standard_normal((len(owner), len(FINDINGS))) @ root.T
    latent = np.sqrt(_PATIENT_SHARE) * of_patient[owner] + np.sqrt(1 - _PATIENT_SHARE) * of_exam
    # Calcified arteries come with age, so that subgroups by age differ.
    calcified = of_patient[:, list(FINDINGS).index("Arterial wall calcification")]
    age = np.clip(48.5 + 17 * (0.6 * calcified + 0.8 * rng.standard_normal(patients)), 18, 96).astype(int)
    sex = rng.choice(["M", "F"], patients, p=[0.58, 0.42])
    columns: dict[str, Any] = {
        "exam": [f"{split}_{first + patient}_{chr(ord('a') + letter)}" for patient, letter in zip(owner, scan)],
        "patient": owner,
        "reconstructions": 1 + (rng.random(len(owner)) < _SHARE_WITH_TWO_RECONSTRUCTIONS),
        "PatientSex": sex[owner],
        "PatientAge": [f"{years:03d}Y" for years in age[owner]],
        "Manufacturer": rng.choice(list(_MANUFACTURERS), len(owner), p=list(_MANUFACTURERS.values())),
    }
    for position, (name, finding) in enumerate(FINDINGS.items()):
        # A quantile of this split's own draws, so that small splits have the prevalence as well.
        threshold = np.quantile(latent[:, position], 1 - finding.prevalence)
        columns[name] = (latent[:, position] > threshold).astype(int)
    return pd.DataFrame(columns)


def latent_correlation() -> np.ndarray:
    """Return the correlation of Gaussians that, cut at the findings' prevalence, have their phi, shape (C, C)."""
    names = list(FINDINGS)
    matrix = np.eye(len(names))
    for i, first in enumerate(names):
        for j in range(i):
            pair = (names[j], first)
            phi = CO_OCCURRENCE.get(pair, CO_OCCURRENCE.get(pair[::-1], _OTHER_PAIRS))
            matrix[i, j] = matrix[j, i] = _tetrachoric(phi, FINDINGS[first].prevalence, FINDINGS[names[j]].prevalence)
    return matrix


def _tetrachoric(phi: float, p: float, q: float) -> float:
    """Return the correlation of two Gaussians which, cut at prevalences p and q, have this phi.

    The joint tail grows with the correlation as the bivariate density at the two cuts (Plackett, 1954).
    """
    a, b = NormalDist().inv_cdf(1 - p), NormalDist().inv_cdf(1 - q)
    grid = np.linspace(-0.99, 0.99, 1_981)
    density = np.exp(-(a * a - 2 * grid * a * b + b * b) / (2 * (1 - grid**2))) / (2 * np.pi * np.sqrt(1 - grid**2))
    excess = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    excess -= np.interp(0.0, grid, excess)  # independence at correlation 0
    return float(np.interp(phi * np.sqrt(p * (1 - p) * q * (1 - q)), excess, grid))


def _draw_views(
    rng: np.random.Generator, exams: pd.DataFrame, directions: np.ndarray, normal_report: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the image vectors (V, D), one a reconstruction, and the text vectors (E, D), one an exam."""
    labels = exams[list(FINDINGS)].to_numpy(dtype=float)
    centred = labels - [finding.prevalence for finding in FINDINGS.values()]
    of_patient = rng.standard_normal((exams["patient"].iloc[-1] + 1, DIMENSIONS))[exams["patient"]]
    anatomy = (of_patient + rng.standard_normal(of_patient.shape)) / np.sqrt(2)
    visible = (centred * [finding.visibility for finding in FINDINGS.values()]) @ directions
    owner = np.repeat(np.arange(len(exams)), exams["reconstructions"])
    image = (_ANATOMY * anatomy + visible)[owner]
    image += _RECONSTRUCTION * rng.standard_normal(image.shape)
    text = _TEXT_ANATOMY * anatomy + _TEXT_FINDING * centred @ directions
    text = _unit(text + _TEXT_NOISE * rng.standard_normal(text.shape))
    # Radiologists paste the same sentences for a normal chest: exact duplicates, which tie in retrieval.
    pasted = (labels.sum(axis=1) == 0) & (rng.random(len(exams)) < _SAME_NORMAL_REPORT)
    text[pasted] = normal_report
    return _unit(image), text


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _manifest(volumes: pd.DataFrame) -> pd.DataFrame:
    number = volumes.groupby("exam", sort=False).cumcount() + 1
    names = volumes["exam"] + "_" + number.astype(str)
    metadata = volumes[["PatientSex", "PatientAge", "Manufacturer"]]
    paths = {
        "volumename": names,
        "visual_feature_path": "image/" + names + ".npz",
        "text_feature_path": "text/" + volumes["exam"] + ".npz",
    }
    labels = volumes[list(FINDINGS)].astype(object)
    return pd.concat([pd.DataFrame(paths), metadata, labels], axis=1).reset_index(drop=True)


def _blank_labels(rng: np.random.Generator, table: pd.DataFrame, exams: pd.Series) -> None:
    """Make some labels unknown, each in all reconstructions of its exam."""
    names = list(FINDINGS)
    for exam in rng.choice(exams.to_numpy(dtype=str), _BLANK_LABELS, replace=False):
        rows = table["text_feature_path"] == f"text/{exam}.npz"
        table.loc[rows, names[rng.integers(len(names))]] = ""


def _write_features(vectors: dict[Path, np.ndarray], progress: Progress | None) -> None:
    """Write one ``.npz`` a vector, float32 of shape (1, D), in threads, since writing mostly waits for the disk."""

    def write(item: tuple[Path, np.ndarray]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, item[1][None].astype(np.float32))  # the dates inside are 1980, so the bytes repeat
        _write_if_new(item[0], buffer.getvalue())

    with ThreadPoolExecutor(max_workers=8) as pool:
        for done, _ in enumerate(pool.map(write, vectors.items()), start=1):
            if progress is not None and (done % 256 == 0 or done == len(vectors)):
                progress("writing demo features", done, len(vectors))


def _write_if_new(path: Path, content: bytes) -> None:
    if not _has_content(path, content):
        write_bytes(path, content)


def _has_content(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
