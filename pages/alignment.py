"""Alignment: how well each volume retrieves its report, and each report its volume."""

from ctbench_ui.pages import draw_page

draw_page("alignment")
