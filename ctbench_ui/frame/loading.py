"""The outline of a page until its first part comes: a page's first visit to a server takes a second of imports.

One element ahead of the page, which hides itself by style as soon as anything follows it: the page clears nothing and
moves nothing. Later visits find the imports done and the title at once; their outline would come after it, since a
browser loads what draws it on demand. What a page works out between its parts is held open by `st.skeleton`.
"""

from __future__ import annotations

import streamlit as st

# page: rows of its outline under the title, each the shares of its parts and their height in pixels
_FIELD, _TABS, _TALL = 40, 28, 380
_LAYOUTS: dict[str, list[tuple[tuple[int, ...], int]]] = {
    "evaluate": [((3, 2), _FIELD), ((1, 1, 1, 1), 84), ((1,), _TABS), ((1,), _TALL)],
    "compare": [((1, 1), _FIELD), ((1,), _TABS), ((1,), _TALL)],
    "alignment": [((1, 1, 1, 1), _FIELD), ((1,), _FIELD), ((1,), _TABS), ((1, 1), _TALL)],
    "studies": [((2, 3), _FIELD), ((1,), _TABS), ((1, 1), _TALL)],
    "train": [((1, 1, 1), _TALL)],
    "runs": [((1,), 84), ((1,), _TALL)],
    "data": [((2, 3), _TALL)],
    "system": [((1, 1, 1, 1), 84), ((1, 1), _TALL)],
    "": [((1, 1, 1), 84), ((3, 1), _TALL)],
}
_NARROW = 640  # pixels: below, parts lie on one another, as columns do
_DELAY_S = 0.15  # a page that is there at once shows no outline
_STRIP = "2.7rem"  # the strip above (its least height is in main.py) and its gap; until it comes, an outline is the first thing of the page
_STYLE = f"""<style>
[data-testid=stElementContainer]:has(.ctbench-outline):not(:last-child) {{display: none}}
[data-testid=stElementContainer]:has(.ctbench-outline):first-child {{margin-top: {_STRIP}}}
.ctbench-outline {{opacity: 0; animation: ctbench-outline .3s {_DELAY_S}s forwards}}
.ctbench-outline div {{display: flex; gap: 1rem; margin-bottom: 1rem}}
.ctbench-outline i {{background: currentColor; opacity: .08; border-radius: .35rem}}
@keyframes ctbench-outline {{to {{opacity: 1}}}}
@media (max-width: {_NARROW}px) {{.ctbench-outline div {{flex-direction: column}} .ctbench-outline i {{flex: none !important}}}}
</style>"""


_visited: set[str] = set()  # by this server


def draw(address: str) -> None:
    """Draw the outline of a page that this server has not drawn yet; nothing may follow it but the page itself."""
    slot = st.empty()  # always there, so that no part of the page changes its place
    if address in _visited:
        return
    _visited.add(address)
    rows = "".join(map(_row, _LAYOUTS[address]))
    title = '<div><i style="width: 9rem; height: 2.3rem"></i></div>'
    slot.html(f'{_STYLE}<div class="ctbench-outline" aria-hidden="true">{title}{rows}</div>')


def _row(row: tuple[tuple[int, ...], int]) -> str:
    shares, height = row
    parts = "".join(f'<i style="flex: {share}; height: {height}px"></i>' for share in shares)
    return f"<div>{parts}</div>"
