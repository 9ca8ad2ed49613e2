"""What `streamlit run app.py` serves: the pages, and the thread that works off the queue of runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st

from ctbench_core.jobs import get_runner


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Start the job runner with the server and stop it with the server."""
    get_runner().start()
    yield
    get_runner().stop()


app = st.App("ctbench_ui/main.py", lifespan=lifespan)
