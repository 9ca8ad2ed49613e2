"""Evaluate a trained run on test sets; the ledger of the run store records each evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.atomic import require_free
from ctbench_core.config import Config, ModelConfig
from ctbench_core.dataset import (
    NOT_VERIFIABLE,
    Dataset,
    SharedTests,
    check_paths,
    find_leaks,
    input_changes,
    load_dataset,
    read_test_manifests,
    read_training_manifests,
)
from ctbench_core.declared import macro_keys
from ctbench_core.errors import CheckpointError, InputError
from ctbench_core.evaluate.bundle import write_bundle, write_scores, write_validation_bundle
from ctbench_core.evaluate.external import source_of
from ctbench_core.evaluate.tuning import tune_thresholds, write_tuning
from ctbench_core.manifest import Manifest, judged_findings
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import (
    VALIDATION,
    Disclosures,
    Ledger,
    Metrics,
    Run,
    check_allowed,
    disclosures_of,
    open_run,
    read_provenance,
    read_tuning,
)

OPTIMISTIC = (
    "Validation set: it chose the epoch, so AUROC and AUPRC are optimistic. Thresholds and calibration are cross-fitted "
    "over patients."
)


def evaluate_run(
    run_dir: Path | str,
    tests: list[str] | None = None,
    *,
    config: Config | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Evaluate a trained run on test sets, write their bundles, and return the `evaluate` JSON.

    Args:
        tests: manifest names; by default those of the config, else those with the usual names.
        config: the run's config with other paths or tests; by default the run's own.

    Raises:
        InputError: no run, no checkpoint, no test manifest, or unusable features.
    """
    started = time.monotonic()
    run = open_run(run_dir)
    config = config or run.config
    home, trained, warnings = _training_data(run, config)
    changes = [] if config.paths.checkpoint_path else _input_changes(run, home, trained, progress)
    results = evaluate_on_tests(run, config, trained, tests, progress, warnings, changes, home)
    result = run_summary(run, results, warnings + changes)
    seconds = time.monotonic() - started
    return result | {"seconds": result["seconds"] | {"evaluate": seconds, "total": seconds}}


def evaluate_on_validation(
    run_dir: Path | str, *, config: Config | None = None, progress: Progress = silent
) -> dict[str, Any]:
    """Evaluate a trained run on its own validation set, so that runs can be chosen before a test is evaluated.

    Writes the bundle of `<run>/validation`. The ledger does not count it.

    Returns:
        ``run_dir``, ``best_epoch``, ``validation`` (METRICS) and ``warnings``.

    Raises:
        InputError: no run, no checkpoint, or the validation set is missing or has no usable features.
    """
    run = open_run(run_dir)
    config = config or run.config
    home, trained, warnings = _training_data(run, config)
    if "val" not in trained:
        raise InputError(" ".join([f"The validation set of {run.name} was not found.", *warnings]))
    changes = _input_changes(run, home, trained, progress)
    require_free(check_allowed(run.paths.validation.root).glob("*.csv"))
    progress("evaluating", 0, 1)
    manifest, logits = _validation_logits(run, config, load_dataset(home, {"val": trained["val"]}))
    epoch = _best_epoch(run, config)
    tuning = write_tuning(run.paths, manifest, logits, epoch)
    texts = [OPTIMISTIC, *changes, *manifest.warnings]
    disclosures = disclosures_of(
        [run], VALIDATION, n=manifest.counts(), warnings=texts, unknown_patients=manifest.unknown_patients
    )
    metrics = write_validation_bundle(run.paths.validation, manifest, logits, tuning, disclosures, epoch)
    result = {"run_dir": str(run.paths.root), "best_epoch": epoch, "validation": metrics.to_json()}
    return result | {"warnings": [*warnings, *metrics.warnings]}


def _training_data(run: Run, config: Config) -> tuple[Config, dict[str, Manifest], list[str]]:
    """Read a run's training and validation rows: return the config that found them, the rows, and warnings.

    They are looked for where ``config`` says and where the run was trained: data may have been moved since, or the
    test set may have a manifest folder of its own. Those with the volumes of the training come first. They are read by
    the run's own columns and rules: those of ``config`` are of the test set.
    """
    moved = run.config.copy()
    moved.paths = config.paths
    places = [run.config] if config.paths == run.config.paths else [moved, run.config]
    volumes = read_provenance(run.paths).inputs.get("train.volumes")
    readable, failures = [], []
    for place in places:
        try:
            readable.append((place, *read_training_manifests(place)))
        except InputError as error:  # a run that was moved may have lost its manifests
            failures.append(f"Leaks against the training manifest could not be checked: {error}")
    if not readable:
        return places[0], {}, failures[:1]
    return next((one for one in readable if one[1]["train"].identity.volumes == volumes), readable[0])


