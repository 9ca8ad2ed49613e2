"""Plan a study: which runs there are, their ids, and which of them train together as a bank.

The plan is fixed before any run starts. The last float32 digits of a run's metrics may depend on the runs it trains
with, so shards, kills and resumes must not change its bank; an extended study keeps its banks and gets new ones.
A run's id depends on its resolved config alone, so that it is recognised wherever it was trained.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from typing import Any

import yaml
from filelock import FileLock

from ctbench_core.atomic import dump_json, write_json, write_text
from ctbench_core.config import Config
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.runs import changed_keys_without, now
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.study import Study, expand_keys, parse_study

# Enough runs to share the passes over the features, few enough for shards to share a study and a kill to cost little.
BANK_RUNS = 32
ALL_ROWS = 10**9


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its id, its label on each axis, its bank, and the extension that added it (0: none)."""

    id: str
    labels: dict[str, str]
    bank: int
    extension: int = 0


@dataclass(frozen=True)
class Plan:
    """All runs of a study in order, and how it was extended.

    Attributes:
        studies: the definition as first planned, then as extended, oldest first.
        extensions: when each was planned, how many runs it added, and its seeds.
    """

    runs: list[PlannedRun]
    studies: list[dict[str, Any]]
    extensions: list[dict[str, Any]] = field(default_factory=list)

    @property
    def study(self) -> Study:
        """The latest definition, with the widest grid."""
        return parse_study(self.studies[-1])

    def banks(self) -> dict[int, list[PlannedRun]]:
        """Return the runs of each bank."""
        banks: dict[int, list[PlannedRun]] = {}
        for run in self.runs:
            banks.setdefault(run.bank, []).append(run)
        return banks

    def configs(self) -> dict[str, Config]:
        """Return the config of every run by id."""
        return {run_id(config): config for content in self.studies for _, config in parse_study(content).configs()}


def make_plan(
    study: Study, paths: StudyPaths, bank_key: Callable[[Config], Hashable], bank_runs: int = BANK_RUNS
) -> Plan:
    """Write the plan of a study, or extend the one in its folder; return the whole plan.

    Raises:
        InputError: the folder holds a study of the same name with another base or protocol.
    """
    grid = expand_grid(study)
    paths.root.mkdir(parents=True, exist_ok=True)
    with FileLock(paths.lock):
        known = read_plan(paths) if paths.plan.is_file() else Plan([], [])
        if known.studies:
            _require_same_recipe(known, study, paths)
        ids = {run.id for run in known.runs}
        fresh = {name: item for name, item in grid.items() if name not in ids}
        if known.runs and not fresh:
            return known
        extension = len(known.extensions)
        first_bank = max((run.bank for run in known.runs), default=-1) + 1
        # Runs of like budgets stay together: a bank's epoch lasts as long as its longest.
        sized = sorted(fresh, key=lambda name: fresh[name][1].data.budget or ALL_ROWS)
        banks = _assign({name: bank_key(fresh[name][1]) for name in sized}, bank_runs, first_bank)
        runs = known.runs + [PlannedRun(name, labels, banks[name], extension) for name, (labels, _) in fresh.items()]
        seeds = sorted({config.utils.seed for _, config in grid.values()})
        extensions = [*known.extensions, {"when": now(), "runs": len(fresh), "seeds": seeds}]
        plan = Plan(runs, [*known.studies, study.to_dict()], extensions)
        write_text(paths.study, yaml.safe_dump(study.to_dict(), sort_keys=False, allow_unicode=True))
        write_json(paths.plan, asdict(plan))
    return plan


def _assign(keys: dict[str, Hashable], bank_runs: int, first: int) -> dict[str, int]:
    """Assign runs with equal keys to banks of at most ``bank_runs``, in order, banks of nearly equal size."""
    groups: dict[Hashable, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(key, []).append(name)
    banks: dict[str, int] = {}
    for names in groups.values():
        count = -(-len(names) // bank_runs)
        for part in range(count):
            for name in names[part * len(names) // count : (part + 1) * len(names) // count]:
                banks[name] = first
            first += 1
    return banks


def _require_same_recipe(known: Plan, study: Study, paths: StudyPaths) -> None:
    old = known.study
    before, after = expand_keys(old.base), expand_keys(study.base)
    differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if old.folds != study.folds:
        differing.append("protocol")
    if old.axes().keys() != study.axes().keys():
        differing.append(f"axes ({', '.join(old.axes())} there, {', '.join(study.axes())} here)")
    if differing:
        raise InputError(
            f"{paths.root} holds the study {old.name!r} with other {', '.join(differing)}. "
            "Only more values on its axes can extend a study; give this one another name."
        )


def read_plan(paths: StudyPaths) -> Plan:
    """Read a study's plan.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        content = json.loads(paths.plan.read_text(encoding="utf-8"))
        runs = [PlannedRun(**run) for run in content["runs"]]
        return Plan(runs, content["studies"], content["extensions"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{paths.root} holds no readable study ({error}). Give a study's YAML file, or the folder of a planned study."
        ) from error


def expand_grid(study: Study) -> dict[str, tuple[dict[str, str], Config]]:
    """Build every run of a study: its labels and config by id.

    Raises:
        ConfigError: a value does not fit its key, or two points of the grid are the same run.
    """
    runs: dict[str, tuple[dict[str, str], Config]] = {}
    for point, config in study.configs():
        name = run_id(config)
        if name in runs:
            raise ConfigError(f"Two points of the grid are the same run: {runs[name][0]} and {point.labels}.")
        runs[name] = point.labels, config
    return runs


# Keys that change neither the data, the training nor what is evaluated: places, names, machine, trackers.
# Changing this list changes run ids.
_EXCLUDED = (
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
    return dict(sorted(changed_keys_without(config, _EXCLUDED).items()))


def run_id(config: Config) -> str:
    """Return the id of a study's run: head, seed and the hash of the resolved config, as ``mlp-s1-3f9a1c0b52de``."""
    digest = hashlib.blake2b(dump_json(identity(config)).encode("utf-8"), digest_size=6).hexdigest()
    head = re.sub(r"\W", "", config.model._target_.rsplit(".", 1)[-1].lower())
    return f"{head}-s{config.utils.seed}-{digest}"


def same_run(first: Config, second: Config) -> bool:
    """Whether two configs describe the same run."""
    return json.loads(dump_json(identity(first))) == json.loads(dump_json(identity(second)))
