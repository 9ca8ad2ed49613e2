"""Alignment of one manifest or of bare arrays, from a config to files in the run store."""

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

from ctbench_core.alignment.engine import AlignmentOptions, AlignmentResult, align, write_alignment
from ctbench_core.alignment.neighbour_report import HUB_DEPTH, STORED
from ctbench_core.alignment.reading import Pairs, paired_manifest, read_arrays, read_pairs, samples_of
from ctbench_core.config import Config
from ctbench_core.dataset import check_places
from ctbench_core.errors import InputError, Interrupted
from ctbench_core.manifest import Manifest
from ctbench_core.progress import Progress
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

# Nearest candidates a query that are listed for graded figures, at most.
MOST_LISTED = 100


@dataclass(frozen=True)
class _Measured:
    """What was measured of which pairs, and the seconds it took."""

    pairs: Pairs
    result: AlignmentResult
    seconds: dict[str, float]


def queue_alignment(config: Config) -> Path:
    """Make the directory of an alignment that waits its turn, and return it.

    Raises:
        InputError: the manifest is at fault, and nothing has been written; or the directory cannot be written.
    """
    check_places(config)
    return _new_run(config, paired_manifest(config).name).root


def run_alignment(
    config: Config,
    *,
    embeddings: Path | str | None = None,
    run_dir: Path | None = None,
    cancel: threading.Event | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> dict[str, Any]:
    """Measure alignment, write it to the run store, and return the `align` JSON of the contracts.

    Args:
        embeddings: an .npz with arrays ``image`` and ``text``, row i pairing with row i; by default
            the pairs of ``data.train_manifest``.
        run_dir: a directory made by `queue_alignment`, whose ``status.json`` tells how far it is; by default a new
            one, made once the figures are there.

    Raises:
        InputError: the input is at fault. Without ``run_dir``, nothing has been written.
        Interrupted: ``cancel`` was set, or another process asked ``run_dir`` to stop.
    """
    check_places(config)
    if run_dir is None:
        measured = _measured(config, embeddings, cancel, progress)
        paths = _new_run(config, measured.pairs.name)
        with Recorder(paths, read_status(paths.status)) as recorder:
            return _keep(recorder, measured)
    cancel = cancel or threading.Event()
    paths = RunPaths(Path(run_dir))
    with Recorder(paths, read_status(paths.status)) as recorder:
        noted = _noting(recorder, progress, cancel, 4 if config.analysis.within else 2)
        return _keep(recorder, _measured(config, embeddings, cancel, noted))


def _new_run(config: Config, name: str) -> RunPaths:
    """Make a run directory; its epochs are per cent."""
    paths = run_paths(config)
    try:
        write_config(paths.config, config)
        write_status(paths.status, new_status(f"alignment of {name}", kind="align", max_epochs=100))
        write_latest(config, paths.root)
    except OSError as error:
        raise InputError(
            f"The alignment cannot be written to {paths.root}: {error}. Set paths.outputs_root to a folder that you may write."
        ) from error
    return paths


def _noting(recorder: Recorder, progress: Progress, cancel: threading.Event, ways: int) -> Progress:
    """Wrap a progress report so that it is noted in per cent of all directions, and stops when asked to."""
    stop, phases = recorder.stopping(cancel.is_set), set()

    def note(phase: str, done: int, total: int) -> None:
        progress(phase, done, total)
        if phase.startswith("ranking"):
            phases.add(phase)
            recorder.epoch(int(100 * (len(phases) - 1 + done / total) / ways))
        if stop():
            cancel.set()
            raise Interrupted("The alignment was stopped; nothing of it was written.")

    return note


def _measured(
    config: Config, embeddings: Path | str | None, cancel: threading.Event | None, progress: Progress
) -> _Measured:
    started = time.monotonic()
    pairs = read_arrays(Path(embeddings)) if embeddings is not None else read_pairs(config, progress)
    loaded = time.monotonic()
    result = align(
        pairs.image,
        pairs.text,
        pairs.groups,
        label_groups=pairs.label_groups,
        image_rows=pairs.image_rows,
        text_rows=pairs.text_rows,
        k=tuple(config.analysis.k),
        device=choose_device(config.utils.device),
        progress=progress,
        cancel=cancel,
        normal=_normal(pairs.manifest) if pairs.label_groups is not None else None,
        precision=config.analysis.precision,
        extras=_extras(config, pairs.manifest),
    )
    if pairs.manifest is not None:
        result.metrics["n"] = pairs.manifest.counts()
    result.metrics["warnings"] = pairs.warnings
    return _Measured(pairs, result, {"load": loaded - started, "align": time.monotonic() - loaded})


def _keep(recorder: Recorder, measured: _Measured) -> dict[str, Any]:
    """Write what was measured, mark the run finished, and return the JSON."""
    started, pairs, root = time.monotonic(), measured.pairs, recorder.paths.root
    samples = None if pairs.manifest is None else samples_of(pairs.manifest)
    write_alignment(recorder.paths.alignment(pairs.name), measured.result, pairs.volumes, samples)
    seconds = measured.seconds | {"total": sum(measured.seconds.values()) + time.monotonic() - started}
    recorder.end("finished", seconds=seconds, epoch=100)
    return measured.result.metrics | {"seconds": seconds, "peak_gib": peak_gib(), "run_dir": str(root)}


def _normal(manifest: Manifest | None) -> np.ndarray | None:
    return None if manifest is None else np.nansum(manifest.targets, axis=1) == 0


def _extras(config: Config, manifest: Manifest | None) -> AlignmentOptions:
    depth = max((k for k in config.analysis.k if k <= MOST_LISTED), default=MOST_LISTED)
    extras = AlignmentOptions(
        within=config.analysis.within, nearest=max(depth, HUB_DEPTH, STORED), map=config.analysis.map
    )
    if manifest is None:
        return extras
    extras = dataclasses.replace(extras, patients=manifest.patients)
    return dataclasses.replace(extras, targets=manifest.targets, names=manifest.labels) if manifest.labels else extras


def peak_gib() -> float:
    """Return the largest memory this process has held so far, in GiB."""
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset / 2**30
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
