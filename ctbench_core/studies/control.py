"""What people want of a study, whichever processes work on it: a file that every worker looks at."""

from __future__ import annotations

import threading
import time

from ctbench_core.atomic import write_json
from ctbench_core.runs import read_json
from ctbench_core.studies.layout import StudyPaths

RUN, PAUSED, CANCELLED = "run", "paused", "cancelled"
_LOOK_EVERY_S = 0.5


def want(paths: StudyPaths, what: str) -> None:
    """Say what is wanted of a study: run, paused or cancelled; workers stop in good order within a second."""
    write_json(paths.control, {"wanted": what})


def wanted(paths: StudyPaths) -> str:
    """Return what is wanted of a study."""
    return (read_json(paths.control) or {}).get("wanted", RUN)


class Stop(threading.Event):
    """An event that is set when its own process asks to stop, or anyone does through the study's folder."""

    def __init__(self, paths: StudyPaths, cancel: threading.Event | None) -> None:
        super().__init__()
        self._paths, self._given = paths, cancel
        self._looked_at = 0.0

    def is_set(self) -> bool:
        """Whether to stop; the folder is looked at twice a second at most."""
        moment = time.monotonic()
        if not super().is_set():
            if self._given is not None and self._given.is_set():
                self.set()
            elif moment - self._looked_at > _LOOK_EVERY_S:
                self._looked_at = moment
                if wanted(self._paths) != RUN:
                    self.set()
        return super().is_set()
