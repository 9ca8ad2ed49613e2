"""Summarise many runs as the older system's scripts did: a table by run, a table by label budget, a scaling plot.

The columns are those of the older scripts, so that their readers keep working. The runs may be ours or folders of the
older system, which are imported first.
"""

from __future__ import annotations

import dataclasses
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ctbench_core.config import Config, recipe_values, setting_text
from ctbench_core.declared import has_parameter, metric_title
from ctbench_core.errors import InputError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.features import check_allowed
from ctbench_core.formatting import plural
from ctbench_core.legacy.folders import find_old_runs
from ctbench_core.legacy.importing import import_runs
from ctbench_core.legacy.training_record import MACROS
from ctbench_core.progress import Progress, silent
from ctbench_core.runs import Run, damaged_runs, open_run, read_metrics, read_provenance

if TYPE_CHECKING:
    import plotly.graph_objects as go

PRIMARY_METRICS = tuple(f"test_primary_{name}" for name in MACROS)  # columns: a run's mean over its test sets
_BUDGET = re.compile(r"_n(\d+)_s(\d+)")
_FOLD = re.compile(r"_f(\d+)(?=_|\.|$)")
# Columns that separate rows of the table by budget, beside source and budget, when the runs differ in them.
_RECIPE_COLUMNS = ("encoder", "model", "inputs", "settings")
_LEGEND = 44  # letters of a line
_GROUP = ["source", "encoder", "model", "inputs", "budget_n"]


def find_runs(folder: Path | str, outputs_root: Path | str, progress: Progress = silent) -> tuple[list[Run], list[str]]:
    """Return the finished runs in a folder, and a warning for each run that is damaged and left out.

    Runs of the older system are imported into the run store first.

    Raises:
        InputError: the folder holds no finished run.
    """
    folder = check_allowed(folder)
    run_dirs = _run_dirs(folder)
    if folder.is_dir() and next(folder.rglob(".hydra/config.yaml"), None) is not None:
        find_old_runs(folder)
        imported = import_runs(folder, outputs_root, progress=progress)
        here = {run_dir.resolve() for run_dir in run_dirs}
        run_dirs += [run.run_dir for run in imported if run.present and run.run_dir.resolve() not in here]
    damaged = damaged_runs(run_dirs)
    known = set(run_dirs) - {run.folder for run in damaged}
    runs = [open_run(run_dir) for run_dir in run_dirs if run_dir in known]
    finished = [run for run in runs if run.status.kind == "train" and run.status.state == "finished"]
    if not finished:
        raise InputError(f"{folder} holds no finished run. Give the folder of a job or a study, or the run store.")
    return finished, [f"Left out: {run.reason}" for run in damaged]


def _run_dirs(folder: Path) -> list[Path]:
    """Return the run directories below a folder, whether or not their files can be read."""
    found = []
    for place, folders, files in os.walk(folder):
        found += [Path(place)] if "status.json" in (*folders, *files) else []
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def evaluate_runs(
    runs: Sequence[Run],
    tests: Sequence[str] | None = None,
    manifest_dir: Path | str | None = None,
    again: bool = False,
    progress: Progress = silent,
) -> list[str]:
    """Evaluate runs on the test sets that they have no results for, and return warnings.

    Args:
        tests: manifest names; by default those of each run's config.
        manifest_dir: the folder of the manifests; by default that of each run's config.
        again: repeat evaluations that are stored.

    Raises:
        InputError: a test set is missing or unusable.
    """
    warnings: dict[str, None] = {}
    for done, run in enumerate(runs):
        progress("evaluating runs", done, len(runs))
        stored = set(run.evaluations())
        missing = None if tests is None else [name for name in tests if again or Path(name).stem not in stored]
        if missing == [] or (missing is None and stored and not again):
            continue
        config = run.config.copy()
        config.paths.manifest_dir = str(manifest_dir or config.paths.manifest_dir)
        warnings |= dict.fromkeys(evaluate_run(run.paths.root, missing, config=config)["warnings"])
    progress("evaluating runs", len(runs), len(runs))
    return list(warnings)


