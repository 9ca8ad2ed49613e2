"""Train: set up one run, start it, watch it."""

from ctbench_ui.train.page import draw

draw()
