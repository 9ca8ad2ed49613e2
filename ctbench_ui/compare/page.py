"""Compare: a baseline and other runs, on the volumes and findings that all of them have scored."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import streamlit as st

from ctbench_core.compare import (
    are_repeats,
    can_compare,
    common_sets,
    default_runs,
    recipes_of,
    repeats_on,
    repeats_without,
    seeds_text,
)
from ctbench_core.formatting import format_metric, plural
from ctbench_core.runs import open_run
from ctbench_ui import form
from ctbench_ui.compare import published, results, tabs
from ctbench_ui.frame import address, readonly
from ctbench_ui.shared import as_text, draw_tabs, exports, linked_ids, run_picker, show_empty, show_errors

Rows = Mapping[str, Mapping[str, Any]]
_RUNS, _ON = "runs", "on"  # query parameters
_BASELINE, _OTHERS = "compare.baseline", "compare.others"
_LISTED = 3  # runs that a sentence names


def draw() -> None:
    """Draw the page."""
    header = st.container(horizontal=True, vertical_alignment="center", key="compare-head")
    header.title("Compare", anchor=False, width="content")
    stored = run_picker.stored_rows(str(form.outputs_root()))
    rows = {key: row for key, row in stored.items() if can_compare(row)}
    linked = linked_ids.read_ids("compare", _RUNS, rows, stored)
    if len(rows) < 2:
        show_empty(
            "Nothing to compare yet",
            "Evaluate two runs on test, then compare them here.",
            "Evaluate a run",
            "evaluate",
        )
        return
    chosen = _read_choice(rows, linked)
    run_dirs = [rows[run_id]["run_dir"] for run_id in chosen]
    choice = st.container()  # drawn when it is known over which seeds each recipe is averaged
    if len(chosen) < 2:
        _pick_runs(choice, rows, {})
        _draw_nothing_chosen(rows, chosen[0])
        return
    sets = common_sets([open_run(folder) for folder in run_dirs])
    if not sets:
        _pick_runs(choice, rows, {})
        st.info("Choose another run with results on the same test set.", icon=":material/compare:")
        return
    with header:
        on = run_picker.pick_test("compare", _ON, "-".join(chosen), list(sets), label_visibility="collapsed")
        place = st.container(horizontal_alignment="right")
    readonly.offer_link(place)
    with st.container():  # what follows keeps its place
        _warn_if_stale(rows, dict(zip(chosen, sets[on])), on)
        seeds, titles = _pick_seeds(rows, stored, chosen, on)
    _pick_runs(choice, rows, titles)
    names = {row["run_dir"]: row["name"] for row in stored.values()}
    _comparison(run_dirs, names, on, seeds)


def _read_choice(rows: Rows, linked: Sequence[str]) -> list[str]:
    """Return the ids of the baseline and others as the fields will have them, the baseline first; others may be empty.

    Args:
        linked: the ids in the address, which win over what was chosen before.
    """
    state = st.session_state
    baseline, *others = linked or [str(state.get(_BASELINE)), *state.get(_OTHERS, [])]
    known = [run_id for run_id in others if run_id in rows and run_id != baseline]
    is_emptied = baseline in rows and not others  # on a first visit no baseline is known either
    if baseline not in rows:
        baseline = default_runs(list(rows.values()))[0]
    if not known and not is_emptied:
        known = [_best_other(rows, baseline)]
    state[_BASELINE] = baseline
    state[_OTHERS] = [run_id for run_id in known if run_id != baseline][: run_picker.MOST - 1]
    chosen = [baseline, *state[_OTHERS]]
    address.write_ids(_RUNS, chosen)
    return chosen


def _best_other(rows: Rows, baseline: str) -> str:
    """Return the id of the run that a baseline is compared with where none is chosen."""
    return [run_id for run_id in default_runs(list(rows.values())) if run_id != baseline][-1]


def _draw_nothing_chosen(rows: Rows, baseline: str) -> None:
    """Say that no other run is chosen, and offer the best one."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("No other run is chosen: choose one above.", width="content")
        st.button(
            "Compare with the best other run", key="compare-choose", on_click=_choose_best_other, args=(rows, baseline)
        )


def _choose_best_other(rows: Rows, baseline: str) -> None:
    st.session_state[_OTHERS] = [_best_other(rows, baseline)]
    _write_link()


def _pick_runs(place: Any, rows: Rows, titles: Mapping[str, str]) -> None:
    """Draw the choice of a baseline and others.

    Args:
        titles: by run id, of the runs that stand for their recipes.
    """
    state, own = st.session_state, run_picker.titles(rows)
    keep: dict[str, Any] = {
        "persist_state": "session",
        "format_func": lambda run_id: titles.get(run_id) or own(run_id),
        "on_change": _write_link,
    }
    with place.container(horizontal=True, vertical_alignment="top", key="compare-runs"):
        offered = run_picker.offer(rows, "compare.find", [state[_BASELINE], *state[_OTHERS]])
        st.selectbox("Baseline", offered, key=_BASELINE, **keep)
        offered = [run_id for run_id in offered if run_id != state[_BASELINE]]
        st.multiselect("Other runs", offered, key=_OTHERS, max_selections=run_picker.MOST - 1, **keep)


