"""Train: configure one run, start it, watch it."""

from ctbench_ui.train.page import draw

draw()
