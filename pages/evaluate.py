"""Evaluate: open a test set for a run, and look at it finding by finding."""

from ctbench_ui.evaluate.page import draw

draw()
