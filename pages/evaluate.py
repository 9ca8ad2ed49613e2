"""Evaluate: evaluate a run on test, and see its results finding by finding."""

from ctbench_ui.evaluate.page import draw

draw()
