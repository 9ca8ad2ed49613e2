"""Decide which runs can be continued from their last checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ctbench_core.config import KEYS, Config, differing_keys, get_key
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.runs.layout import RunPaths, job_dir
from ctbench_core.runs.provenance import read_provenance
from ctbench_core.runs.status import RESUMABLE
from ctbench_core.runs.store import Run, read_config, try_open
from ctbench_core.stored import is_there

_LOSS_ERROR = re.compile(r"The \w+ loss became (?:nan|-?inf) in epoch \d+\.")
ALLOW = "training.resume.allow_changes"


def why_not_resumable(run: Run) -> str:
    """Return why a run cannot be continued, and what to do instead; empty when it can."""
    state = run.status.state
    if run.status.kind != "train":
        return f"{run.run_id} is not a training run: it can be computed again, but not resumed."
    if state not in RESUMABLE:
        return f"{run.run_id} is {state}; only {', '.join(RESUMABLE)} runs can be resumed."
    # Without a checkpoint, one of our runs has had no epoch and starts; an imported one would start over by surprise.
    if not is_there(run.paths.last_state) and read_provenance(run.paths).imported_from:
        return (
            f"{run.run_id} was imported without a snapshot to continue from: resuming would start over. "
            "Train its settings as a new run instead: Clone on the Runs page, or train with the same overrides."
        )
    return ""


def loss_error_text(kind: str, value: float, epoch: int) -> str:
    """Write that a loss is not finite; `will_fail_again` reads it back."""
    return f"The {kind} loss became {value} in epoch {epoch}."


def will_fail_again(run: Run) -> bool:
    """Whether a run ended by its own settings, so that a resume can only end in the same way: its loss was not finite."""
    return run.status.state == "failed" and bool(_LOSS_ERROR.match(run.status.error or ""))


def check_resumable(run: Run) -> None:
    """Refuse to continue a run that cannot be.

    Raises:
        InputError: its state, or a missing checkpoint, does not allow it.
    """
    if reason := why_not_resumable(run):
        raise InputError(reason)


def _changed_settings(paths: RunPaths, config: Config) -> dict[str, list[Any]]:
    """Return the stored and the new value of every setting of a run that a resume may not change freely, by key.

    Paths and names of its data are left out where digests show whether the data have changed.
    """
    stored, has_digests = read_config(paths.config), bool(read_provenance(paths).inputs)
    return {
        name: [get_key(stored, name), get_key(config, name)]
        for name in differing_keys(stored, config)
        if not (KEYS[name].extends or (has_digests and KEYS[name].is_input and KEYS[name].raw))
    }


def check_settings(paths: RunPaths, config: Config) -> dict[str, list[Any]]:
    """Return the stored and the new value of every changed setting by key; refuse them unless changes are allowed.

    Raises:
        ConfigError: a setting has changed; the message names each.
    """
    changes = _changed_settings(paths, config)
    if changes and not config.training.resume.allow_changes:
        values = ", ".join(f"{name} ({before} there, {now} here)" for name, (before, now) in changes.items())
        raise ConfigError(f"{paths.root.name} was started with other settings: {values}. {advice_on_changes()}")
    return changes


def advice_on_changes() -> str:
    """Return what to do about a run whose settings or data have changed."""
    return (
        f"Resume it as it was, start a new run (Clone on the Runs page), or resume with {ALLOW}=true, which records "
        "the change in metrics.jsonl and provenance.json."
    )


def newest_resumable(config: Config, run_dir: Path | None = None) -> Run:
    """Return the run to resume: the given directory, or the newest resumable run of the config's job.

    Raises:
        InputError: there is none.
    """
    folder = job_dir(config)
    candidates = [run_dir] if run_dir else [path.parent for path in folder.glob("*/status.json")]
    runs = [run for path in candidates if (run := try_open(path))]
    runs.sort(key=lambda run: (run.status.created, run.run_id), reverse=True)
    for run in runs:
        if not why_not_resumable(run):
            return run
    for run in runs:
        if run.status.state in RESUMABLE:
            check_resumable(run)
    states = ", ".join(f"{run.run_id} is {run.status.state}" for run in runs[:3]) or "no run found"
    raise InputError(
        f"No run to resume in {run_dir or folder}: {states}. Only {', '.join(RESUMABLE)} runs can be resumed; "
        "name one with training.resume.state_path=<run>/checkpoints/last_state.pt."
    )
