"""The app with one address more, at which a test gives it another run store: starting a server takes as long as a test."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ctbench_core.jobs import get_runner
from ctbench_ui import server
from ctbench_ui.app import lifespan
from tests.browser.app_server import STORE_ADDRESS

MAIN = Path(__file__).resolve().parents[2] / "ctbench_ui" / "main.py"
STOP_S = 30


def use_store(request: Request) -> Response:
    """Stop every job, then work on the store of the address, as a server does that is started on it."""
    runner = get_runner()
    for waiting in runner.queued():
        runner.cancel(waiting)
    for running in runner.active():
        runner.cancel(running)
        runner.wait(running, STOP_S)
    os.environ["CTBENCH_OUTPUTS"] = request.query_params["store"]
    return Response(status_code=409 if runner.active() or runner.queued() else 204)


app = st.App(
    MAIN,
    lifespan=lifespan,
    middleware=server.middleware(),
    routes=[Route(f"/{STORE_ADDRESS}", use_store, methods=["POST"])],
)
