"""The spine: one config to a trained, evaluated run on disk. Screen and command line call these functions."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctbench_core.atomic import write_json
from ctbench_core.config import Config
from ctbench_core.errors import InputError, RunError
from ctbench_core.runs import (
    Recorder,
    Run,
    RunPaths,
    RunStore,
    Status,
    new_status,
    open_run,
    run_paths,
    write_config,
    write_latest,
    write_status,
)
from ctbench_core.train.data import (
    Dataset,
    load_dataset,
    mark_leaks,
    read_test_manifests,
    read_training_manifests,
)

if TYPE_CHECKING:
    from ctbench_core.train.trainer import Trainer

Progress = Callable[[str, int, int], None]


def _silent(phase: str, done: int, total: int) -> None:
    """Progress for callers that show none."""


def load_training(config: Config, progress: Progress = _silent) -> Dataset:
    """Read manifests and features of a training run.

    Raises:
        InputError: anything that the user must mend; nothing has been written.
    """
    manifests, warnings, split_here = read_training_manifests(config)
    leaks, leak_warnings = ({}, []) if split_here else mark_leaks(config, manifests)
    dataset = load_dataset(config, manifests, progress)
    dataset.leaks = leaks
    dataset.warnings = warnings + leak_warnings + dataset.warnings
    return dataset


def queue_run(config: Config, run_dir: Path | None = None, previous: Status | None = None) -> Path:
    """Make a run directory that waits its turn, and return it; a resumed run keeps its own.

    Raises:
        InputError: the directory already holds a run that is not to be resumed.
    """
    paths = run_paths(config) if run_dir is None else open_run(run_dir).paths
    if previous is None and paths.status.is_file():
        raise InputError(
            f"{paths.root} already holds a run. Choose another paths.run_dir, or resume it (training.resume.enabled=true)."
        )
    status = new_status(_label(config), max_epochs=config.training.max_epochs)
    if previous is not None:
        status = dataclasses.replace(status, created=previous.created, label=previous.label, epoch=previous.epoch)
    write_config(paths.config, config)
    write_status(paths.status, status)
    write_latest(config, paths.root)
    return paths.root


def _label(config: Config) -> str:
    if config.logging.run_name:
        return config.logging.run_name
    widths = (
        "-".join(map(str, config.model.params.hidden_dims))
        if config.model._target_ not in ("linear", "linear_probe")
        else ""
    )
    return " · ".join(
        part for part in (config.model.model_name, widths, config.model.inputs, f"seed {config.utils.seed}") if part
    )


def run_experiment(
    config: Config,
    run_dir: Path | None = None,
    *,
    resume: bool = False,
    cancel: threading.Event | None = None,
    progress: Progress = _silent,
) -> dict[str, Any]:
    """Train one run to its end and return the `train` JSON of the contracts.

    Args:
        run_dir: a directory made by `queue_run`; by default a new one, made once the input proved good.
        resume: continue the run in ``run_dir`` from its last checkpoint.
        cancel: set it to stop after the present batch; the best checkpoint is kept.

    Raises:
        InputError: the input is at fault. Without ``run_dir``, nothing has been written.
        RunError: the training failed; the run directory says why.
    """
    started = time.monotonic()
    asked = cancel.is_set if cancel is not None else lambda: False
    prepared = None
    if run_dir is None:
        prepared = _prepare(config, progress)
        run_dir = queue_run(config)
    run = open_run(run_dir)
    with Recorder(run.paths, run.status) as recorder, _explained(config):
        dataset, trainer = prepared or _prepare(config, progress)
        loaded = time.monotonic()
        seconds = {"load": loaded - started}
        state = _train(config, run, dataset, trainer, recorder, resume, asked, progress)
        seconds["train"] = time.monotonic() - loaded
        tests: dict[str, Any] = {}
        if config.evaluation.after_training and state == "finished":
            before = time.monotonic()
            tests = _evaluate(open_run(run_dir), config, dataset.manifests, None, progress)
            seconds["evaluate"] = time.monotonic() - before
        seconds["total"] = time.monotonic() - started
        recorder.end(state, seconds=seconds)
    return summary(open_run(run_dir), tests, dataset.warnings) | {"notes": dataset.notes}


def _prepare(config: Config, progress: Progress) -> tuple[Dataset, Trainer]:
    """Load the data and build the trainer: whatever is wrong with the input shows here."""
    from ctbench_core.train.trainer import Trainer

    dataset = load_training(config, progress)
    return dataset, Trainer(config, dataset, [config.utils.seed])


def _train(
    config: Config,
    run: Run,
    dataset: Dataset,
    trainer: Trainer,
    recorder: Recorder,
    resume: bool,
    asked: Callable[[], bool],
    progress: Progress,
) -> str:
    from ctbench_core.provenance import provenance
    from ctbench_core.train.loop import Progress as Epoch
    from ctbench_core.train.loop import TrainingLoop

    write_json(run.paths.provenance, provenance(config, dataset, trainer.device))
    loop = TrainingLoop(trainer, run.paths)
    if resume:
        loop.resume()

    def watch(step: Epoch) -> None:
        recorder.epoch(step.epoch, step.best_epoch)
        best = f"{config.training.monitor} {step.report.monitored(config.training.monitor):.4f}, best {step.best_value:.4f} @ {step.best_epoch}"
        progress(f"training ({best})", step.epoch, step.max_epochs)

    state = loop.run(recorder.stopping(asked), watch)
    recorder.status = dataclasses.replace(recorder.status, epoch=loop.epoch, best_epoch=loop.best.epoch or None)
    return state


class _explained:
    """Turn what the machine refuses into a message with a way out."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        batch = self.config.training.batch_size
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise RunError(
                f"Out of memory at batch size {batch}. Try training.batch_size={max(1, batch // 2)}, or utils.device=cpu."
            ) from error
        if isinstance(error, OSError):
            raise RunError(
                f"Writing the run failed: {error}. Free space or mend the folder, then Resume continues from the last checkpoint."
            ) from error


