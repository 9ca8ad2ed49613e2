"""What an address asks for, and what it keeps: the values of tabs and filters, and ids (`shared/linked_ids.py` reads them).

Streamlit drops a value that a widget cannot have without a word; `bound` reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from ctbench_ui.frame import readonly
from ctbench_ui.pages import PAGES, Page

_PAGE, _OPENED, _ASKED, _NOTES = "address.page", "address.opened", "address.asked", "address.notes"
SEPARATOR = ","
_LISTED = 8  # known values that a note lists


def enter(page: Page) -> None:
    """Note what the address asks for when a page is opened; a parameter that no page has is reported.

    One of another page is passed over: Streamlit writes the address before the page changes, and the browser's Back
    leads there if another click came between (`one_step_back.js`).
    """
    st.session_state[_OPENED] = st.session_state.get(_PAGE) != page.name
    if not is_opened():
        return
    _write_present_names(page)
    asked = {name: st.query_params.get_all(name) for name in st.query_params if name != readonly.PARAMETER}
    unknown = ", ".join(sorted(set(asked).difference(page.parameters, *(other.parameters for other in PAGES.values()))))
    note = f"The page {page.title} has no {unknown}; this part of the address is ignored."
    st.session_state.update({_PAGE: page.name, _ASKED: asked, _NOTES: [note] if unknown else []})


def _write_present_names(page: Page) -> None:
    """Write values of an older address by what they are called now, before widgets read them."""
    is_older = False
    for name, names in page.renamed.items():
        known = {old.casefold(): new for old, new in names.items()}
        values = st.query_params.get_all(name)
        present = [known.get(value.casefold(), value) for value in values]
        if present != values:
            st.query_params[name], is_older = present, True
    if is_older:
        let_widgets_read()


def let_widgets_read() -> None:
    """Let widgets that are not drawn yet begin with what has been written into the address."""
    if (context := get_script_run_ctx()) is not None:
        with context.session_state.query_params() as parameters:
            parameters.set_initial_query_params_from_current()


def is_opened() -> bool:
    """Whether the page has just been opened: an address without an id then means what was shown last."""
    return bool(st.session_state.get(_OPENED))


def draw_notes() -> None:
    """Draw what the address asked for in vain, until it is closed or another page is opened."""
    if notes := st.session_state.get(_NOTES):
        with st.container(horizontal=True, vertical_alignment="center", key="address-notes"):
            st.warning("```text\n" + "\n".join(notes).replace("`", "'") + "\n```", icon=":material/link_off:")
            st.button("Close", key="address-close", type="tertiary", on_click=st.session_state.pop, args=(_NOTES, None))


def bound(key: str, options: Iterable[Any] | None = None, title: Callable[[Any], str] = str) -> dict[str, Any]:
    """Return what keeps a widget's value in the address: its key, and the binding.

    Args:
        key: the widget's key, which a page declares as a filter or as tabs.
        options: the values to choose from; None where any value may be typed.
        title: how the widget writes an option, its ``format_func``.
    """
    if not any(key in page.parameters for page in PAGES.values()):
        raise ValueError(f"{key} is in no address: declare it in ctbench_ui/pages.py")
    asked = st.session_state.get(_ASKED, {}).pop(key, [])
    known = None if options is None else [title(option) for option in options]
    lost = [value for value in asked if known is not None and value.casefold() not in map(str.casefold, known)]
    if known and lost:
        more = ", …" if len(known) > _LISTED else ""
        st.session_state.setdefault(_NOTES, []).append(
            f"{key}={', '.join(lost)} is unknown. Known: {', '.join(known[:_LISTED])}{more}."
        )
    return {"key": key, "bind": "query-params"}


def write_ids(parameter: str, ids: Sequence[str]) -> None:
    """Put ids into the address; without any, remove their parameter."""
    text = SEPARATOR.join(ids)
    if text == st.query_params.get(parameter, ""):
        return
    _read_bound()
    if not text:
        st.query_params.pop(parameter, None)
    else:
        st.query_params[parameter] = text


def keep(values: Mapping[str, str]) -> None:
    """Keep values in the address whose widgets are not drawn now, by their keys; an empty one is removed.

    Streamlit takes the value of a widget that is not drawn out of the address.
    """
    if (context := get_script_run_ctx()) is None:
        return
    with context.session_state.query_params() as known:
        for key in values:
            if binding := known.get_binding_for_param(key):
                known.unbind_widget(binding.widget_id)
    for key, value in values.items():
        write_ids(key, [value] if value else [])


def _read_bound() -> None:
    """Read bound parameters from the browser, which changes them by itself: a write sends all that the server knows."""
    context, in_browser = get_script_run_ctx(), _in_browser()
    if context is None:
        return
    bound_keys = {key for page in PAGES.values() for key in (*page.tabs, *page.filters)}
    with context.session_state.query_params() as known:
        for key in bound_keys & set(in_browser):
            known.set_with_no_forward_msg(key, in_browser[key])


def _in_browser() -> dict[str, list[str]]:
    """Return the parameters of the address as the browser sent them; the server may have left out bound ones."""
    context = get_script_run_ctx()
    return parse_qs(context.query_string, keep_blank_values=True) if context else {}


def linked_tab(key: str, titles: Sequence[str]) -> str | None:
    """Return the tab that the address names, in whatever letters; None without one."""
    asked = linked_value(key).casefold()
    return next((title for title in titles if title.casefold() == asked), None)


def linked_value(key: str) -> str:
    """Return the value that the address holds for a key, also of a widget that is not drawn; empty without one."""
    return next(iter(_in_browser().get(key, [])), "")
