"""Compare: a baseline and other runs on the volumes and findings that all have scored."""

from __future__ import annotations

import streamlit as st

from ctbench_core.compare import tests_of
from ctbench_core.formatting import plural
from ctbench_core.runs import open_run
from ctbench_ui import form
from ctbench_ui.compare import results, tabs
from ctbench_ui.frame import readonly
from ctbench_ui.shared import compare_link, feedback, run_picker


def draw() -> None:
    """Draw the page."""
    place = readonly.head("Compare")
    rows = run_picker.evaluable(str(form.outputs_root()))
    rows = {run_id: row for run_id, row in rows.items() if row["tests"] or tests_of([open_run(row["run_dir"])])}
    if len(rows) < 2:
        feedback.empty(
            "Two scored runs make a comparison",
            "Open a test set for two runs; then they can be compared.",
            "Evaluate a run",
            "evaluate",
        )
        st.stop()
    compare_link.take_link(rows)
    names = {run_id: run_picker.title(row) for run_id, row in rows.items()}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        baseline = st.selectbox(
            "Baseline", list(rows), key="compare.baseline", persist_state="session", format_func=names.__getitem__
        )
        left = [run_id for run_id in rows if run_id != baseline]
        kept = [run_id for run_id in st.session_state.get("compare.others", left[:1]) if run_id in left]
        st.session_state["compare.others"] = kept or left[:1]
        others = st.multiselect(
            "Others",
            left,
            key="compare.others",
            persist_state="session",
            format_func=names.__getitem__,
            max_selections=5,
        )
    compare_link.keep_link([baseline, *others])
    readonly.offer(place, runs=",".join([baseline, *others]))
    run_dirs = [rows[run_id]["run_dir"] for run_id in (baseline, *others)]
    shared = tests_of([open_run(folder) for folder in run_dirs])
    if not others or not shared:
        st.info("Choose another run that has opened the same test set.", icon=":material/compare:")
        st.stop()
    on = st.segmented_control(
        "Compared on", shared, default=shared[0], required=True, key=f"compare-on-{'-'.join(shared)}"
    )
    on = on or shared[0]
    if old := [names[run_id] for run_id in (baseline, *others) if on in rows[run_id]["stale"]]:
        st.warning(
            f"Trained on since {on} was opened, so these figures are of an earlier epoch than their best one now: "
            f"{'; '.join(old)}. Evaluate opens the test set again.",
            icon=":material/update:",
        )
    by_recipe = False
    with st.container(horizontal=True, vertical_alignment="center"):
        seeds = results.seeds_of([rows[run_id] for run_id in (baseline, *others)], rows, on)
        if seeds:
            by_recipe = st.toggle(
                "Average over seeds",
                value=True,
                key="compare.by-recipe",
                help="Compare recipes in place of runs: every finished run that differs from a chosen one in its seed alone, "
                "and was scored on this set, counts. Intervals then run over seeds and patients.",
            )
            st.caption(
                " · ".join(
                    f"{rows[run_id]['encoder']} · {rows[run_id]['head']}: {plural(len(dirs), 'seed')}"
                    for run_id, dirs in seeds.items()
                )
            )
    look(run_dirs, on, seeds if by_recipe else None)


@st.fragment
def look(run_dirs: list[str], on: str, seeds: dict[str, list[str]] | None) -> None:
    """Draw the tabs; a click inside reruns them alone.

    Args:
        seeds: where recipes are compared, the runs of each.
    """
    with feedback.guarded("These runs cannot be compared"):
        every = run_dirs if seeds is None else [folder for folders in seeds.values() for folder in folders]
        with st.skeleton(height=420):  # some seconds where the runs were never compared
            found = results.compared(tuple(every), on, seeds is not None)
        about = tabs.source(found, on)
        tabs.head(found)
        contents = {
            "Differences": lambda: tabs.differences(found, about),
            "Curves": lambda: tabs.overlaid(found, run_dirs, on, about),
            "Disagreements": lambda: tabs.disagreements(found, run_dirs, on, about),
            "Settings": lambda: tabs.settings(found),
            "Label noise": lambda: tabs.label_noise(found, run_dirs, on, about),
            "Published": lambda: tabs.published(found, run_dirs),
            "Paper": lambda: tabs.paper(found, on),
        }
        for tab, draw in zip(st.tabs(list(contents), key="compare-tabs", on_change="rerun"), contents.values()):
            if tab.open:
                with tab:
                    draw()
