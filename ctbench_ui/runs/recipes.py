"""Runs grouped by recipe: mean and spread over runs that differ in their seed alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from ctbench_core.compare import estimate_recipe
from ctbench_core.config import setting_text
from ctbench_core.declared import averaged_metrics, short_title
from ctbench_core.errors import CtbenchError
from ctbench_core.formatting import format_mean_sd, format_metric, plural
from ctbench_core.inference import MACRO
from ctbench_core.progress import Progress
from ctbench_core.report import estimate_text
from ctbench_core.runs import NOT_CONVERGED, best_order, joint_set_names, validation_mean
from ctbench_ui.shared import cache, metric_column, progress_bar, run_table, select_rows, test_marks

# Settings that have a column of their own.
_OWN_COLUMN = ("paths.data_root", "model._target_", "model.params.hidden_dims", "model.inputs", "data.budget")
_BLANK = " Blank: its seeds have different validation sets, which *By setting* shows apart."
_NUMBER, _TEXT = st.column_config.NumberColumn, st.column_config.TextColumn


def _metric_columns(name: str) -> dict[str, Any]:
    title = f"Val. {short_title(name)}"
    return {
        f"val_{name}": metric_column(title, help=f"Mean over seeds of the best epoch's macro mean.{_BLANK}"),
        f"val_{name}_sd": metric_column("± SD", help=f"Standard deviation over seeds.{_BLANK}"),
    }


# The order is the table's.
_COLUMNS: dict[str, Any] = {
    "encoder": _TEXT("Encoder"),
    "head": _TEXT("Head"),
    "inputs": _TEXT("Inputs"),
    "budget": _NUMBER("Budget", format="localized", help="Label budget, in the run's unit. Blank: all."),
    "differs": _TEXT("Differs in", help="Settings in which the recipes shown differ."),
    "n": _NUMBER("Seeds", format="%d", help="Seeds with a finished run; the newest run of a seed counts."),
    "folds": _NUMBER(
        "Folds", format="%d", help="Folds with a finished run; the metric of a seed is the mean over them."
    ),
    **_metric_columns("auprc"),
    "test": _TEXT(
        "Test AUPRC",
        help="Mean ± SD over the seeds evaluated on test, and their number. ⚠: a run shares patients with training. "
        "⟳: a result is stale; its run has a better epoch now.",
    ),
    "interval": _TEXT(
        "Test AUPRC, interval",
        help="Macro mean with its 95 % interval over seeds and patients in brackets; of two seeds their range.",
    ),
    "study": _TEXT("Study"),
    "set": _TEXT(
        "Val. set",
        help="File of the validation set, or how many sets the seeds and folds have. Only recipes of one name are ranked "
        "against each other.",
    ),
    **{
        key: column
        for name in [metric.name for metric in averaged_metrics() if metric.name != "auprc"]
        for key, column in _metric_columns(name).items()
    },
    "convergence": _TEXT("Convergence", help="Finished runs that have not converged: no verdict on the features."),
    "others": _NUMBER("Not finished", format="%d"),
}

_FITTED = ("differs", "study", "set")  # see `run_table.fit_columns`


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a recipe, best mean validation AUPRC first among those of the same validation sets, then those without.

    Args:
        runs: rows of `cache.run_row`.

    Returns:
        Columns recipe, encoder, head, inputs, budget, study, set, differs, n, folds, the metrics' means and standard deviations
        (of n - 1 degrees of freedom; NaN for one seed, and both where seeds have sets of their own), convergence, test, others.
    """
    recipes = {recipe: json.loads(recipe) for recipe in runs["recipe"].unique()}
    varying = _varying(list(recipes.values()))
    rows = [
        {"recipe": recipe, "differs": _differences(recipes[str(recipe)], varying)} | _row(group)
        for recipe, group in runs.groupby("recipe", sort=False)
    ]
    frame = pd.DataFrame(rows)
    names = run_table.where_several(joint_set_names([_sets(group) for _, group in runs.groupby("recipe", sort=False)]))
    places = best_order(*(frame[name].tolist() for name in ("sets", "created", "val_auprc")))
    return frame.assign(set=names).iloc[places].drop(columns=["sets", "created"]).reset_index(drop=True)


