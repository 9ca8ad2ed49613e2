"""Lead the training of a study: give its banks to an executor until every run has ended, and count what is done."""

from __future__ import annotations

import time
from collections import Counter

from ctbench_core.executors import Executor, Task
from ctbench_core.progress import Progress
from ctbench_core.runs import now
from ctbench_core.studies.bank_task import BUSY, DONE, BankOutcome, has_ended, train_planned_bank
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.plan import Plan
from ctbench_core.studies.status import DAMAGED, run_state, stored_status
from ctbench_core.studies.workers import StopEvent

_POLL_EVERY_S = 0.5
_BUSY_S = {"here": _POLL_EVERY_S, "dask": 5.0}  # until a bank that another process trains is tried again


class Leader:
    """The training of one study by this process: its banks, its errors, and when to stop."""

    def __init__(self, paths: StudyPaths, plan: Plan, stop: StopEvent, progress: Progress) -> None:
        self.paths, self.plan, self.stop = paths, plan, stop
        states = [stored_status(paths.run(run.id)) for run in plan.runs]
        self.errors = [str(status["error"]) for status in states if status.get("state") == DAMAGED]
        self._banks = plan.banks()
        self._progress, self._started = progress, now()
        self._ended, self._counted_at = 0, 0.0

    def count_states(self) -> Counter[str]:
        """Count the runs by state."""
        return Counter(run_state(self.paths.run(run.id)) for run in self.plan.runs)

    def unfinished(self, order: list[int]) -> list[int]:
        """Return the banks that still have something to train, in order."""
        return [bank for bank in order if not all(self._has_ended(run.id) for run in self._banks[bank])]

    def _has_ended(self, run_id: str) -> bool:
        return has_ended(self.paths.run(run_id), self._started)

    def report(self, phase: str, done: int, total: int) -> None:
        """Report what is at work, and how many runs have ended."""
        if time.monotonic() - self._counted_at > _POLL_EVERY_S:
            self._ended, self._counted_at = sum(self._has_ended(run.id) for run in self.plan.runs), time.monotonic()
        where = f"{phase} {done}/{total}" if total else phase
        self._progress(f"study ({where})", self._ended, len(self.plan.runs))

    def lead(self, executor: Executor, banks: list[int]) -> None:
        """Give every bank to the executor until it is done, or until the study is stopped."""
        for bank in banks:
            executor.submit(self._task(bank))
        later: dict[int, float] = {}
        while (executor.pending or later) and not self.stop.is_set():
            for bank in [bank for bank, moment in later.items() if moment <= time.monotonic()]:
                del later[bank]
                executor.submit(self._task(bank))
            ended = executor.next(_POLL_EVERY_S)
            if ended is None:
                self.report(f"{len(banks) - executor.pending - len(later)} of {len(banks)} banks done", 0, 0)
                continue
            bank, outcome = ended.task.arguments[1], ended.value
            assert isinstance(outcome, BankOutcome)
            self.errors += [f"{name}: {error}" for name, error in outcome.errors.items()]
            if outcome.state != DONE:
                later[bank] = time.monotonic() + (_BUSY_S[executor.kind] if outcome.state == BUSY else 0.0)
        if self.stop.is_set():
            executor.stop()

    def _task(self, bank: int) -> Task:
        arguments = (str(self.paths.root.resolve()), bank, self.plan.digest(bank), self._started)
        return Task(f"bank {bank + 1} of {len(self._banks)}", train_planned_bank, arguments)