def _input_changes(run: Run, home: Config, trained: dict[str, Manifest], progress: Progress) -> list[str]:
    """Say how the inputs have changed since a run was trained, or why that cannot be verified."""
    if not read_provenance(run.paths).inputs:
        return [NOT_VERIFIABLE]
    try:
        if not trained:
            raise InputError("the training manifest was not found.")
        return input_changes(run.paths, load_dataset(home, trained, progress))
    except InputError as error:
        return [f"Inputs not verifiable: {error}"]


def evaluate_on_tests(
    run: Run,
    config: Config,
    trained: Mapping[str, Manifest],
    tests: list[str] | None,
    progress: Progress,
    warnings: list[str] | None = None,
    changes: Sequence[str] = (),
    home: Config | None = None,
    *,
    training: Dataset | None = None,
    shared: SharedTests | None = None,
) -> dict[str, Metrics]:
    """Evaluate a run on test sets, record it in the ledger, and return METRICS by test manifest.

    Args:
        trained: the manifests ``train`` and ``val`` of the run, as far as they were found.
        warnings: receives the warnings.
        changes: how the run's inputs have changed since it was trained; stored with the metrics.
        home: the config that found the training data, by default ``config``.
        training: that data, where the caller has loaded it.
        shared: keeps the test sets for the next run.

    Raises:
        HeldError: a table of an earlier evaluation is open in another program.
    """
    from ctbench_core.train.trainer import choose_device

    warnings, home, shared = [] if warnings is None else warnings, home or config, shared or SharedTests()
    check_paths(config)
    state, labels = _load_state(run, config), _labels(run, config, trained)
    manifests = require_test_manifests(config, judged_findings(labels, config.data.labels), tests)
    leaks, leak_warnings = find_leaks(
        config, {**{name: trained[name] for name in ("train", "val") if name in trained}, **manifests}
    )
    dataset = shared.load(config, manifests, progress)
    warnings += leak_warnings + dataset.warnings
    tuning, epoch = _tuning(run, config, home, trained, training, warnings), _best_epoch(run, config)
    results: dict[str, Metrics] = {}
    for name in manifests:  # before anything is opened, so that trying again counts no further opening
        require_free(check_allowed(run.paths.evaluation(name).root).glob("*.csv"))
    for name in manifests:
        progress("evaluating", len(results), len(manifests))
        logits = predict_logits(state, dataset, name, choose_device(config.utils.device), config.model, labels)
        source = source_of(run, config, home, trained, manifests[name], labels)
        manifest, leaked = dataset.manifests[name], leaks.get(name, [])
        texts = [*changes, *manifest.warnings, *(source.warnings() if source else [])]
        disclosures = _record(run, config, name, manifests[name].identity.id, manifest, len(leaked), texts)
        own: dict[str, Any] = {"tuning": tuning, "disclosures": disclosures, "epoch": epoch, "source": source}
        write = write_scores if config.evaluation.detail == "scores" else write_bundle
        results[name] = write(run.paths.evaluation(name), manifest, logits, leaked, **own)
    return results


def _record(
    run: Run, config: Config, name: str, test_set: str, manifest: Manifest, leaked: int, warnings: Sequence[str]
) -> Disclosures:
    """Record an evaluation in the ledger, and return what its metrics disclose."""
    count = Ledger(run.store).record(run.paths.root, run.job, name, test_set)
    return disclosures_of(
        [run],
        Path(name).stem,
        leaked,
        manifest.counts(),
        opening=(test_set, count),
        warnings=warnings,
        unknown_patients=manifest.unknown_patients,
        label_origin=config.data.label_origin,
    )


def _tuning(
    run: Run,
    config: Config,
    home: Config,
    trained: Mapping[str, Manifest],
    training: Dataset | None,
    warnings: list[str],
) -> dict[str, Any] | None:
    """Return the run's tuning; fit it if it is missing or of another epoch. None, with a warning, if that fails."""
    stored, epoch = read_tuning(run.paths.tuning), _best_epoch(run, config)
    if stored is not None and not config.paths.checkpoint_path and stored.get("best_epoch", epoch) == epoch:
        return stored
    try:
        if "val" not in trained:
            raise InputError("the validation manifest was not found")
        loaded = training.only("val") if training else load_dataset(home, {"val": trained["val"]})
        manifest, logits = _validation_logits(run, config, loaded)
        if config.evaluation.detail == "scores":  # enough for a study; evaluating one of its runs fits the rest
            return tune_thresholds(manifest, logits)
        return write_tuning(run.paths, manifest, logits, epoch)
    except InputError as error:
        warnings.append(f"Thresholds and calibration could not be fitted on validation: {error}")
        return None


