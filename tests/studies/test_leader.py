"""Leading a study: banks that left or are busy are given out again, and a stop reaches the executor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ctbench_core.errors import InputError
from ctbench_core.executors import Ended, Task
from ctbench_core.progress import silent
from ctbench_core.studies import Study, plan_study, read_plan
from ctbench_core.studies import leader as module
from ctbench_core.studies.bank_task import BUSY, DONE, LEFT, BankOutcome, train_planned_bank
from ctbench_core.studies.leader import Leader
from ctbench_core.studies.workers import StopEvent


class Script:
    """An executor whose tasks end as a list says, without training anything."""

    kind, workers, ready_s = "dask", 2, 0.0

    def __init__(self, states: list[str]) -> None:
        self.states, self.tasks, self.banks, self.stopped = states, [], [], False

    @property
    def pending(self) -> int:
        return len(self.tasks)

    def submit(self, task: Task) -> None:
        self.tasks.append(task)
        self.banks.append(task.arguments[1])

    def next(self, timeout_s: float) -> Ended | None:
        if not self.tasks:
            return None
        state = self.states.pop(0)
        return Ended(self.tasks.pop(0), BankOutcome(state, {"run": "why"} if state == DONE else {}))

    def stop(self) -> None:
        self.stopped = True


def test_banks_are_given_out_until_they_are_done(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module._BUSY_S, "dask", 0.01)
    paths = plan_study(make_study())
    leader = Leader(paths, read_plan(paths), StopEvent(paths, None), silent)
    executor = Script([LEFT, DONE, BUSY, LEFT, DONE])
    leader.lead(executor, [0, 1])
    assert sorted(executor.banks) == [0, 0, 0, 0, 1]
    assert leader.errors == ["run: why", "run: why"]
    assert not executor.stopped


def test_a_stop_reaches_the_executor(make_study: Callable[..., Study]) -> None:
    paths = plan_study(make_study())
    cancel = threading.Event()
    leader = Leader(paths, read_plan(paths), StopEvent(paths, cancel), lambda *_: cancel.set())
    executor: Any = Script([])
    executor.next = lambda timeout_s: None
    leader.lead(executor, [0, 1])
    assert executor.stopped


def test_a_task_of_another_plan_is_refused(make_study: Callable[..., Study]) -> None:
    paths = plan_study(make_study())
    wider = plan_study(make_study({"utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}))
    plan = read_plan(wider)
    assert plan.digest(0) != plan.digest(1)  # and those of an extended study stay
    with pytest.raises(InputError, match="has changed"):
        train_planned_bank(str(paths.root), 0, plan.digest(1), "", stop=threading.Event(), progress=silent)
