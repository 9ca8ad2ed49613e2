"""A run store as after a week of work: demo data, heads of two kinds and three seeds, opened tests, an alignment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctbench_core.alignment.job import run_alignment
from ctbench_core.config import Config, set_key
from ctbench_core.demo import write_demo
from ctbench_core.evaluate import evaluate_run
from ctbench_core.experiment import run_experiment
from ctbench_core.runs import annotate
from ctbench_core.studies import run_study, study_from
from ctbench_ui.shared import datasets

SEEDS = (1, 2, 3)


def fill(folder: Path, epochs: int = 60) -> dict[str, Path]:
    """Fill ``folder/outputs`` from demo data in ``folder/demo``; return some run directories by what they show."""
    made = write_demo(folder / "demo")
    store = folder / "outputs"
    datasets.save(store, "demo", _config(made, store))
    found = {}
    for head, changes in {"linear": {"model._target_": "linear", "model.model_name": "linear"}, "mlp": {}}.items():
        for seed in SEEDS:
            settings = {"utils.seed": seed, "training.max_epochs": epochs, "training.learning_rate": 1e-3, **changes}
            found[f"{head} {seed}"] = Path(run_experiment(_config(made, store, settings))["run_dir"])
    for name in ("linear 1", "mlp 1", "mlp 2", "mlp 3"):
        evaluate_run(found[name])
    annotate(found["mlp 1"], pinned=True, tags=["paper"], notes="the run of table 2")
    found["align"] = Path(
        run_alignment(_config(made, store, {"data.train_manifest": "test.csv", "job_name": "align"}))["run_dir"]
    )
    return found


def fill_study(folder: Path) -> None:
    """Run a small study of label budgets on demo data; before `fill`, whose runs then are the newest."""
    made = write_demo(folder / "demo")
    base = {"paths.data_root": str(made["data_root"]), "paths.manifest_dir": str(made["manifest_dir"])}
    base |= {"paths.outputs_root": str(folder / "outputs")}
    base |= {"training.learning_rate": 1e-3, "training.max_epochs": 20, "model.params.hidden_dims": [128]}
    grid = {"budget": [20, 60, "all"], "utils.seed": [1, 2, 3], "model": ["linear_probe", "mlp_visual"]}
    run_study(study_from({"name": "label budget", "base": base, "grid": grid}))


def _config(made: dict[str, Any], store: Path, changes: dict[str, Any] | None = None) -> Config:
    config = Config()
    config.paths.data_root, config.paths.manifest_dir = str(made["data_root"]), str(made["manifest_dir"])
    config.paths.outputs_root = str(store)
    for name, value in (changes or {}).items():
        set_key(config, name, value)
    return config
