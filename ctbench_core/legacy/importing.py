"""Take runs of the older system into the run store: listed, evaluated and compared there like any other.

The older folder is only read. Its weights are copied, its config resolved, its figures rewritten; checkpoints are
read without running any code in them.
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
from ctbench_core.errors import CheckpointError, InputError
from ctbench_core.features import check_allowed
from ctbench_core.legacy.config import read_old_config
from ctbench_core.legacy.folders import OldRun, find_old_runs
from ctbench_core.legacy.history import read_old_history
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import RunPaths, job_dir, new_status, now, write_config, write_status

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Imported:
    """An older run and its place in the run store.

    Attributes:
        new: whether this import brought it; it may have been there already, or only be listed.
        present: whether the run store has it.
        problem: why it cannot be taken in, else empty.
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
        """Return everything as plain values."""
        return dataclasses.asdict(self) | {"source": str(self.source), "run_dir": str(self.run_dir)}


@dataclass(frozen=True)
class _Read:
    """An older run, read whole."""

    run: OldRun
    config: Config
    labels: list[str]
    lines: list[dict[str, Any]]
    best: dict[str, Any]
    warnings: list[str]

    @property
    def target(self) -> RunPaths:
        """Where it goes."""
        return RunPaths(job_dir(self.config) / self.run.new_id())

    @property
    def epochs(self) -> int:
        """How many epochs it trained, as far as it kept them."""
        known = [line["epoch"] for line in [*self.lines, self.best] if line and isinstance(line["epoch"], int)]
        return max(known, default=0)

    def told(self, **more: Any) -> Imported:
        """Return what is said of it."""
        figures = self.best.get("val_metrics", {})
        best_val = {name: figures.get(name) for name in ("auprc", "auroc", "f1_macro")}
        return Imported(
            self.run.root,
            self.target.root,
            self.run.root.name,
            self.config.job_name,
            self.epochs,
            self.best.get("epoch"),
            best_val,
            **{"present": self.target.status.is_file(), "warnings": self.warnings, **more},
        )


def list_runs(folder: Path | str, outputs_root: Path | str, given: Mapping[str, Any] | None = None) -> list[Imported]:
    """Return the older runs in a folder; nothing is written.

    Raises:
        InputError: there is none, or the folder lies outside CTBENCH_ROOTS.
    """
    runs = find_old_runs(check_allowed(folder))
    return [_told_or_problem(run, Path(outputs_root), given or {}, take=False) for run in runs]


def import_runs(
    folder: Path | str,
    outputs_root: Path | str,
    given: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> list[Imported]:
    """Take one older run, or all in a folder, into a run store; those it has already stay as they are.

    Args:
        given: config keys laid over each run's own, such as ``paths.data_root`` where the data has moved.

    Raises:
        InputError: there is none, or a folder lies outside CTBENCH_ROOTS.
    """
    runs = find_old_runs(check_allowed(folder))
    check_allowed(outputs_root)
    taken = []
    for done, run in enumerate(runs):
        progress("importing", done, len(runs))
        taken.append(_told_or_problem(run, Path(outputs_root), given or {}, take=True))
    progress("importing", len(runs), len(runs))
    return taken


def _told_or_problem(run: OldRun, outputs_root: Path, given: Mapping[str, Any], take: bool) -> Imported:
    """Return what is said of one run; one that is at fault does not keep the others out."""
    try:
        read = _read(run, outputs_root, given)
        if not take or read.target.status.is_file():
            return read.told()
        _write(read)
        return read.told(new=True, present=True)
    except InputError as error:
        return Imported(run.root, run.root, run.root.name, run.root.parent.name, 0, None, {}, problem=str(error))


def _read(run: OldRun, outputs_root: Path, given: Mapping[str, Any]) -> _Read:
    config, warnings = read_old_config(run, given)
    config.paths.outputs_root = str(outputs_root)
    labels = list(config.training.target_labels or config.data.columns.labels or [])
    lines, best = read_old_history(run, labels)
    if not labels:
        labels = [name for name in best.get("val_metrics", {}).get("per_class", {}) if name != _negative(config)]
        lines, best = read_old_history(run, labels)
    if not best:
        warnings.append("It kept no figures of its validation: metrics.jsonl and best_metrics.json are not there.")
    return _Read(run, config, labels, lines, best, warnings)


def _negative(config: Config) -> str:
    return config.evaluation.negative_class_name


def _write(read: _Read) -> None:
    """Write the run directory; the status, written last, makes it a run."""
    from ctbench_core.legacy.snapshot import continued
    from ctbench_core.train import checkpoint

    run, paths = read.run, read.target
    state, snapshot = _weights(read)
    checkpoint.save(paths.final_model, state)
    goes_on = snapshot and continued(snapshot, read.config, read.labels, read.best)
    if goes_on:
        checkpoint.save(paths.last_state, goes_on)
    write_config(paths.config, read.config)
    if read.lines:
        write_text(paths.metrics, "".join(dump_json(line) + "\n" for line in read.lines))
    if read.best:
        write_json(paths.best_metrics, read.best)
    write_json(paths.provenance, _provenance(read))
    begun = run.started().isoformat(timespec="milliseconds")
    status = dataclasses.replace(
        new_status(run.root.name, max_epochs=read.config.training.max_epochs),
        created=begun,
        epoch=read.epochs,
        best_epoch=read.best.get("epoch"),
    )
    if snapshot:
        after = "Resume continues it." if goes_on else "It cannot be continued: its snapshot lacks the optimiser."
        error = f"The older run was stopped before its end; these are the best weights it had. {after}"
        write_status(paths.status, status, state="cancelled", error=error, updated=begun)
    else:
        write_status(paths.status, status, state="finished", updated=begun)


def _weights(read: _Read) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the best weights, and the snapshot of a run that did not come to its end, else nothing.

    Raises:
        CheckpointError: they cannot be read without running code, or are of another shape than the config says.
    """
    from ctbench_core.legacy.snapshot import plain_names
    from ctbench_core.train.checkpoint import load, load_model_state, widths_of

    run = read.run
    ended = run.model.is_file()
    plain = plain_names(load_model_state(run.model if ended else run.state, snapshot=not ended))
    outputs = widths_of(plain)[-1]
    if read.labels and outputs != len(read.labels):
        raise CheckpointError(
            f"{run.root}: the head has {outputs} outputs, but the config names {len(read.labels)} findings. "
            "Name them in training.target_labels, in the order of training."
        )
    return plain, {} if ended else load(run.state, snapshot=True)


def _provenance(read: _Read) -> dict[str, Any]:
    run = read.run
    files = [path for path in (run.config, run.model, run.state, run.metrics, run.best) if path.is_file()]
    return {
        "imported_from": str(run.root.resolve()),
        "system": "ct-rate-feature-benchmarks",
        "imported": now(),
        "seeds": {"utils.seed": read.config.utils.seed},
        "files": {
            path.relative_to(run.root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        },
        "warnings": read.warnings,
    }
