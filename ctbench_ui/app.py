"""The app as a server: the pages, and the thread that runs the queue."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from ctbench_core.atomic import remove_leftovers
from ctbench_core.file_limit import raise_file_limit
from ctbench_core.heap import limit_arenas
from ctbench_core.jobs import get_runner
from ctbench_core.runs import RunStore
from ctbench_ui import server
from ctbench_ui.form import outputs_root
from ctbench_ui.frame import import_path, kept_downloads, late_redraws
from ctbench_ui.shared.meters import get_meters

_SCRIPT = Path(__file__).with_name("main.py")


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Mark the runs that a crash interrupted and remove what it left over; start the meters with the server, and stop them and the job runner with it."""
    import_path.keep(_SCRIPT)
    limit_arenas()
    late_redraws.ignore()
    kept_downloads.keep()
    raise_file_limit()
    RunStore(outputs_root()).mark_interrupted()
    threading.Thread(target=remove_leftovers, args=(outputs_root(),), name="ctbench-leftovers", daemon=True).start()
    get_meters().start()
    yield
    get_meters().stop()
    get_runner().stop()


def arguments() -> dict[str, Any]:
    """Return the arguments of ``st.App``: the frame of the pages, its lifespan, and the guard before it."""
    return {
        "script_path": str(_SCRIPT),
        "lifespan": lifespan,
        "middleware": server.middleware(),
    }
