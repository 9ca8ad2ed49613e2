"""Alignment: how well each volume retrieves its report, and each report its volume."""

from ctbench_ui.alignment.page import draw

draw()
