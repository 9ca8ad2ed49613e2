"""Data: choose features and manifests, check them, keep the choice under a name; make manifests from tables, and budgets of them; compare label sources."""

from ctbench_ui.data.page import draw

draw()
