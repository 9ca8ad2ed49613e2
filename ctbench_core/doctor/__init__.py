"""Check a user's machine, folders, data and runs, and say how to fix each problem. Nothing is changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from ctbench_core.config import Config
from ctbench_core.doctor import data, machine, store
from ctbench_core.doctor.diagnosis import ERROR, LEVELS, OK, WARNING, CheckOutcome, Diagnosis
from ctbench_core.errors import CtbenchError, InputError, StorageError
from ctbench_core.progress import Progress, silent

Check = Callable[[Config], CheckOutcome]

# topic: its checks by name, in the order of the report
CHECKS: dict[str, dict[str, Check]] = {
    "machine": {
        "Python": machine.python,
        "Packages": machine.packages,
        "Device": machine.device,
        "Threads": machine.threads,
        "Memory": machine.memory,
        "Open files": machine.open_files,
    },
    "folders": {
        "Disk": machine.disk,
        "Writing": machine.writing,
        "Path lengths": machine.long_paths,
        "Locks": machine.locks,
        "Clock": machine.clock,
    },
    "data": {
        "Allowed folders": data.allowed,
        "Manifests": data.manifests,
        "Features": data.features,
        "Packed features": data.packs,
    },
    "runs": {
        "Run folders": store.readable,
        "Unfinished runs": store.unfinished,
        "Checkpoints": store.checkpoints,
        "Leftovers": store.leftovers,
    },
}
_INPUT_TOPIC = "data"  # every error here comes from the input


def examine(config: Config, progress: Progress = silent) -> Diagnosis:
    """Run every check on the folders and data of a config; a failed check does not stop the others."""
    started = time.perf_counter()
    checks = [(topic, name, check) for topic, named in CHECKS.items() for name, check in named.items()]
    outcomes = []
    for done, (topic, name, check) in enumerate(checks):
        progress(name, done, len(checks))
        outcome = _run(check, config)
        of_input = outcome.of_input or topic == _INPUT_TOPIC
        outcomes.append(dataclasses.replace(outcome, topic=topic, name=name, of_input=of_input))
    return Diagnosis(outcomes, time.perf_counter() - started)


def _run(check: Check, config: Config) -> CheckOutcome:
    try:
        return check(config)
    except CtbenchError as error:
        return CheckOutcome(ERROR, str(error), of_input=isinstance(error, InputError))
    except OSError as error:
        return CheckOutcome(ERROR, str(StorageError.of(error)))
