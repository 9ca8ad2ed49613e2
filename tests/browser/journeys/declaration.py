"""What a journey is: who wants what, the steps, the run store it begins with, and the function that walks it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from tests.browser.app_server import AppServer
from tests.browser.journeys.walker import Walker

Day = Literal["first", "tenth", "hundredth"]
DAYS: tuple[Day, ...] = get_args(Day)
# A run store without runs; the used one, which is only read; a copy of the used one.
Store = Literal["empty", "used", "copy"]


@dataclass(frozen=True)
class Scene:
    """What a walk may use.

    Attributes:
        server: the app, with its run store.
        folder: an empty folder for files of the journey's own.
        open_browser: opens the app, or another server, in another browser.
        serve: starts a server of the journey's own; one after the other, all on the run store in ``folder``.
    """

    server: AppServer
    folder: Path
    open_browser: Callable[..., Walker]
    serve: Callable[[], AbstractContextManager[AppServer]]

    @property
    def store(self) -> Path:
        """The run store."""
        return self.server.store


@dataclass(frozen=True)
class Journey:
    """One journey.

    Attributes:
        name: how tests and the command name it.
        want: who wants what, in a sentence.
        steps: what the user does.
        walk: does the steps, and asserts what the user sees at the end.
        keyboard: whether the suite walks it by keyboard alone.
    """

    name: str
    day: Day
    want: str
    steps: str
    walk: Callable[[Walker, Scene], None] = field(repr=False)
    store: Store = "used"
    keyboard: bool = False


JOURNEYS: dict[str, Journey] = {}


def journey(
    day: Day, want: str, steps: str, store: Store = "used", keyboard: bool = False
) -> Callable[[Callable[[Walker, Scene], None]], Callable[[Walker, Scene], None]]:
    """Declare a function as a journey of its name."""

    def declare(walk: Callable[[Walker, Scene], None]) -> Callable[[Walker, Scene], None]:
        name = walk.__name__.replace("_", "-")
        JOURNEYS[name] = Journey(name, day, want, steps, walk, store, keyboard)
        return walk

    return declare
