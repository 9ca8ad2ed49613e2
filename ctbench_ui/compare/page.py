"""Compare: a baseline and other runs, on the volumes and findings that all of them have scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from ctbench_core.compare import common_sets
from ctbench_core.formatting import plural
from ctbench_core.runs import open_run
from ctbench_ui import form
from ctbench_ui.compare import results, tabs
from ctbench_ui.frame import readonly
from ctbench_ui.shared import draw_tabs, exports, run_picker, show_empty, show_errors

Rows = Mapping[str, Mapping[str, Any]]


def draw() -> None:
    """Draw the page."""
    place = readonly.draw_title("Compare")
    every = run_picker.evaluable(str(form.outputs_root()))
    rows = {key: row for key, row in every.items() if row["tests"] or common_sets([open_run(row["run_dir"])])}
    if len(rows) < 2:
        show_empty(
            "Nothing to compare yet",
            "Evaluate two runs on test, then compare them here.",
            "Evaluate a run",
            "evaluate",
        )
        return
    run_picker.read_compare_link(rows)
    chosen = _pick_runs(rows)
    run_picker.write_compare_link(chosen)
    readonly.offer_link(place, runs=",".join(chosen))
    run_dirs = [rows[run_id]["run_dir"] for run_id in chosen]
    sets = common_sets([open_run(folder) for folder in run_dirs])
    if len(chosen) < 2 or not sets:
        st.info("Choose another run with results on the same test set.", icon=":material/compare:")
        return
    on = (
        st.segmented_control("Test set", sets, default=sets[0], required=True, key=f"compare-on-{'-'.join(sets)}")
        or sets[0]
    )
    _warn_if_stale(rows, chosen, on)
    _comparison(run_dirs, on, _pick_seeds(rows, chosen, on))


def _pick_runs(rows: Rows) -> list[str]:
    """Draw the choice of a baseline and others; return their run ids, the baseline first."""
    names = {run_id: run_picker.title(dict(row)) for run_id, row in rows.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        baseline = st.selectbox(
            "Baseline", list(rows), key="compare.baseline", persist_state="session", format_func=names.__getitem__
        )
        offered = [run_id for run_id in rows if run_id != baseline]
        chosen = [run_id for run_id in st.session_state.get("compare.others", []) if run_id in offered]
        st.session_state["compare.others"] = chosen or offered[:1]
        others = st.multiselect(
            "Other runs",
            offered,
            key="compare.others",
            persist_state="session",
            format_func=names.__getitem__,
            max_selections=run_picker.MOST - 1,
        )
    return [baseline, *others]


def _warn_if_stale(rows: Rows, chosen: list[str], on: str) -> None:
    if stale := [run_picker.title(dict(rows[run_id])) for run_id in chosen if on in rows[run_id]["stale"]]:
        st.warning(
            f"Trained further since the evaluation on {on}: {'; '.join(stale)}. These results are not of the best epoch: "
            "evaluate on test again.",
            icon=":material/update:",
        )


def _pick_seeds(rows: Rows, chosen: list[str], on: str) -> dict[str, list[str]] | None:
    """Draw the choice between runs and recipes; return the runs of each recipe, None where runs are compared."""
    seeds = results.seeds_of([dict(rows[run_id]) for run_id in chosen], rows, on)
    if not seeds:
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        by_recipe = st.toggle(
            "Average over seeds",
            value=True,
            key="compare.by-recipe",
            help="Compares recipes instead of runs. A recipe is all finished runs that differ only in their seed. "
            "Intervals then cover seeds and patients.",
        )
        parts = [
            f"{rows[run_id]['encoder']} · {rows[run_id]['head']}: {plural(len(run_dirs), 'seed')}"
            for run_id, run_dirs in seeds.items()
        ]
        st.caption(" · ".join(parts))
    return seeds if by_recipe else None


@st.fragment
def _comparison(run_dirs: list[str], on: str, seeds: dict[str, list[str]] | None) -> None:
    """Draw the tabs; a click inside reruns them alone.

    Args:
        seeds: where recipes are compared, the runs of each.
    """
    with show_errors("These runs cannot be compared"):
        every = run_dirs if seeds is None else [folder for folders in seeds.values() for folder in folders]
        with st.skeleton(height=420):  # takes some seconds where the runs were never compared
            comparison = results.compare(tuple(every), on, seeds is not None)
        source = tabs.source_of(comparison, on)
        tabs.macro_differences(comparison)
        contents = {
            "Differences": lambda: tabs.differences(comparison, source),
            "Curves": lambda: tabs.curves(comparison, run_dirs, on, source),
            "Disagreements": lambda: tabs.disagreements(comparison, run_dirs, on, source),
            "Settings": lambda: tabs.settings(comparison),
            "Label noise": lambda: tabs.label_noise(comparison, run_dirs, on, source),
            "Published": lambda: tabs.published(comparison, run_dirs),
            "Paper": lambda: exports.draw_paper(comparison["files"](), f"compare-{on}"),
        }
        draw_tabs(contents, "compare-tabs")
