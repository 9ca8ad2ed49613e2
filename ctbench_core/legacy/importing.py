"""Import runs of the older system into the run store, where they are listed, evaluated and compared like any other.

The older folder is only read. Weights are copied, the config is resolved and the metrics are rewritten in our format.
No code in a checkpoint is run.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctbench_core.atomic import dump_json, write_json, write_text
from ctbench_core.config import Config
from ctbench_core.declared import metric_title
from ctbench_core.errors import CheckpointError, InputError
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.legacy.config import read_old_config
from ctbench_core.legacy.folders import OldRun, find_old_runs
from ctbench_core.legacy.training_record import MACROS, read_old_history, to_last_state
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import RunPaths, job_dir, new_status, now, write_config, write_status

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImportedRun:
    """An older run and its place in the run store.

    Attributes:
        new: whether this import added it.
        present: whether the run store has it.
        problem: why it cannot be imported; empty when it can.
    """

    source: Path
    run_dir: Path
    label: str
    job: str
    epochs: int
    best_epoch: int | None
    best_val: dict[str, float | None]
    new: bool = False
    present: bool = False
    problem: str = ""
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return every field as a plain value."""
        return dataclasses.asdict(self) | {"source": str(self.source), "run_dir": str(self.run_dir)}


@dataclass(frozen=True)
class _Content:
    """Everything read from an older run."""

    run: OldRun
    config: Config
    labels: list[str]
    lines: list[dict[str, Any]]
    best: dict[str, Any]
    warnings: list[str]

    @property
    def target(self) -> RunPaths:
        """Its run directory in the run store."""
        return RunPaths(job_dir(self.config) / self.run.new_id())

    @property
    def epochs(self) -> int:
        """The number of epochs it trained, as far as they are stored."""
        known = [line["epoch"] for line in [*self.lines, self.best] if line and isinstance(line["epoch"], int)]
        return max(known, default=0)

    def to_imported(self, new: bool = False) -> ImportedRun:
        """Describe the run; ``new`` when this import added it."""
        metrics = self.best.get("val_metrics", {})
        return ImportedRun(
            self.run.root,
            self.target.root,
            self.run.root.name,
            self.config.job_name,
            self.epochs,
            self.best.get("epoch"),
            {name: metrics.get(name) for name in MACROS},
            new=new,
            present=new or self.target.status.is_file(),
            warnings=self.warnings,
        )


def list_runs(
    folder: Path | str, outputs_root: Path | str, overrides: Mapping[str, Any] | None = None
) -> list[ImportedRun]:
    """Return the older runs in a folder; nothing is written.

    Raises:
        InputError: there is none, or the folder lies outside CTBENCH_ROOTS.
    """
    runs = find_old_runs(check_allowed(folder))
    return [_import(run, Path(outputs_root), overrides or {}, write=False) for run in runs]