def per_run_table(runs: Sequence[Run], source: str | None = None) -> pd.DataFrame:
    """Return one row a run: its settings, best validation metrics and stored test metrics.

    Columns of a test set are ``test_<manifest>_auprc`` and so on. ``test_primary_*`` is the mean over a run's test
    sets, because each fold of a K-fold has a test set of its own name. ``shared_patients`` counts leaks.

    Args:
        source: name of the label source; by default derived from the folder of the manifests.
    """
    frame = pd.DataFrame([_row(run, source or _source_name(run, runs)) for run in runs])
    frame["settings"] = _settings(frame, runs)
    for name in MACROS:
        columns = [column for column in frame if re.fullmatch(rf"test_(?!primary_).+_{name}", str(column))]
        values = frame[columns].apply(pd.to_numeric, errors="coerce") if columns else pd.DataFrame(index=frame.index)
        frame[f"test_primary_{name}"] = values.mean(axis=1)
    return frame


def _settings(frame: pd.DataFrame, runs: Sequence[Run]) -> list[str]:
    """Write for each run those settings of its head that separate recipes of one source, encoder, head, inputs and budget."""
    recipes = [_recipe(run.config) for run in runs]
    groups = frame.groupby(_GROUP, dropna=False).indices.values()
    keys = [key for key in recipes[0] if any(len({str(recipes[k][key]) for k in group}) > 1 for group in groups)]
    return [
        ", ".join(setting_text(key, recipe[key]) for key in keys if has_parameter(run.config.model, key))
        for run, recipe in zip(runs, recipes)
    ]


def _recipe(config: Config) -> dict[str, Any]:
    """Return the values that repeats share; of a manifest of the older system, its name without draw and fold."""
    values = recipe_values(config)
    values.pop("data.budget")  # a column of its own
    for key in ("data.train_manifest", "data.val_manifest"):
        values[key] = _FOLD.sub("", _BUDGET.sub("", str(values[key])))
    return values


def _source_name(run: Run, runs: Sequence[Run]) -> str:
    """Name a run's label source: ``gpt`` or ``manual`` where job or folder say so, as in the older system, else the folder."""
    folder = Path(run.config.paths.manifest_dir)
    if len({other.config.paths.manifest_dir for other in runs}) > 1:
        return folder.name
    text = f"{run.job} {folder.name}".lower()
    return next((source for source in ("gpt", "manual") if source in text), folder.name)


