"""Train: configure one run, start it, watch it."""

from ctbench_ui.pages import draw_page

draw_page("train")
