"""Run an alignment of a manifest or of arrays, from a config to files in the run store."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ctbench_core.alignment.engine import AlignmentOptions, align
from ctbench_core.alignment.neighbour_report import BROWSED_DEPTH, HUB_DEPTH
from ctbench_core.alignment.pairs import Pairs, paired_manifest, read_arrays, read_pairs, samples_frame
from ctbench_core.alignment.result import AlignmentResult, write_alignment
from ctbench_core.config import Config
from ctbench_core.dataset import check_paths
from ctbench_core.errors import InputError, Interrupted, explained
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import (
    Recorder,
    RunPaths,
    new_status,
    read_status,
    run_paths,
    write_config,
    write_latest,
    write_status,
)
from ctbench_core.train.trainer import choose_device

# Most nearest candidates of a query that are listed for graded metrics.
MAX_LISTED = 100


@dataclass(frozen=True)
class _Measurement:
    """The pairs, their alignment, and the seconds of each step."""

    pairs: Pairs
    result: AlignmentResult
    seconds: dict[str, float]


def queue_alignment(config: Config) -> Path:
    """Make the directory of an alignment that waits in the queue, and return it.

    Raises:
        InputError: the manifest is unusable, and nothing has been written; or the directory cannot be written.
    """
    check_paths(config)
    return _new_run(config, paired_manifest(config).name).root


def run_alignment(
    config: Config,
    *,
    embeddings: Path | str | None = None,
    run_dir: Path | None = None,
    cancel: threading.Event | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Measure alignment, write it to the run store, and return the `align` JSON of the contracts.

    Args:
        embeddings: an .npz with arrays ``image`` and ``text``, whose rows i are a pair, or with ``groups_image`` and
            ``groups_text``, whose equal groups are pairs; by default the pairs of ``data.train_manifest``.
        run_dir: a directory from `queue_alignment`, whose ``status.json`` shows the progress; by default a new one, made
            after the measurement.

    Raises:
        InputError: the input is unusable. Without ``run_dir``, nothing has been written.
        Interrupted: ``cancel`` was set, or another process requested a stop of ``run_dir``.
    """
    check_paths(config)
    if run_dir is None:
        measurement = _measure(config, embeddings, cancel, progress)
        paths = _new_run(config, measurement.pairs.name)
        with Recorder(paths, read_status(paths.status)) as recorder:
            return _write(recorder, measurement)
    cancel = cancel or threading.Event()
    paths = RunPaths(Path(run_dir))
    with Recorder(paths, read_status(paths.status)) as recorder:
        recorded = _recorded_progress(recorder, progress, cancel, 4 if config.analysis.within else 2)
        return _write(recorder, _measure(config, embeddings, cancel, recorded))


def _new_run(config: Config, name: str) -> RunPaths:
    """Make a run directory; the epochs of its status are percent."""
    paths = run_paths(config)
    try:
        write_config(paths.config, config)
        write_status(paths.status, new_status(f"alignment of {name}", kind="align", max_epochs=100))
        write_latest(config, paths.root)
    except OSError as error:
        raise InputError(
            f"The alignment cannot be written to {paths.root}: {explained(error)} Or set paths.outputs_root to another folder."
        ) from error
    return paths


def _recorded_progress(recorder: Recorder, progress: Progress, cancel: threading.Event, directions: int) -> Progress:
    """Return a progress callback that also records percent of all directions, and raises when a stop is requested."""
    stop_requested, phases = recorder.stop_check(cancel.is_set), set()

    def record(phase: str, done: int, total: int) -> None:
        progress(phase, done, total)
        if phase.startswith("ranking"):
            phases.add(phase)
            recorder.epoch(int(100 * (len(phases) - 1 + done / total) / directions))
        if stop_requested():
            cancel.set()
            raise Interrupted("The alignment was stopped; nothing of it was written.")

    return record


def _measure(
    config: Config, embeddings: Path | str | None, cancel: threading.Event | None, progress: Progress
) -> _Measurement:
    started = time.monotonic()
    pairs = read_arrays(Path(embeddings)) if embeddings is not None else read_pairs(config, progress)
    loaded = time.monotonic()
    result = align(
        pairs.image,
        pairs.text,
        pairs.groups,
        label_groups=pairs.label_groups,
        exams=pairs.exams,
        image_rows=pairs.image_rows,
        text_rows=pairs.text_rows,
        k=tuple(config.analysis.k),
        device=choose_device(config.utils.device),
        progress=progress,
        cancel=cancel,
        normal=_normal(pairs.manifest) if pairs.label_groups is not None else None,
        precision=config.analysis.precision,
        options=_options(config, pairs.manifest),
        text_groups=pairs.text_groups,
    )
    if pairs.manifest is not None:
        result.metrics["n"] = pairs.manifest.counts()
    result.metrics["warnings"] = pairs.warnings
    return _Measurement(pairs, result, {"load": loaded - started, "align": time.monotonic() - loaded})


def _write(recorder: Recorder, measurement: _Measurement) -> dict[str, Any]:
    """Write the alignment, mark the run finished, and return the JSON."""
    started, pairs, root = time.monotonic(), measurement.pairs, recorder.paths.root
    samples = None if pairs.manifest is None else samples_frame(pairs.manifest)
    write_alignment(recorder.paths.alignment(pairs.name), measurement.result, pairs.volumes, samples)
    seconds = measurement.seconds | {"total": sum(measurement.seconds.values()) + time.monotonic() - started}
    recorder.end("finished", seconds=seconds, epoch=100)
    return measurement.result.metrics | {"seconds": seconds, "peak_gib": peak_gib(), "run_dir": str(root)}


def _normal(manifest: Manifest | None) -> np.ndarray | None:
    return None if manifest is None else np.nansum(manifest.targets, axis=1) == 0


def _options(config: Config, manifest: Manifest | None) -> AlignmentOptions:
    depth = max((k for k in config.analysis.k if k <= MAX_LISTED), default=MAX_LISTED)
    nearest = max(depth, HUB_DEPTH, BROWSED_DEPTH)
    options = AlignmentOptions(within=config.analysis.within, nearest=nearest, map=config.analysis.map)
    if manifest is None:
        return options
    options = dataclasses.replace(options, patients=manifest.patients)
    return dataclasses.replace(options, targets=manifest.targets, names=manifest.labels) if manifest.labels else options


def peak_gib() -> float:
    """Return the largest memory that this process has held, in GiB."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
