"""Agreement of two label sources on the volumes that both label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.errors import ManifestError
from ctbench_core.manifest.manifest import Manifest

NO_COMMON = "no volume has a label in both"
ONE_CLASS = "both sources give one class only"


@dataclass(frozen=True)
class Agreement:
    """Two label sources, finding by finding.

    Attributes:
        first, second: names of the manifests.
        table: one row a finding; columns finding, volumes (known in both), agreement, kappa, prevalence_first,
            prevalence_second, both, only_first, only_second, neither (volumes), undefined (why kappa is NaN, else
            empty).
        n: volumes, exams and patients in both manifests.
        only_first, only_second: volumes of one manifest that the other lacks.
        findings_only_first, findings_only_second: findings of one manifest that the other lacks; not compared.
        warnings: of both manifests, each with the file's name.
    """

    first: str
    second: str
    table: pd.DataFrame
    n: dict[str, int]
    only_first: int
    only_second: int
    findings_only_first: tuple[str, ...] = ()
    findings_only_second: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; NaN stays NaN."""
        names = ("first", "second", "n", "only_first", "only_second", "findings_only_first", "findings_only_second")
        values = {name: getattr(self, name) for name in names} | {"warnings": list(self.warnings)}
        return values | {"per_class": {row.pop("finding"): row for row in self.table.to_dict("records")}}


def compare_labels(first: Manifest, second: Manifest) -> Agreement:
    """Compare two manifests over the volumes and findings that both have, without unknown labels.

    Raises:
        ManifestError: they share no volume or no finding.
    """
    labels = [label for label in first.labels if label in second.labels]
    if not labels:
        raise ManifestError(
            f"{first.name} and {second.name} share no finding: {', '.join(first.labels)}; {', '.join(second.labels)}. "
            "Give the same finding the same column name in both."
        )
    positions = pd.Index(second.volumes).get_indexer(first.volumes)
    rows = positions >= 0
    if not rows.any():
        raise ManifestError(
            f"{first.name} and {second.name} share no volume: the first begins with {first.volumes[0]}, "
            f"the second with {second.volumes[0]}. Compare two label sources of the same volumes."
        )
    targets, others = first.targets[rows], second.targets[positions[rows]]
    table = pd.DataFrame(
        {"finding": label} | _agreement(targets[:, first.labels.index(label)], others[:, second.labels.index(label)])
        for label in labels
    )
    common = first.select(rows)
    only_first, only_second = len(first) - len(common), len(second) - len(common)
    alone = [tuple(name for name in one.labels if name not in labels) for one in (first, second)]
    warnings = tuple(dict.fromkeys([*first.warnings, *second.warnings]))
    counts = common.counts()
    return Agreement(first.name, second.name, table, counts, only_first, only_second, alone[0], alone[1], warnings)


def _agreement(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    """Compare two 0/1/NaN columns of shape (N,): Cohen's kappa (Educ. Psychol. Meas. 1960) and its counts."""
    known = ~(np.isnan(a) | np.isnan(b))
    a, b = a[known] == 1, b[known] == 1
    n = len(a)
    cells = {"both": a & b, "only_first": a & ~b, "only_second": ~a & b, "neither": ~a & ~b}
    counts = {name: int(cell.sum()) for name, cell in cells.items()}
    if n == 0:
        metrics = dict.fromkeys(("agreement", "kappa", "prevalence_first", "prevalence_second"), float("nan"))
        return {"volumes": 0, **metrics, **counts, "undefined": NO_COMMON}
    observed, p, q = (counts["both"] + counts["neither"]) / n, a.mean(), b.mean()
    expected = p * q + (1 - p) * (1 - q)
    one_class = p == q and p in (0, 1)  # chance alone agrees everywhere: kappa is 0 / 0
    metrics = {
        "agreement": observed,
        "kappa": float("nan") if one_class else float((observed - expected) / (1 - expected)),
        "prevalence_first": float(p),
        "prevalence_second": float(q),
    }
    return {"volumes": n, **metrics, **counts, "undefined": ONE_CLASS if one_class else ""}
