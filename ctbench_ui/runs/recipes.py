"""Runs grouped by recipe: what repeats with other seeds give on average, and how far they lie apart."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from ctbench_core.formatting import format_mean_sd, format_metric
from ctbench_ui.shared.style import test_marks

_SHARE = "%.3f"
# A recipe's row tells these in columns of their own.
_TOLD = ("paths.data_root", "model._target_", "model.params.hidden_dims", "model.inputs")
_FIGURES = ("val_auprc", "val_auroc", "val_f1")
_NUMBER, _TEXT = st.column_config.NumberColumn, st.column_config.TextColumn

_COLUMNS = {
    "encoder": _TEXT("Encoder"),
    "head": _TEXT("Head"),
    "inputs": _TEXT("Inputs"),
    "differs": _TEXT("Differs in", width="medium", help="Settings that are not the same in every recipe shown."),
    "n": _NUMBER("Seeds", format="%d", help="Finished runs with different seeds; of one seed, the newest counts."),
    "folds": _NUMBER("Folds", format="%d", help="Folds that were held out in turn; a seed's figure is their mean."),
    "val_auprc": _NUMBER("Val. AUPRC", format=_SHARE, help="Mean over seeds of the macro AUPRC at the best epoch."),
    "val_auprc_sd": _NUMBER("± sd", format="%.4f", help="Standard deviation over seeds."),
    "val_auroc": _NUMBER("Val. AUROC", format=_SHARE),
    "val_auroc_sd": _NUMBER("± sd", format="%.4f"),
    "val_f1": _NUMBER("Val. F1", format=_SHARE),
    "val_f1_sd": _NUMBER("± sd", format="%.4f"),
    "test": _TEXT(
        "Test AUPRC",
        help="Mean ± sd over the seeds whose test set was opened, and how many those are. ⚠: one of them shares patients "
        "with training. ⟳: the figures of one are of an earlier epoch than its best one now.",
    ),
    "others": _NUMBER("Not finished", format="%d"),
}


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a recipe, best mean validation AUPRC first.

    Args:
        frame: rows of `cache.run_row`.

    Returns:
        Columns recipe, encoder, head, inputs, differs, n, folds, the figures' means and standard deviations
        (of n - 1 degrees of freedom; NaN for one seed), test, others.
    """
    recipes = {recipe: json.loads(recipe) for recipe in frame["recipe"].unique()}
    varying = _varying(list(recipes.values()))
    rows = [
        {"recipe": recipe, "differs": _differs(recipes[str(recipe)], varying)} | _figures(runs)
        for recipe, runs in frame.groupby("recipe", sort=False)
    ]
    return pd.DataFrame(rows).sort_values("val_auprc", ascending=False, na_position="last").reset_index(drop=True)


def _varying(recipes: list[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for recipe in recipes for key in recipe if key not in _TOLD)
    return [key for key in keys if len({json.dumps(recipe.get(key)) for recipe in recipes}) > 1]


def _differs(recipe: dict[str, Any], keys: list[str]) -> str:
    parts = []
    for key in keys:
        value = recipe.get(key, "default")
        if key.startswith("paths."):
            value = str(value).replace("\\", "/").rstrip("/").rpartition("/")[2]
        parts.append(f"{key.rpartition('.')[2]} {value}")
    return " · ".join(parts)


def _figures(runs: pd.DataFrame) -> dict[str, Any]:
    finished = runs[runs["state"] == "finished"].sort_values("created").drop_duplicates(["seed", "fold"], keep="last")
    found: dict[str, Any] = {name: runs.iloc[0][name] for name in ("encoder", "head", "inputs")}
    found |= {"n": finished["seed"].nunique(), "folds": finished["fold"].nunique(), "test": _tests(finished)}
    found["others"] = int((runs["state"] != "finished").sum())
    for name in _FIGURES:
        values = _of_seeds(finished, finished[name])
        found[name] = values.mean() if len(values) else np.nan
        found[f"{name}_sd"] = values.std(ddof=1) if len(values) > 1 else np.nan
    return found


def _of_seeds(runs: pd.DataFrame, values: pd.Series) -> pd.Series:
    """Return one value a seed: the mean over its folds, where there are any."""
    return values.astype(float).groupby(runs["seed"]).mean().dropna()


def _tests(runs: pd.DataFrame) -> str:
    """Write each opened test set's mean over the runs that opened it."""
    names = sorted({name for tests in runs["tests"] for name in tests})
    parts = []
    for name in names:
        values = _of_seeds(runs, pd.Series([tests.get(name) for tests in runs["tests"]], runs.index, dtype=float))
        leaked = any(leak.get(name) for leak in runs["leaks"])
        mark = test_marks(leaked, any(name in earlier for earlier in runs["stale"]))
        which = f"{name} " if len(names) > 1 else ""
        if len(values):
            text = (
                format_mean_sd(values.mean(), values.std(ddof=1)) if len(values) > 1 else format_metric(values.iloc[0])
            )
            parts.append(f"{which}{text} (n {len(values)}){mark}")
    return " · ".join(parts)


def draw(grouped: pd.DataFrame) -> str | None:
    """Draw the recipes to choose one from, and return the chosen one.

    Args:
        grouped: what `table` returned.
    """
    idle = {"differs": not grouped["differs"].any(), "folds": grouped["folds"].max() < 2}
    columns = [name for name in _COLUMNS if not idle.get(name)]
    event = st.dataframe(
        grouped[columns],
        hide_index=True,
        key=f"recipes-{hash(tuple(grouped['recipe'])) & 0xFFFFFFFF:x}",
        column_config=_COLUMNS,
        on_select="rerun",
        selection_mode="single-row",
        lazy=False,
        alt="Recipes with mean and standard deviation over seeds",
    )
    rows = event.selection.rows
    return grouped["recipe"].iloc[rows[0]] if rows and rows[0] < len(grouped) else None
