"""Messages of a page: errors, warnings, progress, and an empty page with its one button."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ParamSpec

import streamlit as st

from ctbench_core.errors import CtbenchError, explained
from ctbench_core.formatting import plural
from ctbench_core.progress import Progress
from ctbench_ui.frame import readonly
from ctbench_ui.pages import go
from ctbench_ui.shared.text import name_fields

P = ParamSpec("P")

_SHOWN = 5


@contextmanager
def show_errors(title: str) -> Iterator[None]:
    """Show an error of the core, or a file that the system refuses, under a title instead of raising it."""
    try:
        yield
    except (CtbenchError, OSError) as error:
        show_error(title, str(explained(error)))


def fragment(draw: Callable[P, None], title: str, run_every: float | None = None) -> Callable[P, None]:
    """Return a part of a page that redraws itself, and shows an error of the core under a title."""

    @functools.wraps(draw)  # Streamlit tells fragments apart by name
    def guarded(*args: P.args, **options: P.kwargs) -> None:
        with show_errors(title):
            draw(*args, **options)

    return st.fragment(guarded, run_every=run_every)


@contextmanager
def progress_bar(text: str) -> Iterator[Progress]:
    """Show a bar while the block runs; yield the callable that the core reports to."""
    bar = st.progress(0.0, text=text)

    def show(phase: str, done: int, total: int) -> None:
        bar.progress(min(1.0, done / max(1, total)), text=phase.capitalize())

    try:
        yield show
    finally:
        bar.empty()


def show_error(title: str, text: str) -> None:
    """Show one error; its text can be copied, and names fields instead of config keys."""
    st.error(_fenced(name_fields(text)), title=title, icon=":material/error:")


def show_warning(title: str, text: str) -> None:
    """Show one warning, as `show_error` shows an error."""
    st.warning(_fenced(name_fields(text)), title=title, icon=":material/warning:")


def show_warnings(texts: Sequence[str]) -> None:
    """Show the first few warnings as a list."""
    if texts:
        rest = f"\n… and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        st.warning(_fenced(name_fields("\n".join(texts[:_SHOWN]) + rest)), title="Warnings", icon=":material/warning:")


def show_empty(title: str, text: str, button: str, target: str) -> None:
    """Say in one sentence what belongs here, with a button to the page that makes it."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.space("small")
        st.header(title, text_alignment="center", anchor=False)
        st.markdown(text, text_alignment="center")
        if not readonly.is_on() and st.button(button, type="primary", key=f"empty-{target}"):
            go(target)
        st.space("small")


def show_hint(title: str, text: str) -> None:
    """Say what will appear here."""
    with st.container(border=True):
        st.header(title, anchor=False)
        st.markdown(text)


def leak_badge(patients: int | None) -> str:
    """Return the Markdown badge of a test set that shares patients with training; empty without a leak."""
    return f":orange-badge[:material/warning: leak: {plural(patients, 'patient')}]" if patients else ""


def _fenced(text: str) -> str:
    """Keep paths and column names from being read as Markdown, and give them a copy button."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
