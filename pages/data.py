"""Data: choose and check a data set, prepare manifests, write budgets, compare label sources."""

from ctbench_ui.pages import draw_page

draw_page("data")
