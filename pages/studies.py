"""Studies: grids of runs and searches over settings; each is a folder of the run store."""

from ctbench_ui.pages import draw_page

draw_page("studies")
