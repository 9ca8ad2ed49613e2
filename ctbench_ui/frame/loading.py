"""The outline of a page until its first part is drawn: a server's first visit to a page takes a second of imports.

The outline is one element before the page, hidden by style as soon as anything follows it, so that nothing is cleared or
moved. Later visits draw the title at once, and their outline would come after it: the browser loads it on demand.
"""

from __future__ import annotations

import streamlit as st

from ctbench_ui.pages import Page, Row

_NARROW = 640  # pixels: in narrower windows parts are stacked, as columns are
_DELAY_S = 0.15  # a page that is drawn at once shows no outline
# The status bar (its minimal height is in page_style.py) and its gap; before it is drawn, the outline is the first element.
_BAR = "2.7rem"
_STYLE = f"""<style>
[data-testid=stElementContainer]:has(.ctbench-outline):not(:last-child) {{display: none}}
[data-testid=stElementContainer]:has(.ctbench-outline):first-child {{margin-top: {_BAR}}}
.ctbench-outline {{opacity: 0; animation: ctbench-outline .3s {_DELAY_S}s forwards}}
.ctbench-outline div {{display: flex; gap: 1rem; margin-bottom: 1rem}}
.ctbench-outline i {{background: currentColor; opacity: .08; border-radius: .35rem}}
@keyframes ctbench-outline {{to {{opacity: 1}}}}
@media (max-width: {_NARROW}px) {{.ctbench-outline div {{flex-direction: column}} .ctbench-outline i {{flex: none !important}}}}
</style>"""


_visited: set[str] = set()  # by this server


def draw_outline(page: Page) -> None:
    """Draw the outline of a page that this server has not drawn yet; only the page itself may follow it."""
    slot = st.empty()  # always drawn, so that no part of the page changes its place
    if page.name in _visited:
        return
    _visited.add(page.name)
    rows = "".join(map(_row, page.outline))
    title = '<div><i style="width: 9rem; height: 2.3rem"></i></div>'
    slot.html(f'{_STYLE}<div class="ctbench-outline" aria-hidden="true">{title}{rows}</div>')


def _row(row: Row) -> str:
    shares, height = row
    parts = "".join(f'<i style="flex: {share}; height: {height}px"></i>' for share in shares)
    return f"<div>{parts}</div>"
