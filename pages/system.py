"""System: doctor, versions, machine, folders, and diagnostics for a problem report."""

from ctbench_ui.system.page import draw

draw()
