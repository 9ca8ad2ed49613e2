"""Studies: grids of runs and searches over settings; each is a folder of the run store."""

from __future__ import annotations

import streamlit as st

from ctbench_core.studies import StudyPaths, delete_study, plan_study, studies_in
from ctbench_ui import form
from ctbench_ui.frame import address, readonly
from ctbench_ui.shared import deletion, demo, fragment, linked_ids, newest_data, show_empty, show_errors, show_hint
from ctbench_ui.studies import progress, results_tabs, search, study_form, workers

_KEY, _FORM = "study", "study.form"
_NEW, _NEW_SEARCH = "New study", "New search"  # forms; an address names one as it names a study
_ICONS = {_NEW_SEARCH: ":material/search:", _NEW: ":material/add:"}


def draw() -> None:
    """Draw the page."""
    place = readonly.draw_title("Studies")
    deletion.offer_undo()
    known = {paths.root.name: paths for paths in studies_in(form.outputs_root())}
    linked = linked_ids.read_id("studies", _KEY, [*known, *([] if readonly.is_on() else _ICONS)])
    if not known and readonly.is_on():
        show_hint("No studies yet", "Studies of this run store appear here.")
        return
    has_data = demo.has_data() or form.is_data_changed()
    chosen = _choose(list(known), linked)
    if known or has_data:
        with place, st.container(horizontal=True, vertical_alignment="center", gap="small", width="content"):
            _draw_new(chosen)
            link = st.container(width="content")
    if known:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="study-choice"):
            _draw_choice(list(known))
            if chosen in known and not readonly.is_on():
                _draw_delete(known[chosen])
    if chosen not in known:
        _draw_form(chosen, has_data)
        return
    readonly.offer_link(link)
    if known[chosen].search.is_file():
        search.draw(known[chosen])
    else:
        with st.container():  # what follows keeps its place
            progress.draw(known[chosen])
        fragment(results_tabs.draw, "The results of this study cannot be shown")(str(known[chosen].root))


def _draw_form(kind: str, has_data: bool) -> None:
    """Draw the form of a new study or search, and start it on the click; without data, the way to it."""
    if not has_data:
        show_empty("No data yet", "Choose features and manifests; a study trains on them.", "Choose data", "data")
        newest_data.offer()
        return
    st.header(kind, anchor=False)
    if kind == _NEW and (study := study_form.draw()) is not None:
        with show_errors("The study cannot start"):
            paths = plan_study(study)
            workers.store_field(study_form.WORKERS, paths)
            progress.start(paths)
            _open(paths)
    elif kind == _NEW_SEARCH and (new := search.draw_form()) is not None:
        with show_errors("The search cannot start"):
            _open(search.start(new))


def _choose(known: list[str], linked: str | None) -> str:
    """Return the study or the form to show: the address's, else the last one, else the newest study."""
    state = st.session_state
    if linked:
        state.update({_KEY: linked, _FORM: linked if linked in _ICONS else None})
    if state.get(_FORM) is None and state.get(_KEY) not in known:
        state.update({_KEY: next(iter(known), None), _FORM: None if known else _NEW})
    if state[_FORM]:
        state[_KEY] = None
    chosen = str(state[_FORM] or state[_KEY])
    address.write_ids(_KEY, [chosen])
    return chosen


def _draw_choice(known: list[str]) -> None:
    """Draw the choice of a study; none is chosen while a form is open."""
    st.selectbox(
        "Study",
        known,
        index=None if st.session_state[_FORM] else 0,
        key=_KEY,
        persist_state="session",
        on_change=_show,
        args=(None,),
        placeholder="Results of a study",
        width=420,
        label_visibility="collapsed",
    )


def _draw_new(chosen: str) -> None:
    """Draw the buttons that open the forms; none in a read-only link."""
    for kind, icon in () if readonly.is_on() else _ICONS.items():
        is_first = kind == _NEW and chosen not in _ICONS  # an open form has a first button of its own
        key = kind.lower().replace(" ", "-")
        st.button(kind, icon=icon, key=key, type="primary" if is_first else "secondary", on_click=_show, args=(kind,))


def _show(kind: str | None) -> None:
    """Open a form, or with None the chosen study, by its address."""
    address.write_ids(_KEY, list(filter(None, [kind or st.session_state[_KEY]])))


def _draw_delete(paths: StudyPaths) -> None:
    queued = progress.is_queued(paths)
    hint = "Pause or cancel it first." if queued else "Deletes it with its runs. Can be undone."
    if st.button("Delete", icon=":material/delete:", key="study-delete", disabled=queued, help=hint):
        with show_errors("The study cannot be deleted"):
            deletion.note(f"study {paths.root.name}", [delete_study(form.outputs_root(), paths)])
            address.write_ids(_KEY, [])
            st.rerun()


def _open(paths: StudyPaths) -> None:
    address.write_ids(_KEY, [paths.root.name])
    st.rerun()