def import_runs(
    folder: Path | str,
    outputs_root: Path | str,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> list[ImportedRun]:
    """Import one older run, or all in a folder, into a run store; runs that it already has stay unchanged.

    Args:
        overrides: config keys that replace each run's own, such as ``paths.data_root`` when the data has moved.

    Raises:
        InputError: there is none, or a folder lies outside CTBENCH_ROOTS.
    """
    runs = find_old_runs(check_allowed(folder))
    check_allowed(outputs_root)
    imported = []
    for done, run in enumerate(runs):
        progress("importing", done, len(runs))
        imported.append(_import(run, Path(outputs_root), overrides or {}, write=True))
    progress("importing", len(runs), len(runs))
    return imported


def _import(run: OldRun, outputs_root: Path, overrides: Mapping[str, Any], write: bool) -> ImportedRun:
    """Import or describe one run; an unusable one is reported, so that it does not stop the others."""
    try:
        content = _read(run, outputs_root, overrides)
        if not write or content.target.status.is_file():
            return content.to_imported()
        _write(content)
        return content.to_imported(new=True)
    except InputError as error:
        return ImportedRun(run.root, run.root, run.root.name, run.root.parent.name, 0, None, {}, problem=str(error))


def _read(run: OldRun, outputs_root: Path, overrides: Mapping[str, Any]) -> _Content:
    for file in (run.config, run.hydra, run.model, run.state, run.metrics, run.best):
        check_allowed(file)  # it may be a link
    config, warnings = read_old_config(run, overrides)
    config.paths.outputs_root = str(outputs_root)
    labels = list(config.training.target_labels or config.data.columns.labels or [])
    lines, best = read_old_history(run, labels)
    if not labels:
        negative = config.evaluation.negative_class_name
        labels = [name for name in best.get("val_metrics", {}).get("per_class", {}) if name != negative]
        lines, best = read_old_history(run, labels)
    if run.metrics.is_file() and not run.metrics.read_bytes().endswith(b"\n"):
        warnings.append(
            f"{run.metrics.name} ends in the middle of a line: what follows its last complete epoch is lost."
        )
    if not best:
        warnings.append("No validation metrics: the run has neither metrics.jsonl nor best_metrics.json.")
    elif missing := [name for name in MACROS if best["val_metrics"][name] is None]:
        titles = ", ".join(metric_title(name) for name in missing)
        warnings.append(f"No validation {titles} of the best epoch: the run did not store it.")
    return _Content(run, config, labels, lines, best, warnings)


def _write(content: _Content) -> None:
    """Write the run directory; the status comes last, because it makes the folder a run."""
    from ctbench_core.train import checkpoint

    paths = content.target
    weights, snapshot = _read_weights(content)
    paths.root.mkdir(parents=True, exist_ok=True)
    checkpoint.save(paths.final_model, weights)
    last_state = snapshot and to_last_state(snapshot, content.config, content.labels, content.best)
    if last_state:
        checkpoint.save(paths.last_state, last_state)
    write_config(paths.config, content.config)
    if content.lines:
        write_text(paths.metrics, "".join(dump_json(line) + "\n" for line in content.lines))
    if content.best:
        write_json(paths.best_metrics, content.best)
    write_json(paths.provenance, _provenance(content))
    _write_status(content, stopped=bool(snapshot), resumable=bool(last_state))


def _write_status(content: _Content, stopped: bool, resumable: bool) -> None:
    started = content.run.started().isoformat(timespec="milliseconds")
    status = dataclasses.replace(
        new_status(content.run.root.name, max_epochs=content.config.training.max_epochs),
        created=started,
        epoch=content.epochs,
        best_epoch=content.best.get("epoch"),
    )
    path = content.target.status
    if not stopped:
        write_status(path, status, state="finished", updated=started)
        return
    next_step = "Resume continues it." if resumable else "It cannot be resumed: its snapshot lacks the optimiser."
    error = f"The older system stopped this run early; these are its best weights. {next_step}"
    write_status(path, status, state="cancelled", error=error, updated=started)


def _read_weights(content: _Content) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the best weights and, for a run that was stopped, its snapshot, else an empty one.

    Raises:
        CheckpointError: they cannot be read without running code, or their shape does not fit the config.
    """
    from ctbench_core.train.checkpoint import load, load_model_state, strip_prefixes, widths_of

    run, labels = content.run, content.labels
    finished = run.model.is_file()
    weights = strip_prefixes(load_model_state(run.model if finished else run.state, snapshot=not finished))
    outputs = widths_of(weights)[-1]
    if labels and outputs != len(labels):
        raise CheckpointError(
            f"{run.root}: the head has {plural(outputs, 'output')}, but the config names "
            f"{plural(len(labels), 'finding')}. Name them in training.target_labels, in the order of training."
        )
    return weights, {} if finished else load(run.state, snapshot=True)


def _provenance(content: _Content) -> dict[str, Any]:
    run = content.run
    files = [path for path in (run.config, run.model, run.state, run.metrics, run.best) if path.is_file()]
    return {
        "imported_from": str(run.root.resolve()),
        "system": "ct-rate-feature-benchmarks",
        "imported": now(),
        "seeds": {"utils.seed": content.config.utils.seed},
        "files": {
            path.relative_to(run.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        },
        "warnings": content.warnings,
    }
