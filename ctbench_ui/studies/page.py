"""Studies: hundreds of runs as one click, and searches over settings; each is a folder of the run store."""

from __future__ import annotations

import streamlit as st

from ctbench_core.studies import StudyPaths, plan_study, studies_in
from ctbench_ui import form
from ctbench_ui.shared import demo, feedback
from ctbench_ui.studies import build, progress, results, search_results

_KEY, _NEW, _NEW_SEARCH = "study", "New study", "New search"


def draw() -> None:
    """Draw the page."""
    st.title("Studies", anchor=False)
    if not demo.has_data() and not form.data_chosen():
        feedback.empty("No data yet", "Choose features and manifests; a study trains on them.", "Choose data", "data")
        st.stop()
    known = {paths.root.name: paths for paths in studies_in(form.outputs_root())}
    names = [*known, _NEW, _NEW_SEARCH]
    asked = st.query_params.get(_KEY)
    if asked in names:
        st.session_state[_KEY] = asked
    elif st.session_state.get(_KEY) not in names:
        st.session_state[_KEY] = names[0]
    chosen = st.selectbox(
        "Study",
        names,
        key=_KEY,
        persist_state="session",
        on_change=_into_the_link,
        width=420,
        label_visibility="collapsed",
    )
    if chosen == _NEW:
        if (study := build.draw()) is not None:
            with feedback.guarded("The study cannot start"):
                planned = plan_study(study)
                progress.start(planned)
                _show(planned)
    elif chosen == _NEW_SEARCH:
        if (search := search_results.build()) is not None:
            with feedback.guarded("The search cannot start"):
                _show(search_results.start(search))
    elif known[chosen].search.is_file():
        search_results.draw(known[chosen])
    else:
        progress.draw(known[chosen])
        with feedback.guarded("The results of this study cannot be shown"):
            st.fragment(results.draw)(str(known[chosen].root))


def _into_the_link() -> None:
    st.query_params[_KEY] = st.session_state[_KEY]


def _show(paths: StudyPaths) -> None:
    st.query_params[_KEY] = paths.root.name
    st.rerun()
