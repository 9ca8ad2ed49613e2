"""A worker near the end of its lifetime: its bank leaves, and it takes no other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed", reason="pip install 'ctbench[cluster]'")

from ctbench_core.executors.worker import SLOT, Slots


class Worker:
    """What `Slots` uses of a Dask worker."""

    def __init__(self, lifetime: float | None) -> None:
        self.lifetime, self.name, self.resources, self.later = lifetime, "job-1", {}, []
        self.state = SimpleNamespace(nthreads=1, total_resources={})
        self.loop = SimpleNamespace(
            call_later=lambda delay, function, *args: self.later.append((delay, function, args))
        )

    async def set_resources(self, **resources: float) -> None:
        self.resources |= resources


def run_in_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread of its own: a browser test before this one leaves its event loop running here."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@pytest.mark.parametrize(("lifetime", "leaves_after"), [(14_280.0, 14_220.0), (45.0, 40.5)])
def test_the_bank_leaves_before_the_lifetime_ends(lifetime: float, leaves_after: float) -> None:
    async def live() -> tuple[Any, Slots, threading.Event]:
        worker: Any = Worker(lifetime)
        slots = Slots(1, is_local=False)
        await slots.setup(worker)
        assert worker.resources == {SLOT: 1}
        event = slots.tasks["a-bank-1"] = threading.Event()
        ((delay, function, arguments),) = worker.later
        assert delay == pytest.approx(leaves_after)
        await function(*arguments)
        return worker, slots, event

    worker, slots, event = run_in_thread(live())
    assert event.is_set()
    assert worker.resources == {SLOT: 0}
    assert slots.leaving


def test_a_worker_of_a_job_with_many_gpus_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    run_in_thread(Slots(1, is_local=False).setup(Worker(None)))  # type: ignore[arg-type]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


_PACKS = """
import asyncio, sys
from types import SimpleNamespace
from ctbench_core.executors import Task
from ctbench_core.executors import worker as module
from ctbench_core.features import write_shard

async def set_resources(**resources): pass
slots = module.Slots(1, is_local=False, trains=False)
state = SimpleNamespace(nthreads=1, total_resources={})
asyncio.run(slots.setup(SimpleNamespace(name="1", lifetime=None, state=state, set_resources=set_resources)))
module.get_worker = lambda: SimpleNamespace(plugins={module.PLUGIN: slots})
task = Task("shard 1", lambda stop, progress: write_shard.__name__, (), trains=False)
print(module.run_task("a", task), "torch" in sys.modules)
"""


def test_a_worker_that_packs_does_not_load_torch() -> None:
    done = subprocess.run([sys.executable, "-c", _PACKS], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["write_shard", "False"]
