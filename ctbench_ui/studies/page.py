"""Studies: grids of runs and searches over settings; each is a folder of the run store."""

from __future__ import annotations

import streamlit as st

from ctbench_core.studies import StudyPaths, delete_study, plan_study, studies_in
from ctbench_ui import form
from ctbench_ui.frame import address, readonly
from ctbench_ui.shared import deletion, demo, fragment, linked_ids, show_empty, show_errors, show_hint
from ctbench_ui.studies import progress, results_tabs, search, study_form, workers

_KEY, _NEW, _NEW_SEARCH = "study", "New study", "New search"


def draw() -> None:
    """Draw the page."""
    place = readonly.draw_title("Studies")
    deletion.offer_undo()
    known = {paths.root.name: paths for paths in studies_in(form.outputs_root())}
    new = [] if readonly.is_on() else [_NEW, _NEW_SEARCH]
    linked = linked_ids.read_id("studies", _KEY, [*known, *new])
    if not known and not new:
        show_hint("No studies yet", "Studies of this run store appear here.")
        return
    has_data = demo.has_data() or form.is_data_changed()
    chosen = _NEW
    if known or has_data:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            chosen = _pick_study([*known, *new], linked)
            if chosen in known and not readonly.is_on():
                _draw_delete(known[chosen])
    if chosen not in known and not has_data:
        text = "Choose features and manifests; a study trains on them."
        show_empty("No data yet", text, "Choose data", "data")
        return
    if chosen not in known:
        _draw_form(chosen)
        return
    readonly.offer_link(place)
    if known[chosen].search.is_file():
        search.draw(known[chosen])
    else:
        with st.container():  # what follows keeps its place
            progress.draw(known[chosen])
        fragment(results_tabs.draw, "The results of this study cannot be shown")(str(known[chosen].root))


def _draw_form(kind: str) -> None:
    """Draw the form of a new study or search, and start it on the click."""
    if kind == _NEW and (study := study_form.draw()) is not None:
        with show_errors("The study cannot start"):
            paths = plan_study(study)
            workers.store_field(study_form.WORKERS, paths)
            progress.start(paths)
            _open(paths)
    elif kind == _NEW_SEARCH and (new := search.draw_form()) is not None:
        with show_errors("The search cannot start"):
            _open(search.start(new))


def _pick_study(names: list[str], linked: str | None) -> str:
    """Draw the choice of a study, which the address names."""
    if linked or st.session_state.get(_KEY) not in names:
        st.session_state[_KEY] = linked or names[0]
    address.write_ids(_KEY, [st.session_state[_KEY]])
    return st.selectbox(
        "Study",
        names,
        key=_KEY,
        persist_state="session",
        on_change=_write_link,
        width=420,
        label_visibility="collapsed",
    )


def _draw_delete(paths: StudyPaths) -> None:
    queued = progress.is_queued(paths)
    hint = "Pause or cancel it first." if queued else "Deletes it with its runs. Can be undone."
    if st.button("Delete", icon=":material/delete:", key="study-delete", disabled=queued, help=hint):
        with show_errors("The study cannot be deleted"):
            deletion.note(f"study {paths.root.name}", [delete_study(form.outputs_root(), paths)])
            address.write_ids(_KEY, [])
            st.rerun()


def _write_link() -> None:
    address.write_ids(_KEY, [st.session_state[_KEY]])


def _open(paths: StudyPaths) -> None:
    address.write_ids(_KEY, [paths.root.name])
    st.rerun()
