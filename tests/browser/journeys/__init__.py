"""The journeys of a first, tenth and hundredth day: declared once, walked by the suite and by `benchmarks.journeys`."""

from tests.browser.journeys import first_day, hundredth_day, tenth_day
from tests.browser.journeys.declaration import JOURNEYS, Journey, Scene
from tests.browser.journeys.report import TIMES, counted_cells, stored_cells, update
from tests.browser.journeys.used_store import write_used_store
from tests.browser.journeys.walker import KeyboardWalker, Walker

# The order in which they are shown.
for _name in [
    name for module in (first_day, tenth_day, hundredth_day) for name, one in list(JOURNEYS.items()) if one.walk.__module__ == module.__name__
]:
    JOURNEYS[_name] = JOURNEYS.pop(_name)
