"""The load of the machine over the last ten minutes, and the last lines of the log, while the server runs."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

import psutil

EVERY_S = 5.0
_MINUTES = 10
_END_S = 10.0
_LINES = 200
_LOG = "ctbench_core"


class Tail(logging.Handler):
    """A log handler that keeps the last lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=_LINES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as text."""
        self.lines.append(self.format(record))


class Meters:
    """A thread that samples the machine.

    Attributes:
        samples: what `sample` returned in the last ten minutes, oldest first.
        tail: the last lines of the log.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self.every_s = every_s
        self.samples: deque[dict[str, Any]] = deque(maxlen=round(_MINUTES * 60 / every_s))
        self.tail = Tail()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread and the log, unless they have started."""
        log = logging.getLogger(_LOG)
        if not log.hasHandlers():  # without one, Python's fallback handler would go silent
            log.addHandler(logging.StreamHandler())
        log.addHandler(self.tail)
        if self._thread is None or not self._thread.is_alive():
            self._stopping.clear()
            self._thread = threading.Thread(target=self._sample, name="ctbench-meters", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread and the log."""
        logging.getLogger(_LOG).removeHandler(self.tail)
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_END_S)

    def _sample(self) -> None:
        psutil.cpu_percent()  # each call returns the share since the last one
        while not self._stopping.wait(self.every_s):
            with contextlib.suppress(RuntimeError):  # a GPU may fail to answer
                self.samples.append(sample())


def sample() -> dict[str, Any]:
    """Return the time (UTC) and the shares in use of processors, memory and, with a GPU, its memory."""
    shares = {"processors": psutil.cpu_percent() / 100, "memory": psutil.virtual_memory().percent / 100}
    if (device := gpu()) is not None:
        shares["gpu_memory"] = device[1] / device[2]
    return {"time": datetime.now(UTC), **shares}


def gpu() -> tuple[str, int, int] | None:
    """Return the GPU's name, its bytes in use and its bytes; None without one, or before torch is loaded."""
    torch: Any = sys.modules.get("torch")
    # The job thread may still be importing it.
    if torch is None or getattr(torch.__spec__, "_initializing", False) or not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return torch.cuda.get_device_name(), total - free, total


_meters = Meters()


def get_meters() -> Meters:
    """Return the meters of this server."""
    return _meters
