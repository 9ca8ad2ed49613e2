"""Tables of a study that its page and its report show, cached until its files change."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ctbench_core.config import Config
from ctbench_core.declared import METRICS, compared_metrics, metric_title
from ctbench_core.errors import InputError
from ctbench_core.formatting import format_interval, plural
from ctbench_core.inference import ELIGIBLE, MODELS_COLUMNS
from ctbench_core.report import DETECTABLE_TITLE, interval_texts, interval_title, mark_text
from ctbench_core.runs import LEDGER
from ctbench_core.studies import (
    CUT_NOTE,
    FEWEST_SEEDS,
    VARIANCE_PARTS,
    Budgets,
    Curve,
    Plan,
    StudyPaths,
    axis_title,
    best_of,
    cell_axes,
    cell_frame,
    cell_title,
    compared_axes,
    count_uncompared,
    crossing,
    differences,
    edge_warnings,
    fit_curve,
    has_cut_parts,
    label_title,
    labels_needed,
    load_recipes,
    overlaps_of,
    read_plan,
    read_results,
    run_table,
    study_disclosures,
    without_cut_parts,
)
from ctbench_ui.shared import FINDINGS, cache, exports

Stamp = cache.Stamp
BUDGET, _ALL = "budget", "all"
_CI = "95 % CI"
_BOTTLENECKS = {
    "finding": "Finding",
    "mean": "Mean",
    "ci": "95 % CI",
    "sd": "SD over seeds",
    "gain": "Gain of the last budget step",
    "patient_error": "SE (patients)",
    "seed_error": "SE (seeds)",
    "limited_by": "Limited by",
}
# Parts of the variance of a K-fold.
_PARTS = dict(zip(("folds", "seeds", "rest"), VARIANCE_PARTS))


def load_plan(folder: str) -> Plan:
    """Return a study's plan."""
    return _plan(StudyPaths(Path(folder)).plan)


@cache.per_file(max_entries=16)
def _plan(path: Path) -> Plan:
    return read_plan(StudyPaths(path.parent))


def update_results(folder: str) -> Stamp:
    """Bring the results up to date and return their stamp."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    at = cache.stamp(paths.results)
    if at[1] and len(load_runs(folder, at)) == len(plan.runs):  # complete: there are no more to read
        return at
    read_results(paths, plan)
    return cache.stamp(paths.results)


@cache.remember(max_entries=16)
def load_runs(folder: str, at: Stamp) -> pd.DataFrame:
    """Return one row a finished run. Treat it as read-only."""
    plan = load_plan(folder)
    results = read_results(StudyPaths(Path(folder)), plan)
    return run_table(plan, results) if len(results) else pd.DataFrame()


def source(folder: str, at: Stamp) -> exports.Source:
    """Return what the charts and tables of a study come from, with the disclosures that its files carry."""
    return _source(folder, at, cache.stamp(Path(folder).parent / LEDGER))


@cache.remember(max_entries=16)
def _source(folder: str, at: Stamp, ledger: Stamp) -> exports.Source:
    paths = StudyPaths(Path(folder))
    results = read_results(paths, load_plan(folder))
    finished, configs = set(results["run"]), _configs(paths.plan)
    disclosures = study_disclosures(paths, results, [config for name, config in configs.items() if name in finished])
    return exports.disclosed_source(
        f"{load_plan(folder).study.name} on {disclosures.set_name}", disclosures, paths.root.name
    )


@cache.per_file(max_entries=4)
def _configs(path: Path) -> dict[str, Config]:
    return _plan(path).configs()


def load_cells(folder: str, at: Stamp) -> pd.DataFrame:
    """Return `cell_frame` with the intervals known so far. Treat it as read-only."""
    return _cells(folder, at, cache.stamp(StudyPaths(Path(folder)).intervals))


@cache.remember(max_entries=16)
def _cells(folder: str, at: Stamp, intervals: Stamp) -> pd.DataFrame:
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    return cell_frame(paths, plan, read_results(paths, plan), cached_only=True)


@cache.remember(max_entries=16)
def edges(folder: str, at: Stamp) -> list[str]:
    """Return which numeric axes have their best value on the edge."""
    plan = load_plan(folder)
    return edge_warnings(plan, read_results(StudyPaths(Path(folder)), plan))


@cache.remember(max_entries=32, spinner="Comparing patient by patient")
def axis_differences(folder: str, at: Stamp, axis: str) -> pd.DataFrame:
    """Return the paired differences along an axis."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    return differences(paths, plan, read_results(paths, plan), axis)


