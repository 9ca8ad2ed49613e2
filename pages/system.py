"""System: doctor, versions, machine, folders, and diagnostics for a problem report."""

from ctbench_ui.pages import draw_page

draw_page("system")
