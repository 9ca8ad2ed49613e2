"""Plan a study: which runs there are, their ids and settings, and which of them train together as a bank.

The plan is fixed before any run starts. The last float32 digits of a run's metrics may depend on the runs it trains
with, so shards, kills and resumes must not change its bank; an extended study keeps its banks and gets new ones.

A plan holds the settings of its runs: the defaults as they were when it was made, and what each run changes. A default
that changes later in the code changes no planned run. When a study is planned again, every run whose resolved settings
are those of the definition is reused; the others are superseded by new runs, and the plan says why.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Required, TypedDict

import msgspec

from ctbench_core.atomic import dump_json, write_json, write_text
from ctbench_core.config import Config, as_introduced, changed_keys, differing_keys, dump_yaml, get_key, set_keys
from ctbench_core.errors import ConfigError, InputError
from ctbench_core.formatting import plural
from ctbench_core.locks import file_lock
from ctbench_core.runs import RunPaths, now, read_config
from ctbench_core.stored import Count, is_there, parse_json, read_bytes, reading
from ctbench_core.studies.banks import BANK_RUNS, assign_banks
from ctbench_core.studies.identity import identity_text, introduced_since, present_defaults, run_id
from ctbench_core.studies.layout import StudyPaths
from ctbench_core.studies.old_plans import upgrade
from ctbench_core.studies.study import Study, expand_keys, parse_study

FORMAT = 2

Labels = dict[str, str]
Grid = dict[tuple[tuple[str, str], ...], tuple[Labels, Config]]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        labels: its label on each axis.
        extension: the extension that added it; 0 for the first planning.
        changes: the keys in which it differs from the defaults of its extension.
    """

    id: str
    labels: Labels
    bank: int
    extension: int = 0
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All runs of a study in order, and how it was extended.

    Attributes:
        studies: the definition as first planned, then as extended, oldest first.
        extensions: when each was planned, how many runs it added, its seeds, its ``warnings``, and the ``defaults`` of
            all keys that count for a run's identity.
        superseded: runs that no longer count, because their settings are not those of the definition any more.
    """

    runs: list[PlannedRun]
    studies: list[dict[str, Any]]
    extensions: list[dict[str, Any]] = field(default_factory=list)
    superseded: list[PlannedRun] = field(default_factory=list)
    format: int = FORMAT

    @property
    def study(self) -> Study:
        """The latest definition, with the widest grid."""
        return parse_study(self.studies[-1])

    @property
    def warnings(self) -> list[str]:
        """Why runs were superseded."""
        return [text for extension in self.extensions for text in extension.get("warnings", [])]

    def banks(self) -> dict[int, list[PlannedRun]]:
        """Return the runs of each bank."""
        banks: dict[int, list[PlannedRun]] = {}
        for run in self.runs:
            banks.setdefault(run.bank, []).append(run)
        return banks

    def configs(self, runs: Sequence[PlannedRun] | None = None) -> dict[str, Config]:
        """Return the config of every run, or of some, by id, as it was planned."""
        bases = [set_keys(as_introduced(), extension["defaults"]) for extension in self.extensions]
        return {run.id: set_keys(bases[run.extension].copy(), run.changes) for run in runs or self.runs}

    def digest(self, bank: int) -> str:
        """Return a digest of the runs of a bank and of their settings."""
        runs = [run for run in self.runs if run.bank == bank]
        content = [[run.id, run.changes, self.extensions[run.extension]["defaults"]] for run in runs]
        return hashlib.blake2b(dump_json(content).encode(), digest_size=8).hexdigest()


def make_plan(
    study: Study,
    paths: StudyPaths,
    bank_key: Callable[[Config], Hashable],
    work: Callable[[Config], float] = lambda config: 1.0,
    bank_runs: int = BANK_RUNS,
) -> Plan:
    """Write the plan of a study, or extend the one in its folder; return the whole plan.

    Args:
        bank_key: equal for runs that may train together.
        work: what a run costs beside others of its key, in any unit.
        bank_runs: most runs of a bank.

    Raises:
        InputError: the folder holds a study of the same name with another base or protocol.
    """
    expand_grid(study)
    paths.root.mkdir(parents=True, exist_ok=True)
    with file_lock(paths.lock):
        known = read_plan(paths) if is_there(paths.plan) else Plan([], [])
        settings = stored_or_planned(known, paths)
        if known.studies:
            _require_same_recipe(known, study, settings, paths)
        studies = [dataclasses.replace(parse_study(old), base=study.base) for old in known.studies] + [study]
        first = known.extensions[0]["defaults"] if known.extensions else {}
        grid = _merged_grid(studies, introduced_since(first))
        kept, fresh = _match(known, settings, grid)
        if known.runs and not fresh:
            return known
        defaults = present_defaults()
        base, extension = set_keys(as_introduced(), defaults), len(known.extensions)
        first_bank = max((run.bank for run in [*known.runs, *known.superseded]), default=-1) + 1
        banks = assign_banks(
            {name: config for name, (_, config) in fresh.items()}, bank_key, work, bank_runs, first_bank
        )
        runs = kept + [
            PlannedRun(name, labels, banks[name], extension, changed_keys(config, base))
            for name, (labels, config) in fresh.items()
        ]
        superseded = [run for run in known.runs if run.id not in {run.id for run in kept}]
        entry = {
            "when": now(),
            "runs": len(fresh),
            "seeds": sorted({config.utils.seed for _, config in grid.values()}),
            "warnings": _reasons(superseded, settings, grid, studies),
            "defaults": defaults,
        }
        extensions = [*known.extensions, entry]
        plan = Plan(runs, [*known.studies, study.to_dict()], extensions, [*known.superseded, *superseded])
        _write(paths, study, plan)
    return plan


def _write(paths: StudyPaths, study: Study, plan: Plan) -> None:
    write_text(paths.study, dump_yaml(study.to_dict()))
    write_json(paths.plan, asdict(plan))


def stored_or_planned(plan: Plan, paths: StudyPaths) -> dict[str, Config]:
    """Return the config of every run by id: the one in its directory once it has started, else as it was planned."""
    planned = plan.configs()
    files = {name: RunPaths(paths.run(name)).config for name in planned}
    return {name: read_config(files[name]) if is_there(files[name]) else config for name, config in planned.items()}


def _merged_grid(studies: Iterable[Study], defaults: Mapping[str, Any]) -> Grid:
    """Return every point of several definitions by its labels; where two have the same point, the later counts."""
    return {
        _key(point.labels): (point.labels, config) for study in studies for point, config in study.configs(defaults)
    }


def _key(labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _match(
    known: Plan, settings: dict[str, Config], grid: Grid
) -> tuple[list[PlannedRun], dict[str, tuple[Labels, Config]]]:
    """Return the planned runs that the grid asks for, under their present labels, and the missing ones by id."""
    ids = {identity_text(config): name for name, config in settings.items()}
    reused: dict[str, Labels] = {}
    fresh = {}
    for labels, config in grid.values():
        name = ids.get(identity_text(config))
        if name is None:
            fresh[run_id(config)] = labels, config
        else:
            reused[name] = labels
    kept = [dataclasses.replace(run, labels=reused[run.id]) for run in known.runs if run.id in reused]
    return kept, fresh


def _reasons(
    superseded: list[PlannedRun], settings: dict[str, Config], grid: Grid, studies: Iterable[Study]
) -> list[str]:
    """Explain why runs are superseded, one sentence for each key and pair of values, and how to keep them."""
    own_keys = {key for study in studies for key in study.keys_set()}
    reasons: dict[str, None] = {}
    defaults: dict[str, Any] = {}
    for run in superseded:
        before, after = settings[run.id], grid[_key(run.labels)][1]
        for key in differing_keys(before, after):
            values = f"{key}: {get_key(before, key)} in the earlier runs, {get_key(after, key)} now"
            reasons[f"{values}: the {'definition' if key in own_keys else 'default'} changed"] = None
            if key not in own_keys:
                defaults[key] = get_key(before, key)
    if not reasons:
        return []
    keep = ", ".join(f"{key}: {value}" for key, value in defaults.items())
    advice = f" To reuse them, set {keep} in the base of the study." if keep else ""
    count = plural(len(superseded), "earlier run")
    return [
        f"{'; '.join(reasons)}. New runs replace {count}, which no longer count{'' if len(superseded) > 1 else 's'}.{advice}"
    ]


def _require_same_recipe(known: Plan, study: Study, settings: dict[str, Config], paths: StudyPaths) -> None:
    """Refuse another base or protocol; a key that one base names and the other leaves at the same value is the same."""
    old = known.study
    before, after = expand_keys(old.base), expand_keys(study.base)
    first, here = settings[known.runs[0].id], next(study.configs())[1]
    differing = sorted(
        key
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key) and get_key(first, key) != get_key(here, key)
    )
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
    """Read a study's plan, of any format.

    Raises:
        InputError: there is none. DamagedFile: it cannot be read.
    """
    advice = "Restore the file from a copy, or move the study's folder out of the run store and plan it again."
    try:
        with reading(paths.plan, advice):
            content = parse_json(read_bytes(paths.plan), _PlanFile)
            if content.get("format", 1) < FORMAT:
                content = upgrade(content, paths)
            runs, superseded = (msgspec.convert(content[part], list[PlannedRun]) for part in ("runs", "superseded"))
            plan = Plan(runs, content["studies"], content["extensions"], superseded)
            plan.study.axes()
            return plan
    except FileNotFoundError as error:
        raise InputError(
            f"{paths.root} holds no planned study. Give a study's YAML file, or the folder of a planned study."
        ) from error


class _Extension(TypedDict, total=False):
    when: str
    runs: Count
    seeds: list[Any]
    defaults: dict[str, Any]
    warnings: list[str]


class _PlanFile(TypedDict, total=False):
    """The fields of ``plan.json``."""

    format: Count
    runs: Required[list[PlannedRun]]
    studies: Required[list[dict[str, Any]]]
    extensions: Required[list[_Extension]]
    superseded: list[PlannedRun]


def expand_grid(study: Study) -> dict[str, tuple[Labels, Config]]:
    """Build every run of a study: its labels and config by id.

    Raises:
        ConfigError: a value does not fit its key, or two points of the grid are the same run.
    """
    runs: dict[str, tuple[Labels, Config]] = {}
    for point, config in study.configs():
        name = run_id(config)
        if name in runs:
            raise ConfigError(f"Two points of the grid are the same run: {runs[name][0]} and {point.labels}.")
        runs[name] = point.labels, config
    return runs
