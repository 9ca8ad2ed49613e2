"""Home: where one stands, the best runs so far, and the way in for a newcomer."""

from ctbench_ui.home.page import draw

draw()
