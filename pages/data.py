"""Data: choose and check a data set, prepare manifests, write budgets, compare label sources."""

from ctbench_ui.data.page import draw

draw()
