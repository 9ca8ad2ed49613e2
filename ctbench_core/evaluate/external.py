"""Test sets of another data set than the training data: which findings are judged, and from which prevalence they come.

Thresholds and calibration stay those of the run's validation set. Beside them, probabilities are recalibrated for the
prevalence of the test set, which uses its labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.config import KEYS, Config, get_key, set_keys
from ctbench_core.dataset import reference_config
from ctbench_core.declared import SOURCE_PREVALENCE
from ctbench_core.manifest import Manifest, judged_findings, label_map
from ctbench_core.runs import ExternalTest, Metrics, Run, read_metrics, read_provenance

# What an evaluation may have of its own to read another data set.
_SETTINGS = (
    *("paths.data_root", "paths.manifest_dir", "data.columns.", "data.labels.", "data.label_origin", "data.encoder."),
    *("data.feature_key", "data.pool", "data.store_dtype", "data.cohort.", "data.on_bad_feature"),
)


@dataclass(frozen=True)
class Source:
    """The training data of a run, for a test set of another data set.

    Attributes:
        test: how the test set was read.
        prevalence: by split (train, val) and finding, the share of positives; NaN where unknown.
    """

    test: ExternalTest
    prevalence: Mapping[str, Mapping[str, float]]

    def values(self, split: str, labels: Sequence[str]) -> np.ndarray:
        """Return the prevalence of findings in a split, (C,)."""
        return np.array([self.prevalence[split].get(label, math.nan) for label in labels])

    def warnings(self) -> list[str]:
        """Name the findings that are not judged."""
        if not self.test.not_judged:
            return []
        reasons = "; ".join(f"{finding} ({reason})" for finding, reason in self.test.not_judged.items())
        return [f"Findings of the run without a counterpart in the test set, not judged: {reasons}."]


def source_of(
    run: Run, config: Config, home: Config, trained: Mapping[str, Manifest], test: Manifest, labels: Sequence[str]
) -> Source | None:
    """Return the training data of a run if a test set is of another data set, else None.

    It is of another where its labels are read by other rules, or where its manifest lies in another folder.

    Args:
        config: of the evaluation. home: the one that found the training data.
        trained: the manifests ``train`` and ``val`` as far as they were found.
        labels: the findings of the run.
    """
    folders = {Path(reference_config(home).paths.manifest_dir), *(one.path.parent for one in trained.values())}
    is_home = test.path.parent.resolve() in {folder.resolve() for folder in folders}
    if is_home and config.data.labels == run.config.data.labels:
        return None
    rules, read = config.data.labels, test.label_mapping.get("label_map", {})
    renames, judged = label_map(rules.rename), judged_findings(labels, rules)
    others = [label for label in labels if label not in judged]
    not_judged = {
        label: "left out by data.labels.only" if renames.columns_of(label, ()) else renames.reason(label)
        for label in others
    }
    facts = ExternalTest(
        renames.name, renames.digest, read.get("pairs", {}), not_judged, read.get("unused", {}), _settings(run, config)
    )
    return Source(facts, _prevalence(run, trained))


def _settings(run: Run, config: Config) -> dict[str, Any]:
    """Return the places, columns and label rules of an evaluation that differ from those of its run."""
    names = [name for name in KEYS if name.startswith(_SETTINGS)]
    return {name: value for name in names if (value := get_key(config, name)) != get_key(run.config, name)}


def evaluated_config(run: Run, name: str) -> Config:
    """Return the config that a stored evaluation had: the run's own, but of a test set of another data set its settings."""
    metrics = read_metrics(run.paths.evaluation(name).metrics)
    settings = metrics.external.settings if metrics is not None and metrics.external is not None else {}
    return set_keys(run.config.copy(), dict(settings))


def _prevalence(run: Run, trained: Mapping[str, Manifest]) -> dict[str, dict[str, float]]:
    """Return the prevalence in training and validation, as recorded when the run was trained, else as found now."""
    recorded = read_provenance(run.paths).prevalence
    shares = {}
    for split in SOURCE_PREVALENCE:
        found = recorded.get(split) or (trained[split].prevalence() if split in trained else {})
        shares[split] = {label: math.nan if share is None else share for label, share in found.items()}
    return shares


def with_source(metrics: Metrics, manifest: Manifest, source: Source | None) -> Metrics:
    """Return METRICS with the prevalence in training and validation, and the number of volumes with a known label."""
    if source is None:
        return metrics
    labels, known = manifest.labels, (~np.isnan(manifest.targets)).sum(axis=0)
    columns = {key: source.values(split, labels) for split, key in SOURCE_PREVALENCE.items()} | {"labelled": known}
    findings = {
        label: metrics.findings[label].with_values({key: float(values[c]) for key, values in columns.items()})
        for c, label in enumerate(labels)
    }
    return metrics.with_findings(findings, external=source.test)
