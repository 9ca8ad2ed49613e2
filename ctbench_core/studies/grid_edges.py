"""Say when the best value of a numeric setting lies on the edge of what was tried: a better one may lie beyond."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ctbench_core.config import KEYS
from ctbench_core.declared import macro_keys, metric_title
from ctbench_core.formatting import plural
from ctbench_core.runs import VALIDATION
from ctbench_core.studies.differences import BUDGET
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.recipe_scores import cell_axes, cells_of
from ctbench_core.studies.search import DEPTH, Space
from ctbench_core.studies.study import AXES, Option

# Share of a continuous range, at either end, that counts as its edge.
EDGE = 0.05


def edge_warnings(plan: Plan, results: pd.DataFrame) -> list[str]:
    """Return one sentence for each numeric axis whose best value by validation lies on its edge, in some recipe.

    The metric is the macro mean that training monitors, else the first. A value that a setting cannot exceed, such as a
    dropout of 0, is no edge.

    Args:
        results: as `read_results` returns them.
    """
    metric = next(iter(plan.configs().values())).training.monitor
    metric = metric if metric in macro_keys() else macro_keys()[0]
    rows = results[(results["set"] == VALIDATION) & (results["finding"] == "") & (results["metric"] == metric)]
    by_run = rows.set_index("run")["value"]
    means = {cell: by_run.reindex([run.id for run in runs]).mean() for cell, runs in cells_of(plan).items()}
    axes, warnings = cell_axes(plan), []
    for axis, options in plan.study.axes().items():
        values = {option.label: _number(axis, option) for option in options}
        known = {label: value for label, value in values.items() if value is not None}
        if axis not in axes or axis == BUDGET or len(known) < len(values) or len(values) < 2:
            continue
        best = _best_values(means, axes.index(axis), known)
        edges = [side for value in best if (side := _edge(axis, value, list(known.values())))]
        if edges:
            sides = " or ".join(sorted(set(edges)))
            where = "" if len(best) == 1 else f" in {len(edges)} of {plural(len(best), 'recipe')}"
            warnings.append(
                f"{axis}: the best value by validation {metric_title(metric)} is the {sides} of its grid{where}. A better "
                "one may lie beyond: extend the grid."
            )
    return warnings


def _number(axis: str, option: Option) -> float | None:
    """Return the number that an option sets its axis to; None for another value."""
    value = option.changes.get(AXES.get(axis, axis))
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _best_values(means: Mapping[tuple[str, ...], float], at: int, values: Mapping[str, float]) -> list[float]:
    """Return the value with the highest mean of every group of cells that differ in one axis alone."""
    groups: dict[tuple[str, ...], dict[float, float]] = {}
    for cell, mean in means.items():
        if not math.isnan(mean):
            groups.setdefault((*cell[:at], *cell[at + 1 :]), {})[values[cell[at]]] = mean
    return [max(group, key=lambda value: group[value]) for group in groups.values() if len(group) > 1]


def _edge(name: str, value: float, values: Sequence[float]) -> str:
    """Return ``smallest`` or ``largest`` where a value is so, and the setting allows to go further; else empty."""
    info = KEYS.get(AXES.get(name, name))
    bounds = info.bounds if info is not None else {"low": 0} if name == DEPTH else {}
    if value == min(values):
        return "" if value <= bounds.get("low", -math.inf) else "smallest"
    return "largest" if value == max(values) and value < bounds.get("high", math.inf) else ""


def space_edges(space: Space, drawn: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each numeric parameter of the best trial that lies on the edge of the space.

    Of a continuous range the outer 5 % count as its edge, on its own scale.
    """
    warnings = []
    for name, values in space.parameters.items():
        tried = _ends(values, drawn.get(name))
        if tried and (side := _edge(name, *tried)):
            warnings.append(
                f"{name}: the best trial has {drawn[name]:.4g}, at the {side} end of the space. A better value may lie "
                "beyond: widen the space."
            )
    return warnings


def _ends(values: Any, drawn: Any) -> tuple[float, list[float]] | None:
    """Return a drawn number, moved to the end of its range where it is near, and the ends; None for other values."""
    if isinstance(drawn, bool) or not isinstance(drawn, (int, float)):
        return None
    if not isinstance(values, Mapping):
        numbers = [float(one) for one in values if isinstance(one, (int, float)) and not isinstance(one, bool)]
        return (float(drawn), numbers) if len(numbers) == len(values) > 1 else None
    low, high = float(values["low"]), float(values["high"])
    scale = math.log if values.get("log") else float
    place = (scale(drawn) - scale(low)) / (scale(high) - scale(low)) if high > low else 0.5
    value = low if place < EDGE else high if place > 1 - EDGE else float(drawn)
    return value, [low, high]
