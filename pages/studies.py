"""Studies: hundreds of runs as one click, and searches over settings; each is a folder of the run store."""

from __future__ import annotations

import streamlit as st

from ctbench_core.studies import StudyPaths, plan_study
from ctbench_core.studies.overview import studies_in
from ctbench_ui import demo, feedback, form, search_view, study_build, study_progress, study_results

_KEY, _NEW, _NEW_SEARCH = "study", "New study", "New search"

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


def _into_the_link() -> None:
    st.query_params[_KEY] = st.session_state[_KEY]


chosen = st.selectbox(
    "Study", names, key=_KEY, persist_state="session", on_change=_into_the_link, width=420, label_visibility="collapsed"
)


def _show(paths: StudyPaths) -> None:
    st.query_params[_KEY] = paths.root.name
    st.rerun()


if chosen == _NEW:
    if (study := study_build.draw()) is not None:
        with feedback.guarded("The study cannot start"):
            planned = plan_study(study)
            study_progress.start(planned)
            _show(planned)
elif chosen == _NEW_SEARCH:
    if (search := search_view.build()) is not None:
        with feedback.guarded("The search cannot start"):
            _show(search_view.start(search))
elif known[chosen].search.is_file():
    search_view.draw(known[chosen])
else:
    study_progress.draw(known[chosen])
    with feedback.guarded("The results of this study cannot be shown"):
        st.fragment(study_results.draw)(str(known[chosen].root))
