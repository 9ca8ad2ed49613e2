"""The app with two addresses more: one gives it work as a user does, one says how much of the machine it holds."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
import threading
from pathlib import Path

import psutil
import pyarrow as pa
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
from ctbench_ui.shared.bounded_cache import kept

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
    """Collect garbage; return the memory in MiB, the handles and the threads of this process, and what explains them."""
    gc.collect()
    process = psutil.Process()
    figures = {
        "memory": process.memory_full_info().uss / 2**20,
        "handles": process.num_fds(),
        "threads": process.num_threads(),
        "threads of Python": threading.active_count(),
    }
    names = sorted(thread.name for thread in threading.enumerate())
    return JSONResponse({"figures": figures, "threads": names, "parts": _parts()})


class _Mallinfo(ctypes.Structure):
    """The answer of glibc's mallinfo2(3): what is mapped, in use and free over all arenas, in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def _parts() -> dict[str, float]:
    """Return who holds the memory, in MiB: live parts that grow are a leak, free parts are holes of the allocator."""
    parts = {
        "pages": kept.bytes / 2**20,
        "objects": sys.getallocatedblocks(),
        "Arrow": pa.total_allocated_bytes() / 2**20,
    }
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "mallinfo2"):
        library.mallinfo2.restype = _Mallinfo
        heap = library.mallinfo2()
        parts |= {"mapped": heap.hblkhd / 2**20, "in use": heap.uordblks / 2**20, "free": heap.fordblks / 2**20}
    return {name: round(value, 1) for name, value in parts.items()}


app = st.App(
    Path(__file__).resolve().parents[1] / "ctbench_ui" / "main.py",
    lifespan=lifespan,
    middleware=server.middleware(),
    routes=[Route("/soak-work", work, methods=["POST"]), Route("/soak-held", held)],
)