def count_missing(folder: str, at: Stamp, axis: str) -> int:
    """Return how many pairs along an axis have not been compared yet."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    return count_uncompared(paths, plan, read_results(paths, plan), axis)


def known_differences(folder: str, at: Stamp, axis: str) -> pd.DataFrame:
    """Return the same of those pairs that have been compared already."""
    return _known_differences(folder, at, cache.stamp(StudyPaths(Path(folder)).differences), axis)


@cache.remember(max_entries=16)
def _known_differences(folder: str, at: Stamp, stored: Stamp, axis: str) -> pd.DataFrame:
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    return differences(paths, plan, read_results(paths, plan), axis, cached_only=True)


def macro_differences(table: pd.DataFrame, axes: list[str], axis: str, metric: str) -> pd.DataFrame:
    """Return the macro rows of `axis_differences`, named for a forest plot."""
    macros = table[table["finding"].isin(["", ELIGIBLE]) & (table["metric"] == metric)]
    others = [name for name in axes if name != axis]
    names = [
        " · ".join(
            [
                *filter(None, [cell_title({name: row[name] for name in others})]),
                f"{label_title(axis, row['a'])} − {label_title(axis, row['b'])}",
                *(["eligible"] if row["finding"] else []),
            ]
        )
        for row in macros.to_dict("records")
    ]
    return macros.assign(name=names)


def difference_table(table: pd.DataFrame, axes: list[str], axis: str) -> pd.DataFrame:
    """Return differences with titles, intervals as text, and the range over seeds or folds where there is no interval.

    The answer is first, where a phone shows it; then what is compared, and the rest.
    """
    columns: dict[str, Any] = {"Finding": table["finding"].map(finding_title), "Difference": table["delta"]}
    columns |= {interval_title(table): interval_texts(table)}
    columns |= _axis_columns(table, [name for name in axes if name in table])
    for name, column in (("First", "a"), ("Second", "b")):
        columns[name] = table[column].map(lambda label: label_title(axis, label))
    columns |= {"Metric": table["metric"].map(metric_title)}
    columns |= {"p": table["p"], "p (adjusted)": table["p_adjusted"]}
    if MODELS_COLUMNS[0] in table:
        low, high, p = MODELS_COLUMNS
        models = table[[low, high]].set_axis(["lo", "hi"], axis=1)
        columns |= {"95 % CI (these models)": interval_texts(models), "p (these models)": table[p]}
    columns |= {
        DETECTABLE_TITLE: table["detectable"],
        "Seeds": table["seeds"],
        "Note": [reason or mark_text(mark) for reason, mark in zip(table["reason"], table["mark"])],
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def finding_title(name: str) -> str:
    """Write a finding, or which macro mean it is."""
    return {"": "Macro mean", ELIGIBLE: "Macro, eligible findings"}.get(name, name)


def curve_points(folder: str, at: Stamp, metric: str, finding: str) -> pd.DataFrame:
    """Return what `scaling_curves` draws: line, n, mean, lo, hi, cell, text; and range_lo, range_hi, repeats."""
    plan, frame = load_plan(folder), load_cells(folder, at)
    axes = cell_axes(plan)
    points = frame[(frame["finding"] == finding) & (frame["metric"] == metric)].copy()
    rows = points.to_dict("records")
    others = [axis for axis in axes if axis != BUDGET]
    points["line"] = [cell_title({axis: row[axis] for axis in others}) or "all" for row in rows]
    points["cell"] = [json.dumps([row[axis] for axis in axes]) for row in rows]
    texts = zip(points["mean"], interval_texts(points), points["n"])
    points["text"] = [f"{format_interval(mean, None)} {bounds}, {plural(n, 'run')}" for mean, bounds, n in texts]
    points["repeats"] = plan.study.folds or points["n"]
    return points.assign(n=points["n_patients"])


def curve_fits(points: pd.DataFrame) -> dict[str, Curve]:
    """Return the power law through the means of every line that has three budgets."""
    fits = {}
    for name, rows in points.groupby("line", sort=False):
        ordered = rows.sort_values("n")
        try:
            fits[str(name)] = fit_curve(ordered["n"], ordered["mean"])
        except InputError:
            continue
    return fits


def needed_table(points: pd.DataFrame, value: float) -> pd.DataFrame:
    """Return the patients that each recipe needs to reach a value, as text.

    Args:
        points: as `curve_points` returns them.
    """
    rows = []
    for name, line in points.groupby("line", sort=False):
        ordered = line.sort_values("n")
        if len(ordered) < 2:
            continue
        bounds, title = _pointwise(ordered)
        sizes = ordered["n"].to_numpy()
        needed = labels_needed(sizes, ordered["mean"], bounds, value)
        texts = {"Patients": budget_text(needed.n, sizes), "Range": set_text(needed, sizes)}
        rows.append({"Recipe": name, **texts, "Method": title})
    frame = pd.DataFrame(rows)
    if rows and set(frame["Method"]) == {_CI}:
        frame = frame.rename(columns={"Range": "95 % range"})
    return frame


def _pointwise(rows: pd.DataFrame) -> tuple[np.ndarray, str]:
    """Return the interval at every budget (B, 2), or with few seeds the range over them, and what it is."""
    columns, title = ["lo", "hi"], _CI
    fewest = int(rows["repeats"].min())
    if fewest < FEWEST_SEEDS:
        columns, title = ["range_lo", "range_hi"], f"range over {fewest} seeds" if fewest > 1 else "one seed"
    bounds = rows[columns].to_numpy(dtype=float)
    return bounds, "no interval" if title == _CI and np.isnan(bounds).any() else title


def budget_text(budget: float, sizes: Sequence[float] | np.ndarray) -> str:
    """Write a budget: ``134``, and ``below 20`` or ``above 663`` outside the budgets of the study, whose ``sizes`` rise."""
    if np.isinf(budget):
        return f"above {sizes[-1]:,.0f}" if budget > 0 else f"below {sizes[0]:,.0f}"
    return f"{budget:,.0f}"


def set_text(budgets: Budgets, sizes: Sequence[float] | np.ndarray) -> str:
    """Write a set of budgets by its ends: ``52 to 134``, ``below 20``."""
    if np.isnan(budgets.lo):
        return "–"
    low, high = budget_text(budgets.lo, sizes), budget_text(budgets.hi, sizes)
    return low if low == high else f"{low} to {high}"


def crossing_table(folder: str, at: Stamp, metric: str, finding: str) -> pd.DataFrame:
    """Return where the curves of each two recipes that were compared cross, as text."""
    plan = load_plan(folder)
    sizes = load_cells(folder, at).groupby(BUDGET)["n_patients"].median()
    rows = []
    for axis in (axis for axis in compared_axes(plan) if axis != BUDGET):
        table = known_differences(folder, at, axis)
        if not len(table):
            continue
        own = table[(table["metric"] == metric) & (table["finding"] == finding)]
        own = own.assign(n=own[BUDGET].map(sizes), repeats=plan.study.folds or own["seeds"]).sort_values("n")
        others = [name for name in cell_axes(plan) if name not in (BUDGET, axis)]
        for labels, pair in own.groupby([*others, "a", "b"], sort=False):
            if len(pair) > 1:
                rows.append(_crossing_row(cell_title(dict(zip(others, labels))), pair, axis))
    return pd.DataFrame(rows)


def _crossing_row(shared: str, pair: pd.DataFrame, axis: str) -> dict[str, str]:
    bounds, title = _pointwise(pair)
    sizes, deltas = pair["n"].to_numpy(), pair["delta"].to_numpy()
    place = crossing(sizes, deltas, bounds)
    names = {sign: label_title(axis, pair[column].iloc[0]) for sign, column in ((1.0, "a"), (-1.0, "b"))}
    small, large = (names.get(float(np.sign(deltas[end])), "–") for end in (0, -1))
    return {
        "First": " · ".join(filter(None, (shared, names[1.0]))),
        "Second": " · ".join(filter(None, (shared, names[-1.0]))),
        "Crossing (patients)": "no crossing" if np.isnan(place.n) else budget_text(place.n, sizes),
        "No clear difference": "at no budget" if place.lo == place.hi else set_text(place, sizes),
        "Better at small budgets": small,
        "Better at large budgets": large,
        "Method": title,
    }


def compared_macros() -> list[str]:
    """Return the keys of the macro means of the metrics that are compared."""
    return [METRICS[name].macro for name in compared_metrics() if METRICS[name].macro]


def _overview_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["finding"].isin(["", ELIGIBLE]) & frame["metric"].isin(compared_macros())]


def overview_note(frame: pd.DataFrame) -> str:
    """Write what a dash among the standard errors of `overview_table` means; empty where there is none."""
    return f" {CUT_NOTE}" if has_cut_parts(_overview_rows(frame)) else ""


def overview_table(frame: pd.DataFrame, axes: list[str]) -> pd.DataFrame:
    """Return the macro means of the compared metrics of every cell."""
    macros = without_cut_parts(_overview_rows(frame))
    counts = zip(macros["metric"].map(metric_title), macros["finding"], macros["findings"])
    parts = {f"SD ({name})": np.sqrt(macros[part]) for name, part in _PARTS.items() if part in macros}
    table = pd.DataFrame(
        {
            **_axis_columns(macros, axes),
            "Metric": [f"{title}, {count:.0f} eligible findings" if name else title for title, name, count in counts],
            "Mean": macros["mean"],
            interval_title(macros): interval_texts(macros),
            "SD": macros["std"],
            "SE (patients)": macros["patient_error"],
            "SE (seeds)": macros["seed_error"],
            **parts,
            "Runs": macros["n"],
            "Patients": [f"{count:,.0f}" for count in macros["n_patients"]],
            "Note": [_macro_mark(mark) or reason for mark, reason in zip(macros["marks"], macros["reason"])],
        }
    ).reset_index(drop=True)
    if (titles := budget_titles(macros)) is None:
        return table
    return table.drop(columns="Patients").assign(**{axis_title(BUDGET): titles})


def budget_titles(rows: pd.DataFrame) -> list[str] | None:
    """Return the budgets of some rows, ``20`` or ``all (663)``; None where a budget is not the number of patients."""
    if BUDGET not in rows:
        return None
    pairs = [(str(budget), f"{count:.0f}") for budget, count in zip(rows[BUDGET], rows["n_patients"])]
    if any(budget not in (_ALL, count) for budget, count in pairs):
        return None
    return [f"{_ALL} ({count})" if budget == _ALL else budget for budget, count in pairs]


def number_notes(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with numbers of notes beside its intervals, and the notes; without any, without their column.

    A sentence in a cell is cut, below the table it is not.
    """
    texts, shown = list(dict.fromkeys(filter(None, table["Note"]))), table.drop(columns="Note")
    if texts:
        numbers = {text: str(number) for number, text in enumerate(texts, start=1)}
        value = next(place for place, name in enumerate(shown) if name in ("Mean", "Difference"))
        shown.insert(value + 2, "Note", [numbers.get(text, "") for text in table["Note"]])
    return shown, texts


