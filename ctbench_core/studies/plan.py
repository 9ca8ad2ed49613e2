"""The plan of a study: which runs there are and which of them train as one bank, fixed before any of them starts.

A run's float32 figures may differ in their last digits with the company it trains in, so the company is part of
the plan: shards, kills and resumes do not change it. A study that is extended keeps its banks and gets new ones.

MERGED: Run ids of studies: they depend on the resolved config alone, so that a run is known wherever it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml
from filelock import FileLock

from ctbench_core.atomic import dump_json, write_json, write_text
from ctbench_core.config import Config, changed_keys
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.runs import now
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.study import Study, expanded, study_from

# Runs of a bank: enough to share the passes over the features, few enough for shards to share a study
# and for a kill to cost little.
BANK_RUNS = 32
ALL_ROWS = 10**9


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its id, its place in the grid, its bank, and the extension that brought it (0: none)."""

    id: str
    labels: dict[str, str]
    bank: int
    extension: int = 0


@dataclass(frozen=True)
class Plan:
    """All runs of a study in order, and the history of how it grew.

    Attributes:
        studies: the study as it was when planned, then as extended, oldest first.
        extensions: when each was planned, how many runs it brought, and the seeds that were planned then.
    """

    runs: list[PlannedRun]
    studies: list[dict[str, Any]]
    extensions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def study(self) -> Study:
        """The study with the widest grid."""
        return study_from(self.studies[-1])

    def banks(self) -> dict[int, list[PlannedRun]]:
        """Return the runs of each bank."""
        found: dict[int, list[PlannedRun]] = {}
        for run in self.runs:
            found.setdefault(run.bank, []).append(run)
        return found

    def configs(self) -> dict[str, Config]:
        """Return the config of every run by id."""
        return {run_id(config): config for given in self.studies for _, config in study_from(given).configs()}


def make_plan(
    study: Study, paths: StudyPaths, bank_key: Callable[[Config], Hashable], bank_runs: int = BANK_RUNS
) -> Plan:
    """Plan a study in its folder, or extend the plan that lies there; return the whole plan.

    Raises:
        InputError: the folder holds a study of the same name with another base or protocol.
    """
    wanted = spelled_out(study)
    paths.root.mkdir(parents=True, exist_ok=True)
    with FileLock(paths.lock):
        known = read_plan(paths) if paths.plan.is_file() else Plan([], [])
        if known.studies:
            _require_same_recipe(known, study, paths)
        have = {run.id for run in known.runs}
        fresh = {name: item for name, item in wanted.items() if name not in have}
        if known.runs and not fresh:
            return known
        extension = len(known.extensions)
        first_bank = max((run.bank for run in known.runs), default=-1) + 1
        # Heads with as many rows stay together: a bank's epoch lasts as long as its longest.
        sized = sorted(fresh, key=lambda name: fresh[name][1].data.budget or ALL_ROWS)
        banks = _assign({name: bank_key(fresh[name][1]) for name in sized}, bank_runs, first_bank)
        runs = known.runs + [PlannedRun(name, labels, banks[name], extension) for name, (labels, _) in fresh.items()]
        seeds = sorted({config.utils.seed for _, config in wanted.values()})
        grown = [*known.extensions, {"when": now(), "runs": len(fresh), "seeds": seeds}]
        plan = Plan(runs, [*known.studies, study.to_dict()], grown)
        write_text(paths.study, yaml.safe_dump(study.to_dict(), sort_keys=False, allow_unicode=True))
        write_json(paths.plan, asdict(plan))
    return plan


def _assign(keys: dict[str, Hashable], bank_runs: int, first: int) -> dict[str, int]:
    """Give runs with equal keys to banks of at most ``bank_runs``, in order, banks of near equal size."""
    groups: dict[Hashable, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(key, []).append(name)
    found: dict[str, int] = {}
    for names in groups.values():
        count = -(-len(names) // bank_runs)
        for part in range(count):
            for name in names[part * len(names) // count : (part + 1) * len(names) // count]:
                found[name] = first
            first += 1
    return found


def _require_same_recipe(known: Plan, study: Study, paths: StudyPaths) -> None:
    old = known.study
    before, after = expanded(old.base), expanded(study.base)
    differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if old.folds != study.folds:
        differing.append("protocol")
    if old.axes().keys() != study.axes().keys():
        differing.append(f"axes ({', '.join(old.axes())} there, {', '.join(study.axes())} here)")
    if differing:
        raise InputError(
            f"{paths.root} holds the study {old.name!r} with other {', '.join(differing)}. "
            "A study is extended by more values on its axes; give this one another name."
        )


def read_plan(paths: StudyPaths) -> Plan:
    """Read a study's plan.

    Raises:
        InputError: the folder holds none, or it is damaged.
    """
    try:
        content = json.loads(paths.plan.read_text(encoding="utf-8"))
        runs = [PlannedRun(**run) for run in content["runs"]]
        return Plan(runs, content["studies"], content["extensions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{paths.root} holds no readable study ({error}). Give a study's YAML file, or the folder of one begun."
        ) from error


def spelled_out(study: Study) -> dict[str, tuple[dict[str, str], Config]]:
    """Build every run of a study: its labels and config by id.

    Raises:
        ConfigError: a value does not fit its key, or two places of the grid are the same run.
    """
    found: dict[str, tuple[dict[str, str], Config]] = {}
    for point, config in study.configs():
        name = run_id(config)
        if name in found:
            raise ConfigError(f"Two places of the grid are the same run: {found[name][0]} and {point.labels}.")
        found[name] = point.labels, config
    return found


# Keys that change neither the data, the training nor what is evaluated: places, names, machine, trackers.
_PLACES = ("paths.data_root", "paths.manifest_dir")
_NOT_PART = (
    "job_name",
    "logging.",
    "analysis.",
    "optuna.",
    "training.resume.",
    "training.num_workers",
    "data.preload_features",
    "model.model_name",
    "utils.device",
    "evaluation.detail",
)


def identity(config: Config) -> dict[str, Any]:
    """Return the changed keys that a run's outcome depends on, sorted."""
    return {key: value for key, value in sorted(changed_keys(config).items()) if _is_part(key)}


def _is_part(key: str) -> bool:
    return key in _PLACES if key.startswith("paths.") else not key.startswith(_NOT_PART)


def run_id(config: Config) -> str:
    """Return the id of a study's run: head, seed and the hash of the resolved config, as ``mlp-s1-3f9a1c0b52de``."""
    digest = hashlib.blake2b(dump_json(identity(config)).encode("utf-8"), digest_size=6).hexdigest()
    head = "".join(
        letter for letter in config.model._target_.rsplit(".", 1)[-1].lower() if letter.isalnum() or letter == "_"
    )
    return f"{head}-s{config.utils.seed}-{digest}"


def same_run(first: Config, second: Config) -> bool:
    """Whether two configs describe the same run."""
    return json.loads(dump_json(identity(first))) == json.loads(dump_json(identity(second)))
