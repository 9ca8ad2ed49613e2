"""The run store of somebody who has used the app for a while: the demo runs, two label budgets, and a sweep of weeks ago."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ctbench_core.config import set_keys
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import Run, RunStore

BUDGETS, SWEEP = (40, 120), 40
_SWEEP_DAYS = 30  # its age


def write_used_store(demo: Path, store: Path) -> None:
    """Copy a store of `tests.browser.demo_runs`, and add what it lacks."""
    shutil.copytree(demo, store)
    model = find_run(store, "linear", 1)
    for budget in BUDGETS:
        config = model.config.copy()
        set_keys(config, {"data.budget": budget, "job_name": "budgets", "paths.outputs_root": str(store)})
        evaluate_run(Path(run_experiment(config)["run_dir"]))
    for number in range(1, SWEEP + 1):
        _copy_run(model, f"20250101T00{number:02d}00Z-{number:06x}", f"sweep {number}")


def find_run(store: Path, head: str, seed: int) -> Run:
    """Return a run of `tests.browser.demo_runs`."""
    runs = (run for run in RunStore(store).runs() if run.job == "train" and not run.name.startswith("sweep"))
    return next(run for run in runs if (run.config.model._target_, run.config.utils.seed) == (head, seed))


def set_fields(store: Path, values: dict[str, Any]) -> None:
    """Let a session begin with values in the form, as if they had been typed in the last one."""
    with (store / ".form.yaml").open("a", encoding="utf-8") as file:
        file.writelines(f"{key}: {value}\n" for key, value in values.items())


def change_status(folder: Path, changes: dict[str, Any]) -> None:
    """Change the status of a run that does not run."""
    path = folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def _copy_run(run: Run, run_id: str, label: str) -> None:
    folder = run.paths.root.with_name(run_id)
    shutil.copytree(run.paths.root, folder, ignore=shutil.ignore_patterns("checkpoints", "evaluation", ".lock"))
    moment = (datetime.now(UTC) - timedelta(days=_SWEEP_DAYS)).isoformat()
    change_status(folder, {"label": label} | dict.fromkeys(("created", "updated", "started", "heartbeat"), moment))
