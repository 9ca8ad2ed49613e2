"""The frame of every page: navigation on the left, on top the status bar or the bar of a read-only link."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from ctbench_ui.frame import address, loading, readonly, scripts, sign_in
from ctbench_ui.pages import declaration, groups

_STYLE = """<style>
[data-testid=stHeader] {height: 2.5rem; min-height: 0; background: transparent}
[data-testid=stHeader], [data-testid=stHeader] div {pointer-events: none}
[data-testid=stHeader] :is(button, a) {pointer-events: auto}
[data-testid=stMainBlockContainer] {padding: .6rem clamp(1rem, 3vw, 3rem) 3rem}
.stApp:has([data-testid=stExpandSidebarButton]) [data-testid=stMainBlockContainer] {padding-top: 2.6rem}
.st-key-top {min-height: 1.7rem}
.st-key-strip {padding-right: 1.5rem}
@media (max-width: 640px) {
  .st-key-strip [data-testid=stHorizontalBlock] {gap: 0 1rem}
  .st-key-strip [data-testid=stColumn] {flex: 0 1 auto; min-width: 0; width: auto}
  [data-testid=stButtonGroup] [role=radiogroup] {flex-wrap: wrap}
}
[data-testid=stHeading] :is(h1, h2) {padding: .3rem 0 .5rem}
[data-testid=stCaptionContainer], [data-testid=stMarkdownContainer] blockquote {opacity: .75}
[data-testid=stMarkdownContainer] blockquote p {color: inherit}
[role=tab][aria-selected=true], [data-variant=segmented_control][data-selected=true], [data-variant=pills][data-selected=true],
[data-testid=stSliderThumbValue] {color: inherit !important}
.ctbench-picture {background: none; border: none; color: inherit; font: inherit; font-size: .875rem; padding: .4rem .5rem; cursor: pointer}
.ctbench-picture:hover {text-decoration: underline}
[data-testid=stPlotlyChart] :is(.xtick, .ytick, .x2tick, .y2tick) text, [data-testid=stPlotlyChart] :is(.xtitle, .ytitle, .x2title, .y2title, .colorbar text, .annotation-text) {
  fill: currentColor !important; fill-opacity: .8 !important
}
[data-testid=stAlert] pre code {white-space: pre-wrap !important; overflow-wrap: anywhere}
[data-testid=stAlert] :is(pre, [data-testid=stCode]) {border: none !important; padding: 0 !important}
@media (prefers-reduced-motion: reduce) {
  *, ::before, ::after {animation-duration: 1ms !important; animation-delay: 0s !important; transition-duration: 1ms !important; scroll-behavior: auto !important}
}
</style>"""


def _draw_status_bar() -> None:
    # Imported after the page's outline is drawn: on a server's first visit it takes half a second.
    from ctbench_ui import form
    from ctbench_ui.frame import status_bar

    form.restore()
    status_bar.draw()


st.set_page_config(
    page_title="ctbench", page_icon=str(Path(__file__).with_name("icon.png")), layout="wide", initial_sidebar_state=220
)
st.html(_STYLE)
if sign_in.refuse():
    st.navigation(groups(), position="hidden")
    st.stop()
is_readonly = readonly.read_link()
page = st.navigation(groups(readonly.names()) if is_readonly else groups())
sign_in.draw()
shown = declaration(page)
address.enter(shown)
top = st.container(key="top")
refused = is_readonly and readonly.refuse(shown)
if not refused:
    loading.draw_outline(shown)
with top:
    if is_readonly:
        readonly.draw_bar()
    else:
        _draw_status_bar()
    notes = st.container()
    scripts.draw()
try:
    if not refused:
        page.run()
finally:  # a page may end early
    with notes:
        address.draw_notes()