def _sets(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return identity and name of the validation set of each finished run of a recipe."""
    finished = _repeats(runs)
    return list(zip(finished["validation_set"], finished["validation_name"]))


def _varying(recipes: list[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for recipe in recipes for key in recipe if key not in _OWN_COLUMN)
    return [key for key in keys if len({json.dumps(recipe.get(key)) for recipe in recipes}) > 1]


def _differences(recipe: dict[str, Any], keys: list[str]) -> str:
    return " · ".join(setting_text(key, recipe.get(key)) for key in keys)


def _row(runs: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of one recipe, from its runs."""
    finished = _repeats(runs)
    row: dict[str, Any] = {name: runs.iloc[0][name] for name in ("encoder", "head", "inputs")}
    row |= {"budget": runs.iloc[0]["budget"], "study": ", ".join(sorted(filter(None, set(runs["study"]))))}
    row |= {"sets": " ".join(sorted(set(finished["validation_set"]))), "created": runs["created"].max()}
    row |= {"n": finished["seed"].nunique(), "folds": finished["fold"].nunique(), "test": _tests(finished)}
    stopped = int((finished["convergence"] != "").sum())
    row["convergence"] = f"{stopped} of {len(finished)} {NOT_CONVERGED}" if stopped else ""
    sets = _sets_of_seeds(finished)
    row["others"] = int((runs["state"] != "finished").sum())
    for name in (f"val_{metric.name}" for metric in averaged_metrics()):
        row[name], row[f"{name}_sd"] = validation_mean(_by_seed(finished, finished[name]), sets)
    return row


def _sets_of_seeds(finished: pd.DataFrame) -> set[str]:
    """Return the validation sets of the seeds of a recipe; the folds of a seed are together one, of all patients."""
    folded = [bool(json.loads(recipe)["data.kfold.folds"]) for recipe in finished["recipe"]]
    return set() if all(folded) else set(finished["validation_set"][finished["val_auprc"].notna()])


def _repeats(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the finished runs of a recipe, the newest of each seed and fold."""
    return runs[runs["state"] == "finished"].sort_values("created").drop_duplicates(["seed", "fold"], keep="last")


def _by_seed(runs: pd.DataFrame, values: pd.Series) -> pd.Series:
    """Return one value a seed: the mean over its folds."""
    return values.astype(float).groupby(runs["seed"]).mean().dropna()


def _tests(runs: pd.DataFrame) -> str:
    """Write the mean of each test set over the runs that were evaluated on it."""
    names = sorted({name for tests in runs["tests"] for name in tests})
    parts = []
    for name in names:
        values = _by_seed(runs, pd.Series([tests.get(name) for tests in runs["tests"]], runs.index, dtype=float))
        mark = test_marks(any(leak.get(name) for leak in runs["leaks"]), any(name in one for one in runs["stale"]))
        which = f"{name} " if len(names) > 1 else ""
        if len(values) > 1:
            parts.append(
                f"{which}{format_mean_sd(values.mean(), values.std(ddof=1))} ({plural(len(values), 'seed')}){mark}"
            )
        elif len(values):
            parts.append(f"{which}{format_metric(values.iloc[0])} (1 seed){mark}")
    return " · ".join(parts)


def draw(recipes: pd.DataFrame, runs: pd.DataFrame, selected: Sequence[str] = (), key: str = "recipes") -> list[str]:
    """Draw recipes to select from, and return the selected ones.

    Args:
        recipes: what `table` returned. runs: what it was made from. selected: the recipes selected at first.
    """
    idle = {"differs": not recipes["differs"].any(), "folds": recipes["folds"].max() < 2}
    idle |= {name: not recipes[name].any() for name in ("convergence", "study", "set")}
    idle["budget"] = bool(recipes["budget"].isna().all())
    # What all have in common leaves room for what differs.
    idle |= {name: len(recipes) > 1 and recipes[name].nunique() == 1 for name in ("encoder", "inputs")}
    shown = recipes[[name for name in _COLUMNS if not idle.get(name) and name in recipes]]
    if recipes["test"].any() and st.toggle(
        "Test intervals",
        key="intervals-of-recipes",
        help="95 % intervals over seeds and patients, as Compare and studies give them. Takes about a second a recipe.",
    ):
        with progress_bar("Computing intervals") as progress:
            shown = shown.assign(interval=_intervals(recipes, runs, progress))
            shown = shown[[name for name in _COLUMNS if name in shown]]
    columns = _COLUMNS | run_table.fit_columns(_COLUMNS, shown, _FITTED)
    chosen = select_rows(
        run_table.with_val_texts(shown),
        list(recipes["recipe"]),
        key,
        columns,
        "Recipes with mean and standard deviation over seeds",
        [row for row, recipe in enumerate(recipes["recipe"]) if recipe in selected],
    )
    return [str(recipes["recipe"].iloc[row]) for row in chosen]


def _intervals(recipes: pd.DataFrame, runs: pd.DataFrame, progress: Progress) -> list[str]:
    """Return the intervals of each recipe as text, by test set; a stale result has none."""
    groups, texts = dict(iter(runs.groupby("recipe"))), []
    for place, recipe in enumerate(recipes["recipe"]):
        progress("computing intervals", place, len(recipes))
        finished = _repeats(groups[recipe])
        names = sorted({name for tests in finished["tests"] for name in tests})
        parts = []
        for name in names:
            rows = finished[
                [name in tests and name not in old for tests, old in zip(finished["tests"], finished["stale"])]
            ]
            if len(rows):
                version = [[row["run_dir"], row["updated"]] for row in rows.to_dict("records")]
                parts.append((f"{name} " if len(names) > 1 else "") + _interval(name, json.dumps(version)))
        texts.append(" · ".join(parts))
    return texts


@cache.remember(max_entries=512)
def _interval(test: str, version: str) -> str:
    """Write the macro AUPRC of a recipe on a test set with its interval, or why it has none.

    Args:
        version: JSON of each run directory and its time of change.
    """
    try:
        estimates = estimate_recipe([run_dir for run_dir, _ in json.loads(version)], test)
    except CtbenchError as error:
        return f"– ({error})"
    if estimates is None:
        return "– (K-fold: see its study)"
    one = estimates["auprc"]
    place = one.at(MACRO)
    if place is None:
        return "–"
    bounds, spread = one.bounds[place].tolist(), one.spread[place].tolist()
    return estimate_text(one.value[place], bounds, spread, one.reasons[place])