def _validation_logits(run: Run, config: Config, dataset: Dataset) -> tuple[Manifest, np.ndarray]:
    """Return the validation rows with usable features, and their logits (N, C)."""
    from ctbench_core.train.trainer import choose_device

    state, device = _load_state(run, config), choose_device(config.utils.device)
    return dataset.manifests["val"], predict_logits(state, dataset, "val", device, config.model)


def _load_state(run: Run, config: Config) -> Mapping[str, Any]:
    from ctbench_core.train.checkpoint import load_model_state

    path = config.paths.checkpoint_path
    return load_model_state(Path(path) if path else run.paths.checkpoints / config.evaluation.checkpoint_name)


def predict_logits(
    state: Mapping[str, Any],
    dataset: Dataset,
    split: str,
    device: str,
    model: ModelConfig | None = None,
    findings: Sequence[str] | None = None,
) -> np.ndarray:
    """Return the logits of a state_dict on a split, float64 of shape (N, C).

    Args:
        model: the head's config; needed for a head that is a module.
        findings: those of the head in its order, of which the split may have some only; by default the split's.

    Raises:
        CheckpointError: the head has another number of features or findings.
    """
    import torch

    from ctbench_core.train.checkpoint import head_logits, load_head
    from ctbench_core.train.inputs import DeviceFeatures

    manifest = dataset.manifests[split]
    own = list(findings or manifest.labels)
    expected = (dataset.matrix.shape[1], len(own))
    head = load_head(state, device, model, *expected)
    if (head.features, head.findings) != expected:
        raise CheckpointError(
            f"The checkpoint maps {head.features} features to {head.findings} findings, but {manifest.name} has "
            f"{expected[0]} features and {expected[1]} findings. Evaluate on the features and findings that the run "
            "was trained on."
        )
    features = DeviceFeatures(dataset.matrix, head.dtype, device)
    with torch.inference_mode():
        logits = head_logits(head, features, torch.as_tensor(dataset.rows[split])).double().cpu().numpy()
    return logits[:, [own.index(label) for label in manifest.labels]]


def require_test_manifests(config: Config, labels: list[str], names: list[str] | None = None) -> dict[str, Manifest]:
    """Read the named test manifests, else those with the usual names.

    Raises:
        InputError: there is none, or one is missing or invalid.
    """
    manifests = read_test_manifests(config, labels, names)
    if not manifests:
        raise InputError(
            f"No test manifest with a usual name was found in {config.paths.manifest_dir}. "
            "Name the test manifests in data.test_manifests."
        )
    return manifests


def _best_epoch(run: Run, config: Config) -> int | None:
    """Return the epoch of the evaluated weights; None for a checkpoint of another run."""
    return None if config.paths.checkpoint_path else run.best().get("epoch")


def _labels(run: Run, config: Config, trained: Mapping[str, Manifest]) -> list[str]:
    """Return the findings in the order the head was trained on."""
    per_class = run.best().get("val_metrics", {}).get("per_class")
    if per_class:
        return list(per_class)
    if "train" in trained:
        return list(trained["train"].labels)
    labels = config.training.target_labels or config.data.columns.labels
    if not labels:
        raise InputError(
            f"{run.paths.root} does not store its findings. List them in training.target_labels, in the order of training."
        )
    return labels


def run_summary(run: Run, tests: Mapping[str, Metrics], warnings: list[str]) -> dict[str, Any]:
    """Return the `train` and `evaluate` JSON of a run."""
    best = run.best()
    return {
        "run_dir": str(run.paths.root),
        "state": run.status.state,
        "best_epoch": best.get("epoch"),
        "epochs": run.status.epoch,
        "best_val": {name: best.get("val_metrics", {}).get(name) for name in macro_keys()},
        "test": {name: metrics.to_json() for name, metrics in tests.items()},
        "seconds": {"total": 0.0, "load": 0.0, "train": 0.0, "evaluate": 0.0, **run.status.seconds},
        "warnings": warnings,
    }
