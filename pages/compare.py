"""Compare: a baseline and other runs, on the volumes and findings that all of them have scored."""

from ctbench_ui.pages import draw_page

draw_page("compare")
