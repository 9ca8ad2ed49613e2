"""A small data set whose retrieval differs by direction and by truth, and its recall by brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.alignment.brute_force import query_metrics, similarities

KS = [1, 5, 10]
PATIENTS, DIMENSIONS = 8, 6


def write_case(folder: Path) -> pd.DataFrame:
    """Write 32 volumes with their reports below ``features`` and ``manifests/test.csv``; return the manifest.

    Every patient has two exams of two volumes; the volumes of an exam share a report, and the reports of the first three
    patients' first exams are identical. A report is nearer to its own volume than a volume is to its own report.
    """
    draw = np.random.default_rng(3)
    for part in ("features/image", "features/text", "manifests"):
        (folder / part).mkdir(parents=True)
    rows = []
    for patient in range(1, PATIENTS + 1):
        for exam in "ab":
            report = draw.normal(size=DIMENSIONS).astype(np.float32)
            if exam == "a" and patient <= 3:
                report = np.ones(DIMENSIONS, np.float32)
            name = f"test_{patient}_{exam}"
            np.savez(folder / "features" / "text" / f"{name}.npz", report)
            for scan in (1, 2):
                image = (report + draw.normal(scale=1 + scan, size=DIMENSIONS)).astype(np.float32)
                np.savez(folder / "features" / "image" / f"{name}_{scan}.npz", image)
                findings = {"Mass": (patient + scan) % 2, "Nodule": int(patient > 5)}
                paths = {
                    "visual_feature_path": f"image/{name}_{scan}.npz",
                    "text_feature_path": f"text/{name}.npz",
                }
                maker = {"Manufacturer": f"maker {(patient + scan) % 3}"}
                rows.append({"volumename": f"{name}_{scan}", **paths, **maker, **findings})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "manifests" / "test.csv", index=False)
    return table


def groups_by(table: pd.DataFrame, truth: str) -> np.ndarray:
    """Return the group of each volume, read off the names and columns of the manifest."""
    parts = table["volumename"].str.split("_")
    by_truth = {
        "exam": parts.str[1] + parts.str[2],
        "patient": parts.str[1],
        "text": np.where((parts.str[2] == "a") & (parts.str[1].astype(int) <= 3), "same", parts.str[1] + parts.str[2]),
        "labels": table["Mass"].astype(str) + table["Nodule"].astype(str),
        "maker": table["Manufacturer"],
    }
    return np.asarray(by_truth[truth])


def brute_metrics(folder: Path, table: pd.DataFrame, truth: str) -> dict[str, dict[str, float]]:
    """Return the mean metrics of the queries by direction (visual to text, text to visual)."""
    sides = [
        np.stack([np.load(folder / "features" / path)["arr_0"] for path in table[f"{kind}_feature_path"]])
        for kind in ("visual", "text")
    ]
    scores, groups = similarities(*sides), groups_by(table, truth)
    relevant = groups[:, None] == groups[None, :]
    means = {}
    for direction, matrix in (("visual to text", scores), ("text to visual", scores.T)):
        metrics = pd.DataFrame([query_metrics(row, hits, KS) for row, hits in zip(matrix, relevant)])
        means[direction] = metrics.drop(columns="tied").mean().to_dict()
    return means
