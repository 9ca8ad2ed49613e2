"""Compare: a baseline and other runs, on the volumes and findings that all of them have scored."""

from ctbench_ui.compare.page import draw

draw()
