"""Doctor: what may be wrong on a user's machine, check by check, each with what to do about it. Nothing is changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from ctbench_core.config import Config
from ctbench_core.doctor import data, machine, places, store
from ctbench_core.doctor.diagnosis import ERROR, LEVELS, OK, WARNING, Diagnosis, Finding, sized
from ctbench_core.errors import CtbenchError, InputError

Check = Callable[[Config], Finding]

# topic: the checks by name, in the order in which they are told
CHECKS: dict[str, dict[str, Check]] = {
    "machine": {
        "Python": machine.python,
        "Packages": machine.packages,
        "Device": machine.device,
        "Threads": machine.threads,
        "Memory": machine.memory,
    },
    "folders": {
        "Disk": places.disk,
        "Writing": places.writing,
        "Locks": places.locks,
        "Clock": places.clock,
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
_GIVEN = "data"  # errors here are the input's


def examine(config: Config, progress: Callable[[str, int, int], None] = lambda phase, done, total: None) -> Diagnosis:
    """Go through every check for the folders and data of a config; none stops another, and nothing is kept on disk."""
    started = time.perf_counter()
    checks = [(topic, name, check) for topic, named in CHECKS.items() for name, check in named.items()]
    findings = []
    for done, (topic, name, check) in enumerate(checks):
        progress(name, done, len(checks))
        found = _looked(check, config)
        of_input = found.of_input or topic == _GIVEN
        findings.append(dataclasses.replace(found, topic=topic, name=name, of_input=of_input))
    return Diagnosis(findings, time.perf_counter() - started)


def _looked(check: Check, config: Config) -> Finding:
    try:
        return check(config)
    except CtbenchError as error:
        return Finding(ERROR, str(error), of_input=isinstance(error, InputError))
    except OSError as error:
        return Finding(
            ERROR, f"{error.strerror or error}: {error.filename}", "Mend the rights or the path, then look again."
        )
