"""Fill a run store from demo data: heads of two kinds with three seeds, evaluated tests, an alignment, a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctbench_core.alignment import run_alignment
from ctbench_core.config import Config, set_key
from ctbench_core.demo import write_demo
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import annotate
from ctbench_core.studies import parse_study, run_study
from ctbench_ui.shared import datasets, run_picker

SEEDS = (1, 2, 3)
EVALUATED = ("linear 1", "mlp 1", "mlp 2", "mlp 3")


def write_runs(folder: Path, epochs: int = 60) -> dict[str, Path]:
    """Write runs on the demo data into ``folder/outputs``; return their directories by head and seed, and "align"."""
    demo = write_demo(folder / "demo")
    store = folder / "outputs"
    datasets.save(store, "demo", _config(demo, store))  # a new browser begins with the last data set
    runs = {}
    for head, changes in {"linear": {"model._target_": "linear", "model.model_name": "linear"}, "mlp": {}}.items():
        for seed in SEEDS:
            settings = {"utils.seed": seed, "training.max_epochs": epochs, "training.learning_rate": 1e-3, **changes}
            runs[f"{head} {seed}"] = Path(run_experiment(_config(demo, store, settings))["run_dir"])
    for name in EVALUATED:
        evaluate_run(runs[name])
    annotate(runs["mlp 1"], pinned=True, tags=["paper"], notes="the run of table 2")
    alignment = run_alignment(_config(demo, store, {"data.train_manifest": "test.csv", "job_name": "align"}))
    return runs | {"align": Path(alignment["run_dir"])}


def write_study(folder: Path) -> None:
    """Run a small study of label budgets on the demo data.

    Call it before `write_runs`, whose runs are then the newest.
    """
    demo = write_demo(folder / "demo")
    base = {"paths.data_root": str(demo["data_root"]), "paths.manifest_dir": str(demo["manifest_dir"])}
    base |= {"paths.outputs_root": str(folder / "outputs")}
    base |= {"training.learning_rate": 1e-3, "training.max_epochs": 20, "model.params.hidden_dims": [128]}
    grid = {"budget": [20, 60, "all"], "utils.seed": [1, 2, 3], "model": ["linear_probe", "mlp_visual"]}
    run_study(parse_study({"name": "label budget", "base": base, "grid": grid}))


def _config(demo: dict[str, Any], store: Path, changes: dict[str, Any] | None = None) -> Config:
    config = Config()
    config.paths.data_root, config.paths.manifest_dir = str(demo["data_root"]), str(demo["manifest_dir"])
    config.paths.outputs_root = str(store)
    for key, value in (changes or {}).items():
        set_key(config, key, value)
    return config


def option_of(run_dir: Path) -> str:
    """Return what a run is called where it is chosen, as on Evaluate."""
    return run_picker.titles(run_picker.stored_rows(str(run_dir.parents[1])))(run_dir.name)
