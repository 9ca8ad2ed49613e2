"""Runs: the queue, and every run of the store, one by one, by recipe or by label budget."""

from ctbench_ui.pages import draw_page

draw_page("runs")
