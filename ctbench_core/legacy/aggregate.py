"""Many runs in two tables: one row a run, and mean, deviation and count by label budget.

The columns are those that the older system's scripts wrote, so that what reads them goes on working. Runs are ours,
or folders of the older system, which are taken into the run store first.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ctbench_core.config import Config
from ctbench_core.errors import InputError, RunError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.features import check_allowed
from ctbench_core.legacy.folders import find_old_runs
from ctbench_core.legacy.importing import import_runs
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import Run, open_run, read_json

MACROS = ("auprc", "auroc", "f1_macro")
PRIMARY = tuple(f"test_primary_{name}" for name in MACROS)
_BUDGET = re.compile(r"_n(\d+)_s(\d+)")
_FOLD = re.compile(r"_f(\d+)(?=_|\.|$)")
# Beside source and budget, what tells recipes apart, where the runs differ in it.
_APART = ("encoder", "model", "inputs")


def find_runs(folder: Path | str, outputs_root: Path | str, progress: Progress = silent) -> list[Run]:
    """Return the finished runs that a folder holds; those of the older system are taken into the run store first.

    Raises:
        InputError: the folder holds no finished run.
    """
    folder = check_allowed(folder)
    places = [path.parent for path in sorted(folder.rglob("status.json")) if not _hidden(path.relative_to(folder))]
    if folder.is_dir() and next(folder.rglob(".hydra/config.yaml"), None) is not None:
        find_old_runs(folder)
        taken = import_runs(folder, outputs_root, progress=progress)
        known = {place.resolve() for place in places}
        places += [run.run_dir for run in taken if run.present and run.run_dir.resolve() not in known]
    runs = [run for place in places if (run := _opened(place)) is not None]
    finished = [run for run in runs if run.status.kind == "train" and run.status.state == "finished"]
    if not finished:
        raise InputError(f"{folder} holds no finished run. Give a job's folder, a study's folder, or the run store.")
    return finished


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _opened(place: Path) -> Run | None:
    try:
        return open_run(place)
    except (InputError, RunError):
        return None


def evaluate_runs(
    runs: Sequence[Run],
    tests: Sequence[str] | None = None,
    manifest_dir: Path | str | None = None,
    again: bool = False,
    progress: Progress = silent,
) -> list[str]:
    """Open test sets for the runs that have not opened them, and return warnings.

    Args:
        tests: manifest names; by default what each run names.
        manifest_dir: where they lie; by default where each run's manifests lie.
        again: open also what is stored.

    Raises:
        InputError: a test set is missing or unusable.
    """
    warnings: dict[str, None] = {}
    for done, run in enumerate(runs):
        progress("evaluating runs", done, len(runs))
        stored = set(run.evaluations())
        wanted = None if tests is None else [name for name in tests if again or Path(name).stem not in stored]
        if wanted == [] or (wanted is None and stored and not again):
            continue
        config = run.config.copy()
        config.paths.manifest_dir = str(manifest_dir or config.paths.manifest_dir)
        warnings |= dict.fromkeys(evaluate_run(run.paths.root, wanted, config=config)["warnings"])
    progress("evaluating runs", len(runs), len(runs))
    return list(warnings)


def per_run_table(runs: Sequence[Run], source: str | None = None) -> pd.DataFrame:
    """Return one row a run: what it was trained on and how, its best validation, its stored test sets.

    Columns of a test set are ``test_<manifest>_auprc`` and so on; ``test_primary_*`` is the mean over a run's test
    sets, since each fold of a K-fold has one of its own name. Leaks are counted in ``shared_patients``.

    Args:
        source: name of the label source; by default told by the folder of the manifests.
    """
    rows = [_row(run, source or source_of(run, runs)) for run in runs]
    frame = pd.DataFrame(rows)
    for name in MACROS:
        columns = [column for column in frame if re.fullmatch(rf"test_(?!primary_).+_{name}", str(column))]
        values = frame[columns].apply(pd.to_numeric, errors="coerce") if columns else pd.DataFrame(index=frame.index)
        frame[f"test_primary_{name}"] = values.mean(axis=1)
    return frame


def source_of(run: Run, runs: Sequence[Run] = ()) -> str:
    """Name the label source of a run: the word in its manifests' folder or job that the older system went by, else the folder."""
    folder = Path(run.config.paths.manifest_dir)
    if len({other.config.paths.manifest_dir for other in runs}) > 1:
        return folder.name
    named = f"{run.job} {folder.name}".lower()
    return next((word for word in ("gpt", "manual") if word in named), folder.name)


