"""The app with two addresses more: one gives it work as a user does, one says how much of the machine it holds."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import threading
from pathlib import Path

import psutil
import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ctbench_core.config import Config, set_key
from ctbench_core.jobs import get_runner
from ctbench_core.runs import RunStore, delete_run, empty_trash
from ctbench_core.studies import parse_study, plan_study, run_study
from ctbench_ui import server
from ctbench_ui.app import lifespan

KEPT = 12  # runs of trainings; a store that grows makes caches grow with it
STORE = Path(os.environ["CTBENCH_OUTPUTS"])


def work(request: Request) -> JSONResponse:
    """Queue a training, or a study of four runs, unless something waits; delete the oldest runs."""
    runner = get_runner()
    if runner.queued():
        return JSONResponse({"queued": False})
    epochs, seed = int(request.query_params["epochs"]), int(request.query_params["seed"])
    demo = Path(os.environ["CTBENCH_DEMO"])
    keys = {
        "paths.data_root": str(demo / "features"), "paths.manifest_dir": str(demo / "manifests"),
        "paths.outputs_root": str(STORE), "training.max_epochs": epochs, "training.early_stopping_patience": epochs,
        "data.test_manifests": ["test.csv"],
    }  # fmt: skip
    if "study" in request.query_params:
        for older in STORE.glob("soak-*"):
            shutil.rmtree(older)
        grid = {"utils.seed": [seed, seed + 1], "model": ["mlp_visual", "linear_probe"]}
        paths = plan_study(parse_study({"name": f"soak-{seed}", "base": keys, "grid": grid}))
        runner.submit_work(paths.root, lambda cancel: run_study(paths.root, cancel=cancel))
    else:
        config = Config()
        config.utils.seed = seed
        for name, value in keys.items():
            set_key(config, name, value)
        runner.submit(config)
    ended = [run for run in RunStore(STORE).runs() if not run.status.active and run.job == "train"]
    for run in ended[KEPT:]:
        delete_run(STORE, run)
    empty_trash(STORE)
    return JSONResponse({"queued": True})


def held(_: Request) -> JSONResponse:
    """Collect garbage; return the memory in MiB, the handles and the threads of this process, and the names of threads."""
    gc.collect()
    if os.name == "posix" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    process = psutil.Process()
    figures = {
        "memory": process.memory_full_info().uss / 2**20,
        "handles": process.num_fds(),
        "threads": process.num_threads(),
        "threads of Python": threading.active_count(),
    }
    return JSONResponse({"figures": figures, "threads": sorted(thread.name for thread in threading.enumerate())})


app = st.App(
    Path(__file__).resolve().parents[1] / "ctbench_ui" / "main.py",
    lifespan=lifespan,
    middleware=server.middleware(),
    routes=[Route("/soak-work", work, methods=["POST"]), Route("/soak-held", held)],
)