def bottleneck_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return `bottlenecks` with titles, and the interval as one column."""
    shown = without_cut_parts(table).assign(ci=interval_texts(table)).drop(columns=["lo", "hi"])
    axes = [name for name in shown if name not in _BOTTLENECKS]
    named = shown[[name for name in _BOTTLENECKS if name in shown]].rename(columns=_BOTTLENECKS)
    return pd.DataFrame(_axis_columns(shown, axes)).join(named)


def _macro_mark(mark: str) -> str:
    """Write the mark of a macro mean, whose findings are near 1, not itself."""
    text = mark_text(mark)
    return f"a finding {text}" if text.startswith("near 1") else text


def _axis_columns(table: pd.DataFrame, axes: Iterable[str]) -> dict[str, pd.Series]:
    """Return the columns of some axes as people read them, by their titles."""
    return {axis_title(axis): table[axis].map(lambda label, axis=axis: label_title(axis, label)) for axis in axes}


def heat_axis(axes: list[str]) -> str:
    """Return the axis of the columns of a heat map."""
    return "encoder" if "encoder" in axes else axes[-1] if axes else ""


def heat_slices(folder: str, at: Stamp, axes: list[str]) -> list[dict[str, Any]]:
    """Return the labels of the other axes, one mapping a heat map; of budgets the largest alone."""
    frame = load_cells(folder, at)
    others = [axis for axis in axes if axis != heat_axis(axes)]
    values = [list(dict.fromkeys(frame[axis]))[-1 if axis == BUDGET else 0 :] for axis in others]
    return [dict(zip(others, labels)) for labels in itertools.product(*values)]


def heat_tables(
    folder: str, at: Stamp, metric: str, fixed: dict[str, Any], mark_best: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the mean metric by finding and value of the heat axis, the other axes fixed, and which are marked best.

    Last comes why none is marked, empty where one is, or where ``mark_best`` is off.
    """
    frame, axes = load_cells(folder, at), cell_axes(load_plan(folder))
    axis = heat_axis(axes)
    rows = frame[(frame["metric"] == metric) & ~frame["finding"].isin(["", ELIGIBLE])]
    for name, value in fixed.items():
        rows = rows[rows[name] == value]
    rows = rows.assign(column=rows[axis] if axis else "all")
    values = rows.pivot(index="finding", columns="column", values="mean")
    values = values.loc[sort_findings(values.index), list(dict.fromkeys(rows["column"]))]
    marked, note = pd.DataFrame(False, index=values.index, columns=values.columns), ""
    if mark_best:
        chosen = tuple(tuple(str(name if a == axis else fixed[a]) for a in axes) for name in values.columns)
        best = _best(folder, at, chosen, metric)
        for row in best.to_dict("records"):
            if row["marked"] and row["finding"] in marked.index:
                marked.loc[row["finding"], marked.columns[int(row["best"])]] = True
        note = "" if marked.any(axis=None) else _unmarked(best)
    titles = [label_title(axis, name) for name in values.columns]
    return values.set_axis(titles, axis=1), marked.set_axis(titles, axis=1), note


def _unmarked(best: pd.DataFrame) -> str:
    """Say why no value is marked best."""
    if best["p"].notna().any():
        return "No ★: in no finding does one column beat all others."
    return "No ★: these columns cannot be tested against each other."


@cache.remember(max_entries=32, spinner="Comparing the values of each row")
def _best(folder: str, at: Stamp, chosen: tuple[tuple[str, ...], ...], metric: str) -> pd.DataFrame:
    """Return the best of some cells by finding; empty where they cannot be compared."""
    paths, plan = StudyPaths(Path(folder)), load_plan(folder)
    recipes = load_recipes(paths, plan, read_results(paths, plan), only=chosen)
    if any(cell not in recipes for cell in chosen) or len(chosen) < 2:
        return pd.DataFrame(columns=["finding", "best", "p", "p_adjusted", "marked"])
    overlaps = overlaps_of(plan)
    return best_of([recipes[cell] for cell in chosen], metric, max(overlaps[cell] for cell in chosen))


def sort_findings(findings: Iterable[str]) -> list[str]:
    """Return findings in the order that all pages have."""
    names = [name for name in findings if name not in ("", ELIGIBLE)]
    return sorted(names, key=lambda name: FINDINGS.index(name) if name in FINDINGS else len(FINDINGS))
