"""Open test sets for a trained run: an act of its own, counted in the ledger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from ctbench_core.config import Config
from ctbench_core.dataset import check_places, load_dataset, mark_leaks, read_test_manifests, read_training_manifests
from ctbench_core.errors import InputError
from ctbench_core.evaluate.tuning import read_tuning, tuned_alone, write_tuning
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import Run, RunPaths, RunStore, disclosures_of, open_run


def evaluate_run(
    run_dir: Path | str,
    tests: list[str] | None = None,
    *,
    config: Config | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Open test sets for a trained run, write their bundles, and return the `evaluate` JSON.

    Args:
        tests: manifest names; by default those of the config, then those of the usual names.
        config: the run's config with changed paths or tests; by default the run's own.

    Raises:
        InputError: no run, no checkpoint, no test manifest, or unusable features.
    """
    started = time.monotonic()
    run = open_run(run_dir)
    config = config or run.config
    trained, warnings = _manifests_trained_on(config)
    results = open_tests(run, config, trained, tests, progress, warnings)
    result = summary(run, results, warnings)
    result["seconds"] = {
        **result["seconds"],
        "evaluate": time.monotonic() - started,
        "total": time.monotonic() - started,
    }
    return result


def _manifests_trained_on(config: Config) -> tuple[dict[str, Manifest], list[str]]:
    """Read the training manifests for the leak mark; a run moved elsewhere may have lost them."""
    try:
        return read_training_manifests(config)
    except InputError as error:
        return {}, [f"Leaks against the training manifest could not be checked: {error}"]


def open_tests(
    run: Run,
    config: Config,
    trained: dict[str, Any],
    tests: list[str] | None,
    progress: Progress,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    from ctbench_core.evaluate.bundle import write_bundle, write_scores
    from ctbench_core.evaluate.predict import predict_logits
    from ctbench_core.train.checkpoint import load_model_state
    from ctbench_core.train.trainer import choose_device

    check_places(config)
    state = load_model_state(_checkpoint(run.paths, config))
    labels = _labels(run, config, trained)
    manifests = named_tests(config, labels, tests)
    leaks, leak_warnings = mark_leaks(
        config, {**{n: trained[n] for n in ("train", "val") if n in trained}, **manifests}
    )
    dataset = load_dataset(config, manifests, progress)
    if warnings is not None:
        warnings += leak_warnings + dataset.warnings
    tuning, epoch = _tuning(run, config, trained, warnings), _epoch(run, config)
    results: dict[str, Any] = {}
    for name in manifests:
        progress("evaluating", len(results), len(manifests))
        logits = predict_logits(state, dataset, name, choose_device(config.utils.device))
        RunStore(config.paths.outputs_root).record_opening(run.paths.root, run.job, name)
        paths, leaked = run.paths.evaluation(name), leaks.get(name, [])
        marks = disclosures_of([run], Path(name).stem, len(leaked), dataset.manifests[name].counts())
        if config.evaluation.detail == "scores":
            results[name] = write_scores(paths, dataset.manifests[name], logits, leaked, tuning, marks, epoch)
        else:
            of_run: dict[str, Any] = {"tuning": tuning, "marks": marks, "epoch": epoch}
            results[name] = write_bundle(paths, dataset.manifests[name], logits, leaked, **of_run)
    return results


def _tuning(run: Run, config: Config, trained: dict[str, Any], warnings: list[str] | None) -> dict[str, Any] | None:
    """Return what validation chose for this run, fitted now if it was not, or not for its present best epoch.

    None, with a warning, where it cannot be fitted.
    """
    stored, epoch = read_tuning(run.paths.tuning), _epoch(run, config)
    if stored is not None and not config.paths.checkpoint_path and stored.get("best_epoch", epoch) == epoch:
        return stored
    try:
        if "val" not in trained:
            raise InputError("the validation manifest is not there")
        if config.evaluation.detail == "scores":  # a study needs no more; opening one of its runs completes it
            manifest, logits = _on_validation(run, config, trained["val"])
            return tuned_alone(manifest, logits)
        return score_validation(run, config, trained["val"])
    except InputError as error:
        if warnings is not None:
            warnings.append(f"Thresholds and calibration could not be fitted on validation: {error}")
        return None


def score_validation(run: Run, config: Config, validation: Manifest) -> dict[str, Any]:
    """Score the validation set with a run's checkpoint, fit thresholds and calibration, and keep both with the run.

    Raises:
        InputError: no checkpoint, or unusable features.
    """
    return write_tuning(run.paths, *_on_validation(run, config, validation), epoch=_epoch(run, config))


def _on_validation(run: Run, config: Config, validation: Manifest) -> tuple[Manifest, np.ndarray]:
    """Return the validation rows whose features are usable, and their logits (N, C)."""
    from ctbench_core.evaluate.predict import predict_logits
    from ctbench_core.train.checkpoint import load_model_state
    from ctbench_core.train.trainer import choose_device

    state = load_model_state(_checkpoint(run.paths, config))
    dataset = load_dataset(config, {"val": validation}, silent)
    return dataset.manifests["val"], predict_logits(state, dataset, "val", choose_device(config.utils.device))


def named_tests(config: Config, labels: list[str], names: list[str] | None = None) -> dict[str, Manifest]:
    """Read the named test manifests, else those of the usual names.

    Raises:
        InputError: there is none, or one is missing or breaks the contract.
    """
    manifests = read_test_manifests(config, labels, names)
    if not manifests:
        raise InputError(
            f"No test manifest: none of the usual names is in {config.paths.manifest_dir}. Name them in data.test_manifests."
        )
    return manifests


def _epoch(run: Run, config: Config) -> int | None:
    """Return the epoch of the weights that are judged; None for a checkpoint from elsewhere."""
    return None if config.paths.checkpoint_path else run.best().get("epoch")


def _checkpoint(paths: RunPaths, config: Config) -> Path:
    if config.paths.checkpoint_path:
        return Path(config.paths.checkpoint_path)
    return paths.checkpoints / config.evaluation.checkpoint_name


def _labels(run: Run, config: Config, trained: dict[str, Any]) -> list[str]:
    """Return the findings in the order the head was trained on."""
    per_class = run.best().get("val_metrics", {}).get("per_class")
    if per_class:
        return list(per_class)
    if "train" in trained:
        return list(trained["train"].labels)
    given = config.training.target_labels or config.data.columns.labels
    if not given:
        raise InputError(
            f"{run.paths.root} does not tell its findings. Name them in training.target_labels, in the order of training."
        )
    return given


def summary(run: Run, tests: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return the `train` and `evaluate` JSON of a run."""
    best = run.best()
    figures = {name: best.get("val_metrics", {}).get(name) for name in ("auprc", "auroc", "f1_macro")}
    return {
        "run_dir": str(run.paths.root),
        "state": run.status.state,
        "best_epoch": best.get("epoch"),
        "epochs": run.status.epoch,
        "best_val": figures,
        "test": tests,
        "seconds": {"total": 0.0, "load": 0.0, "train": 0.0, "evaluate": 0.0, **run.status.seconds},
        "warnings": warnings,
    }
