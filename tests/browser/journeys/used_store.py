"""The run store of somebody who has used the app for a while: the demo runs, two label budgets, and a sweep of weeks ago."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from ctbench_core.config import KEYS, changed_keys, set_keys
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import Run, RunStore
from ctbench_ui.shared import run_picker
from tests.browser.journeys.walker import Walker

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


def shown_name(run: Run) -> str:
    """Return what pages call a run, beside all others of its store."""
    root = run.paths.root
    return str(run_picker.stored_rows(str(root.parents[1]))[root.name]["name"])


def set_fields(walker: Walker, store: Path, values: dict[str, Any]) -> None:
    """Let the walker's browser begin with values in the form and the data of a run, as if it had set them last."""
    cookie = secrets.token_hex(16)
    walker.page.context.add_cookies([{"name": "ctbench_browser", "value": cookie, "url": walker.url}])
    config = find_run(store, "mlp", 1).config
    data = {key: value for key, value in changed_keys(config).items() if KEYS[key].is_input}
    file = store / ".forms" / f"{hashlib.sha256(cookie.encode()).hexdigest()[:24]}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(data | values), encoding="utf-8")


def change_status(folder: Path, changes: dict[str, Any]) -> None:
    """Change the status of a run that does not run."""
    path = folder / "status.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def _copy_run(run: Run, run_id: str, label: str) -> None:
    folder = run.paths.root.with_name(run_id)
    shutil.copytree(run.paths.root, folder, ignore=shutil.ignore_patterns("checkpoints", "evaluation", ".lock"))
    moment = (datetime.now(UTC) - timedelta(days=_SWEEP_DAYS)).isoformat()
    change_status(folder, {"label": label} | dict.fromkeys(("created", "updated", "started", "heartbeat"), moment))