def _row(run: Run, source: str) -> dict[str, Any]:
    config, best = run.config, run.best().get("val_metrics", {})
    row: dict[str, Any] = {
        "source": source,
        "run_dir": run.paths.root.as_posix(),
        "checkpoint_path": run.paths.final_model.as_posix(),
        "train_manifest": config.data.train_manifest,
        "val_manifest": config.data.val_manifest,
        **_budget_and_fold(run),
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
    shared = 0
    for stem in run.evaluations():
        metrics = read_metrics(run.paths.evaluation(stem).metrics)
        if metrics is None:
            continue
        column = f"test_{stem.removeprefix('test_')}.csv"
        row |= {f"{column}_{name}": metrics.macro_values.get(name) for name in MACROS}
        shared = max(shared, metrics.leak_patients or 0)
    return row | {"shared_patients": shared}


def _budget_and_fold(run: Run) -> dict[str, int | None]:
    """Return budget, budget seed and fold from the config, else from the manifest's name, as in the older system."""
    data = run.config.data
    name = Path(data.train_manifest).name
    budget, fold = _BUDGET.search(name), _FOLD.search(name)
    return {
        "budget_n": data.budget or (int(budget[1]) if budget else _cohort_size(run)),
        "split_seed": data.budget_seed if data.budget_seed is not None else int(budget[2]) if budget else None,
        "cv_fold": data.kfold.fold if data.kfold.folds else int(fold[1]) if fold else None,
    }


def _cohort_size(run: Run) -> int | None:
    """Count the training and validation rows of a run without a budget, in the unit of budgets."""
    return read_provenance(run.paths).count(f"{run.config.data.budget_unit}s", "train", "val")


def by_budget_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation (n - 1) and count of every metric by source and budget, over the runs of one recipe.

    Runs that differ in encoder, head, inputs or other settings than seed, draw and fold get rows of their own.
    """
    keys = ["source", *(name for name in _RECIPE_COLUMNS if name in frame and frame[name].nunique() > 1), "budget_n"]
    metrics = [column for column in frame if str(column).startswith(("best_val_", "test_"))]
    numbers = frame.assign(**{column: pd.to_numeric(frame[column], errors="coerce") for column in metrics})
    grouped = numbers.groupby(keys, dropna=False)[metrics].agg(["mean", "std", "count"])
    grouped.columns = [f"{metric}_{statistic}" for metric, statistic in grouped.columns]
    return grouped.reset_index().sort_values(keys, na_position="last").reset_index(drop=True)


def budget_keys(by_budget: pd.DataFrame) -> list[str]:
    """Return the columns that identify the rows of the table by budget."""
    return [name for name in ("source", *_RECIPE_COLUMNS, "budget_n") if name in by_budget]


def aggregate_runs(
    folder: Path | str,
    config: Config,
    *,
    source: str | None = None,
    again: bool = False,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Evaluate the runs of a folder and return the table by run, the table by budget, and warnings.

    Args:
        config: ``paths.outputs_root`` receives imported runs; ``data.test_manifests`` and a ``paths.manifest_dir``
            other than the default name the test sets; by default each run's own.

    Raises:
        InputError: the folder holds no finished run, or a test set is missing or unusable.
    """
    runs, damaged = find_runs(folder, config.paths.outputs_root, progress)
    default = next(item.default for item in dataclasses.fields(config.paths) if item.name == "manifest_dir")
    manifest_dir = config.paths.manifest_dir if config.paths.manifest_dir != default else None
    warnings = damaged + evaluate_runs(runs, config.data.test_manifests, manifest_dir, again, progress)
    table = per_run_table([open_run(run.paths.root) for run in runs], source)
    leaking = int((table["shared_patients"] > 0).sum())
    if leaking:
        warnings.append(f"Leak: {plural(leaking, 'run')} share patients with a test set.")
    return table, by_budget_table(table), warnings


def scaling_figure(by_budget: pd.DataFrame) -> go.Figure | None:
    """Draw the mean ± one standard deviation of each primary test metric against the budget (log axis).

    Args:
        by_budget: the result of `by_budget_table`.

    Returns:
        None when no budget is known.
    """
    from plotly.subplots import make_subplots

    rows = by_budget.dropna(subset=["budget_n"])
    if rows.empty:
        return None
    titles = [metric_title(name) for name in MACROS]
    figure = make_subplots(1, len(titles), subplot_titles=titles, horizontal_spacing=0.09)
    keys = [key for key in budget_keys(by_budget) if key != "budget_n"]
    budgets = sorted(rows["budget_n"].unique())
    for index, (values, line) in enumerate(rows.groupby(keys, dropna=False, sort=False)):
        name = "<br>".join(textwrap.wrap(" · ".join(map(str, values)), _LEGEND))  # the width of a phone
        for panel, metric in enumerate(PRIMARY_METRICS, 1):
            figure.add_scatter(
                x=line["budget_n"],
                y=line[f"{metric}_mean"],
                error_y={"type": "data", "array": line[f"{metric}_std"].fillna(0), "thickness": 1.2, "width": 3},
                name=name,
                legendgroup=name,
                showlegend=panel == 1,
                mode="lines+markers",
                marker={"size": 8, "symbol": index % 8},
                customdata=line[[f"{metric}_std", f"{metric}_count"]],
                hovertemplate="%{x:,}: %{y:.3f} ± %{customdata[0]:.3f}, %{customdata[1]} runs<extra>%{fullData.name}</extra>",
                row=1,
                col=panel,
            )
    colours = figure.layout.template.layout.colorway or ()
    for index, trace in enumerate(figure.data):  # one colour a line, in every panel
        trace.update(line={"color": colours[index // len(PRIMARY_METRICS) % len(colours)]} if colours else {})
    ticks = [f"{budget:,.0f}" for budget in budgets]
    figure.update_xaxes(type="log", title="label budget", tickvals=budgets, ticktext=ticks)
    figure.update_yaxes(tickformat=".2f")
    return figure.update_layout(height=420, legend={"orientation": "h", "y": -0.25}, margin={"t": 40, "b": 8})


def scaling_page(by_budget: pd.DataFrame) -> str | None:
    """Return the plot as one HTML page that needs no network; None when no budget is known."""
    figure = scaling_figure(by_budget)
    return None if figure is None else figure.to_html(include_plotlyjs=True)
