"""Evaluate: evaluate a run on test, and see its results finding by finding."""

from ctbench_ui.pages import draw_page

draw_page("evaluate")