def _write_link() -> None:
    baseline = st.session_state[_BASELINE]
    address.write_ids(_RUNS, [baseline, *(run_id for run_id in st.session_state[_OTHERS] if run_id != baseline)])
    address.write_ids(_ON, [])  # other runs may not have it


def _warn_if_stale(rows: Rows, chosen: Mapping[str, str], on: str) -> None:
    """Warn of runs that were trained further since; ``chosen`` has each run's own name of the set."""
    if stale := [rows[run_id]["name"] for run_id, name in chosen.items() if name in rows[run_id]["stale"]]:
        st.warning(
            f"Trained further since the evaluation on {as_text(on)}: {as_text('; '.join(stale))}. These results are not of the best epoch: "
            "evaluate on test again.",
            icon=":material/update:",
        )


def _pick_seeds(
    rows: Rows, stored: Rows, chosen: list[str], on: str
) -> tuple[dict[str, list[str]] | None, dict[str, str]]:
    """Draw the choice between runs and recipes, and which repeats have no results.

    Returns:
        The runs of each recipe, by the run id that stands for it, and how the fields write each; None and nothing where
        runs are compared.
    """
    baseline, *others = runs = [rows[run_id] for run_id in chosen]
    if all(are_repeats(baseline, other) for other in others):
        st.caption(
            f"{'Both' if len(runs) == 2 else 'All'} runs are of one recipe: they differ in their seed or fold alone."
        )
        return None, {}
    seeds = repeats_on(runs, rows.values(), on)
    averaged = {}
    if seeds:
        by_dir = {row["run_dir"]: row for row in rows.values()}
        names = recipes_of([open_run(row["run_dir"]) for row in runs])
        averaged = {
            run_id: (name, [by_dir[folder] for folder in folders])
            for name, (run_id, folders) in zip(names, seeds.items())
        }
    with st.container(horizontal=True, vertical_alignment="center"):  # one line, so that the tabs begin high
        if averaged and not _is_averaged(averaged):
            return None, {}
        if missing := [row["name"] for row in repeats_without(runs, stored.values(), on)]:
            more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
            text = f"Not compared, without results on {on}: {', '.join(missing[:_LISTED])}{more}."
            st.caption(as_text(text), width="stretch")
    return seeds, {run_id: _recipe_title(*one) for run_id, one in averaged.items()}


def _is_averaged(recipes: Mapping[str, tuple[str, Sequence[Mapping[str, Any]]]]) -> bool:
    """Draw the switch between runs and recipes, each given by its name and the rows of its runs."""
    parts = [f"{name}: {seeds_text(row['seed'] for row in rows)}" for name, rows in recipes.values()]
    *counts, last = (len(rows) for _, rows in recipes.values())
    return st.toggle(
        f"Average over seeds ({', '.join(map(str, counts))} and {plural(last, 'run')})",
        value=True,
        **address.bound("compare.by-recipe"),
        help="Compares recipes instead of runs. A recipe is all finished runs that differ only in their seed. "
        f"Intervals then cover seeds and patients. {as_text('; '.join(parts))}.",
    )


def _recipe_title(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a recipe as an option of the fields: the seeds that are averaged, and the mean of their metric.

    It is short, since the field of the baseline has one line on a phone. Its name has its encoder where recipes differ in it.
    """
    values = [row["val_auprc"] for row in rows if row["val_auprc"] is not None]
    metric = format_metric(fmean(values) if values else None)
    return f"{name}, {seeds_text(row['seed'] for row in rows)} · val. AUPRC {metric}"


@st.fragment
def _comparison(run_dirs: list[str], names: Mapping[str, str], on: str, seeds: dict[str, list[str]] | None) -> None:
    """Draw the tabs; a click inside reruns them alone.

    Args:
        names: of the runs in the store, by directory.
        seeds: where recipes are compared, the runs of each.
    """
    every = run_dirs if seeds is None else [folder for folders in seeds.values() for folder in folders]
    run_picker.redraw_if_deleted(every)
    key = tuple(every), tuple(names[folder] for folder in every), on, seeds is not None
    with show_errors("These runs cannot be compared"):
        matched = results.read_matched(*key)
        source = tabs.source_of(matched, on)

        # Recipes have no curves of their own: one run of each is drawn, under its own name.
        drawn = {} if seeds is None else {"names": [names[folder] for folder in run_dirs]}

        @functools.cache
        def compared() -> dict[str, Any]:  # only for a tab that shows statistics: they take some seconds at first
            with st.skeleton(height=420):
                return matched | results.compare(*key, tabs.margin(), tabs.swaps())

        contents = {
            "Differences": lambda: tabs.differences(compared(), source),
            "Curves": lambda: tabs.curves(matched | drawn, run_dirs, on, source),
            "Disagreements": lambda: tabs.disagreements(matched | drawn, run_dirs, on, source),
            "Settings": lambda: tabs.settings(matched),
            "Label noise": lambda: tabs.label_noise(matched | drawn, run_dirs, on, source),
            "Published": lambda: published.tab(compared(), run_dirs, on),
            "Paper": lambda: exports.draw_paper(
                compared()["files"](), f"compare-{on}", lambda: tabs.figures_of(compared() | drawn, run_dirs), source
            ),
        }
        draw_tabs(
            {title: functools.partial(tabs.noted, draw, matched) for title, draw in contents.items()}, "compare-tabs"
        )
