"""System: versions, machine, folders, and the diagnostics to send along with a question."""

from ctbench_ui.system.page import draw

draw()
