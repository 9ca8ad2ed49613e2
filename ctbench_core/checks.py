"""Check manifests and features before training, and report every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ctbench_core.config import DEFAULT_TESTS, Config
from ctbench_core.dataset import find_leaks, list_test_sets, load_dataset, load_inputs, make_splits, read_test_manifests
from ctbench_core.errors import Fix, InputError
from ctbench_core.features import Audit, audit
from ctbench_core.label_leakage import data_card
from ctbench_core.manifest import Manifest, left_out_columns
from ctbench_core.progress import Progress, silent


@dataclass
class CheckResult:
    """The result of a check; ``ok`` when a training could start.

    Attributes:
        errors, warnings: messages for the user.
        manifests: the readable splits by name: train, val, tests by file name.
        leaks: by split name, the patients that are also in another split.
        dim: width of the features; 0 when none could be read.
        audits: audits of the feature files by kind: visual, text.
        card: label origin and encoder; see `data_card`.
        fixes: changes of settings that solve an error or answer a warning, by its message.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    leaks: dict[str, list[str]] = field(default_factory=dict)
    dim: int = 0
    audits: dict[str, Audit] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    fixes: dict[str, tuple[Fix, ...]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether a training could start."""
        return not self.errors

    @property
    def notes(self) -> list[str]:
        """Defaults applied (inferred findings, visual-only), and how each cohort was selected."""
        own = self.manifests["train"].notes if "train" in self.manifests else []
        others = [note for manifest in self.manifests.values() for note in manifest.notes if note.startswith("Cohort")]
        return list(dict.fromkeys([*own, *others]))

    @property
    def labels(self) -> list[str]:
        """The label columns."""
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
            "fixes": {
                text: [{"label": fix.label, "set": dict(fix.values), "sure": fix.sure} for fix in fixes]
                for text, fixes in self.fixes.items()
                if fixes
            },
            "audit": {kind: audit.to_json() for kind, audit in self.audits.items()},
        }


def check(config: Config, progress: Progress = silent) -> CheckResult:
    """Read every manifest and feature file of a config and return what is wrong; nothing is written."""
    result = check_tables(config)
    check_features(result, config, progress)
    return result


def check_tables(config: Config) -> CheckResult:
    """Read every manifest of a config and check its settings, without its feature files."""
    from ctbench_core.train.refusals import check_device, check_training

    result = CheckResult(card=data_card(config))
    _collect(result, lambda: _read_training(result, config))
    if result.manifests:
        _collect(result, lambda: _read_tests(result, config))
        _collect(result, lambda: _find_leaks(result, config))
    _collect(result, lambda: check_training(config, result.labels))
    _collect(result, lambda: check_device(config.utils.device))
    return result


def check_features(result: CheckResult, config: Config, progress: Progress = silent) -> None:
    """Read the feature files of the manifests that `check_tables` could read, and add what is wrong to its result."""
    if result.manifests:
        _collect(result, lambda: _load_features(result, config, progress))


def _collect(result: CheckResult, step: Callable[[], object]) -> None:
    try:
        step()
    except InputError as error:
        for part in error.parts:
            result.errors.append(str(part))
            result.fixes[str(part)] = part.fixes


def _warn(result: CheckResult, warnings: Mapping[str, Sequence[Fix]]) -> None:
    for text, fixes in warnings.items():
        result.warnings += [] if text in result.warnings else [text]
        result.fixes[text] = tuple(fixes)


def _read_training(result: CheckResult, config: Config) -> None:
    splits = make_splits(config)
    result.manifests = {"train": splits.train, "val": splits.val}
    result.warnings += splits.warnings
    _warn(result, splits.fixes)
    for name, manifest in result.manifests.items():
        _warn(result, _one_class(name, manifest, config))
    _warn(result, left_out_columns(splits.train, config))


def _one_class(name: str, manifest: Manifest, config: Config) -> dict[str, list[Fix]]:
    """Warn of findings with one class; where the only negatives could be blanks, reading them so is the fix."""
    shares = manifest.prevalence()
    single = [label for label, share in shares.items() if not 0 < share < 1]
    if not single:
        return {}
    verb, whose = ("has", "its") if len(single) == 1 else ("have", "their")
    blank = np.isnan(manifest.targets).any(axis=0)
    can_be_negative = any(shares[label] == 1 and blank[manifest.labels.index(label)] for label in single)
    fixes = [Fix("Read blanks as negative", {"data.labels.blank": "negative"})] if can_be_negative else []
    hint = " If a blank means negative, set data.labels.blank=negative." if fixes else ""
    return {f"{name}: {', '.join(single)} {verb} one class only; {whose} metrics will be undefined.{hint}": fixes}


def _read_tests(result: CheckResult, config: Config) -> None:
    tests = list_test_sets(config)
    if not tests:
        usual = ", ".join(DEFAULT_TESTS)
        _warn(
            result,
            {f"No test set: {config.paths.manifest_dir} has none of {usual}. Name one in data.test_manifests.": ()},
        )
    manifests = read_test_manifests(config, result.labels, tests)
    result.manifests.update(manifests)
    texts = [text for manifest in manifests.values() for text in manifest.warnings]
    result.warnings += [text for text in texts if text not in result.warnings]  # a fold has those of its manifest


def _find_leaks(result: CheckResult, config: Config) -> None:
    result.leaks, warnings = find_leaks(config, result.manifests)
    result.warnings += warnings


def _load_features(result: CheckResult, config: Config, progress: Progress) -> None:
    inputs = load_inputs(config, result.manifests, progress, mode="read")
    patients = np.concatenate([manifest.patients for manifest in result.manifests.values()])
    for kind, features in inputs.items():
        result.audits[kind] = audit(features, patients)
        result.warnings += result.audits[kind].warnings()
    result.dim = sum(features.dim for features in inputs.values())
    result.warnings += load_dataset(config, result.manifests, inputs=inputs).warnings
