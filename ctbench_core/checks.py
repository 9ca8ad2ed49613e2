"""Look at manifests and features before anything is trained, and say all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctbench_core.config import Config
from ctbench_core.dataset import load_dataset, load_inputs, mark_leaks, read_test_manifests, read_training_manifests
from ctbench_core.declared import loss_name
from ctbench_core.errors import InputError
from ctbench_core.features import Audit, audit
from ctbench_core.label_leakage import data_card
from ctbench_core.manifest import Manifest


@dataclass
class CheckResult:
    """What a check found; ``ok`` when a training could start.

    Attributes:
        errors, warnings: one message each, written for the user.
        manifests: the readable splits by name: train, val, tests by file name.
        leaks: by split name, the patients that also stand in another split.
        dim: width of the features; 0 when none could be read.
        audits: what the feature files look like, by kind: visual, text.
        card: label origin and encoder, see `data_card`.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    leaks: dict[str, list[str]] = field(default_factory=dict)
    dim: int = 0
    audits: dict[str, Audit] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether a training could start."""
        return not self.errors

    @property
    def notes(self) -> list[str]:
        """What was decided for the user (inferred findings, visual-only), and how each cohort came about."""
        own = self.manifests["train"].notes if "train" in self.manifests else []
        others = [note for manifest in self.manifests.values() for note in manifest.notes if note.startswith("Cohort")]
        return list(dict.fromkeys([*own, *others]))

    @property
    def labels(self) -> list[str]:
        """The findings."""
        return next((manifest.labels for manifest in self.manifests.values()), [])

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Volumes, exams and patients by split."""
        return {name: manifest.counts() for name, manifest in self.manifests.items()}

    @property
    def prevalence(self) -> dict[str, dict[str, float]]:
        """Share of positives by split and finding."""
        return {name: manifest.prevalence() for name, manifest in self.manifests.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the `check` JSON of the contracts."""
        return {
            "ok": self.ok,
            "errors": self.errors,
            "warnings": self.warnings,
            "notes": self.notes,
            "data_card": self.card,
            "counts": self.counts,
            "prevalence": self.prevalence,
            "leaks": [{"manifest": name, "patients": patients} for name, patients in self.leaks.items()],
            "audit": {kind: audit.to_json() for kind, audit in self.audits.items()},
        }


def check(config: Config, progress: Callable[[str, int, int], None] = lambda phase, done, total: None) -> CheckResult:
    """Read every manifest and feature file of a config and report on them; nothing is written."""
    result = CheckResult(card=data_card(config))
    _collect(result, _read_training, config)
    if result.manifests:
        _collect(result, _read_tests, config)
        _collect(result, _mark_leaks, config)
        _collect(result, _load_features, config, progress)
    for step in (_check_head, _check_loss, _check_device):
        _collect(result, step, config)
    return result


def _collect(result: CheckResult, step: Callable[..., None], *arguments: Any) -> None:
    try:
        step(result, *arguments)
    except InputError as error:
        result.errors.append(str(error))


def _read_training(result: CheckResult, config: Config) -> None:
    result.manifests, warnings = read_training_manifests(config)
    result.warnings += warnings
    for name, manifest in result.manifests.items():
        one_sided = [label for label, share in manifest.prevalence().items() if not 0 < share < 1]
        if one_sided:
            result.warnings.append(f"{name}: {', '.join(one_sided)} has one class only; its metrics will be undefined.")


def _check_head(result: CheckResult, config: Config) -> None:
    from ctbench_core.train.heads import layer_widths

    layer_widths(config.model, max(result.dim, 1), max(len(result.labels), 1))


def _check_loss(result: CheckResult, config: Config) -> None:
    loss_name(config.training.loss._target_)


def _check_device(result: CheckResult, config: Config) -> None:
    from ctbench_core.train.trainer import choose_device

    choose_device(config.utils.device)


def _read_tests(result: CheckResult, config: Config) -> None:
    result.manifests |= read_test_manifests(config, result.labels)


def _mark_leaks(result: CheckResult, config: Config) -> None:
    result.leaks, warnings = mark_leaks(config, result.manifests)
    result.warnings += warnings


def _load_features(result: CheckResult, config: Config, progress: Callable[[str, int, int], None]) -> None:
    inputs = load_inputs(config, result.manifests, progress, mode="read")
    patients = np.concatenate([manifest.patients for manifest in result.manifests.values()])
    for kind, features in inputs.items():
        result.audits[kind] = audit(features, patients)
        result.warnings += result.audits[kind].warnings()
    result.dim = sum(features.dim for features in inputs.values())
    result.warnings += load_dataset(config, result.manifests, inputs=inputs).warnings
