"""Home: three steps with their state, the best runs, and demo data for a start."""

from ctbench_ui.pages import draw_page

draw_page("home")
