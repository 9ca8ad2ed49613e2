"""The journeys of a first, tenth and hundredth day: declared once, walked by the suite and by `benchmarks.journeys`."""

from tests.browser.journeys import first_day, hundredth_day, tenth_day
from tests.browser.journeys.declaration import JOURNEYS, Journey, Scene
from tests.browser.journeys.report import TIMES, counted_cells, stored_cells, update
from tests.browser.journeys.used_store import write_used_store
from tests.browser.journeys.walker import KeyboardWalker, Walker

__all__ = [
    "JOURNEYS",
    "TIMES",
    "Journey",
    "KeyboardWalker",
    "Scene",
    "Walker",
    "counted_cells",
    "first_day",
    "hundredth_day",
    "stored_cells",
    "tenth_day",
    "update",
    "write_used_store",
]