def evaluate_run(
    run_dir: Path | str,
    tests: list[str] | None = None,
    *,
    config: Config | None = None,
    progress: Progress = _silent,
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
    trained, warnings, _ = _manifests_trained_on(config)
    results = _evaluate(run, config, trained, tests, progress, warnings)
    result = summary(run, results, warnings)
    result["seconds"] = {
        **result["seconds"],
        "evaluate": time.monotonic() - started,
        "total": time.monotonic() - started,
    }
    return result


def _manifests_trained_on(config: Config) -> Any:
    """Read the training manifests for the leak mark; a run moved elsewhere may have lost them."""
    try:
        return read_training_manifests(config)
    except InputError as error:
        return {}, [f"Leaks against the training manifest could not be checked: {error}"], False


def _evaluate(
    run: Run,
    config: Config,
    trained: dict[str, Any],
    tests: list[str] | None,
    progress: Progress,
    warnings: list[str] | None = None,
) -> dict[str, Any]:
    from ctbench_core.evaluate import predict_logits, write_bundle
    from ctbench_core.train.checkpoint import load_model_state
    from ctbench_core.train.trainer import choose_device

    state = load_model_state(_checkpoint(run.paths, config))
    labels = _labels(run, config, trained)
    manifests = read_test_manifests(config, labels, tests)
    if not manifests:
        raise InputError(
            f"No test manifest: none of the usual names is in {config.paths.manifest_dir}. Name them in data.test_manifests."
        )
    leaks, leak_warnings = mark_leaks(
        config, {**{n: trained[n] for n in ("train", "val") if n in trained}, **manifests}
    )
    dataset = load_dataset(config, manifests, progress)
    if warnings is not None:
        warnings += leak_warnings + dataset.warnings
    results: dict[str, Any] = {}
    for name in manifests:
        progress("evaluating", len(results), len(manifests))
        logits = predict_logits(state, dataset, name, choose_device(config.utils.device))
        RunStore(config.paths.outputs_root).record_opening(run.paths.root, run.job, name)
        results[name] = write_bundle(run.paths.evaluation(name), dataset.manifests[name], logits, leaks.get(name, []))
    return results


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