def _row(run: Run, source: str) -> dict[str, Any]:
    config, best = run.config, run.best().get("val_metrics", {})
    row: dict[str, Any] = {
        "source": source,
        "run_dir": run.paths.root.as_posix(),
        "checkpoint_path": run.paths.final_model.as_posix(),
        "train_manifest": config.data.train_manifest,
        "val_manifest": config.data.val_manifest,
        **_place_in_study(run),
        "utils_seed": config.utils.seed,
        "learning_rate": config.training.learning_rate,
        "weight_decay": config.training.weight_decay,
        "dropout": config.model.params.dropout,
        "hidden_dims": str(config.model.params.hidden_dims),
        "batch_size": config.training.batch_size,
        "encoder": Path(config.paths.data_root).name,
        "model": config.model.model_name,
        "inputs": config.model.inputs,
        "label_origin": config.data.label_origin,
    }
    row |= {f"best_val_{name}": best.get(name) for name in MACROS}
    leaked = 0
    for stem in run.evaluations():
        metrics = read_json(run.paths.evaluation(stem).metrics) or {}
        column = f"test_{stem.removeprefix('test_')}.csv"
        row |= {f"{column}_{name}": metrics.get(name) for name in MACROS}
        leaked = max(leaked, metrics.get("leak", {}).get("patients", 0))
    return row | {"shared_patients": leaked}


def _place_in_study(run: Run) -> dict[str, int | None]:
    """Tell budget, its seed and the fold, by the config or, as the older system did, by the manifest's name."""
    data = run.config.data
    name = Path(data.train_manifest).name
    budget, fold = _BUDGET.search(name), _FOLD.search(name)
    return {
        "budget_n": data.budget or (int(budget[1]) if budget else _all(run)),
        "split_seed": data.budget_seed if data.budget_seed is not None else int(budget[2]) if budget else None,
        "cv_fold": data.kfold.fold if data.kfold.folds else int(fold[1]) if fold else None,
    }


def _all(run: Run) -> int | None:
    """Count what a run without a budget was trained and chosen on, in the unit of budgets."""
    manifests = (read_json(run.paths.provenance) or {}).get("manifests", {})
    counts = [manifests.get(side, {}).get(f"{run.config.data.budget_unit}s") for side in ("train", "val")]
    return sum(counts) if all(isinstance(count, int) for count in counts) else None


def by_budget_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation (n - 1) and count of every figure by source and budget.

    Where runs differ in encoder, head or inputs these part the rows too.
    """
    parts = ["source", *(name for name in _APART if name in frame and frame[name].nunique() > 1), "budget_n"]
    figures = [column for column in frame if str(column).startswith(("best_val_", "test_"))]
    numbers = frame.assign(**{column: pd.to_numeric(frame[column], errors="coerce") for column in figures})
    grouped = numbers.groupby(parts, dropna=False)[figures].agg(["mean", "std", "count"])
    grouped.columns = [f"{figure}_{what}" for figure, what in grouped.columns]
    return grouped.reset_index().sort_values(parts, na_position="last").reset_index(drop=True)


def budget_parts(by_budget: pd.DataFrame) -> list[str]:
    """Name the columns that tell the rows of the table by budget apart."""
    return [name for name in ("source", *_APART, "budget_n") if name in by_budget]


def aggregate(
    folder: Path | str,
    config: Config,
    *,
    source: str | None = None,
    again: bool = False,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Evaluate the runs of a folder and return the table by run, the table by budget, and warnings.

    Args:
        config: ``paths.outputs_root`` is where older runs go; ``data.test_manifests`` and, where it differs from the
            default, ``paths.manifest_dir`` say which test sets to open; by default each run's own.

    Raises:
        InputError: the folder holds no finished run, or a test set is missing or unusable.
    """
    runs = find_runs(folder, config.paths.outputs_root, progress)
    default = next(item.default for item in dataclasses.fields(config.paths) if item.name == "manifest_dir")
    moved = config.paths.manifest_dir if config.paths.manifest_dir != default else None
    warnings = evaluate_runs(runs, config.data.test_manifests, moved, again, progress)
    table = per_run_table([open_run(run.paths.root) for run in runs], source)
    if table["shared_patients"].any():
        warnings.append(f"Leak: {int((table['shared_patients'] > 0).sum())} runs share patients with a test set.")
    return table, by_budget_table(table), warnings
