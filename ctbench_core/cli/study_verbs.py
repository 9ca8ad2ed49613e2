"""The verbs of studies and searches: from a YAML file, an existing folder, or overrides with several values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep

from ctbench_core.atomic import dump_json
from ctbench_core.cli.cluster_flags import cluster_options, start_detached
from ctbench_core.cli.compose import parse_override
from ctbench_core.cli.invocation import Call, Outcome
from ctbench_core.cli.summaries import grid, search_table, study_table
from ctbench_core.errors import ConfigError
from ctbench_core.formatting import plural
from ctbench_core.overrides import is_raw
from ctbench_core.studies import (
    AXES,
    GROUP,
    NEW_SEEDS,
    Search,
    Study,
    StudyPaths,
    parse_search,
    plan_search,
    plan_study,
    read_plan,
    read_search,
    read_shard,
    read_study,
    run_search,
    run_study,
    shared_keys,
    write_sbatch,
)


def study(call: Call) -> Outcome:
    """Run a study from its YAML file, or continue one in its folder."""
    source, _ = call.one_positional("study", "YAML file or study folder")
    overrides = [argument for argument in call.arguments if argument != source]
    if not Path(source).is_dir():
        return _run(call, _with_base(call, read_study(source), overrides))
    if overrides:
        raise ConfigError(
            f"{source} is planned already, so {overrides[0]} cannot change it. Give the study's YAML file instead."
        )
    return _run(call, StudyPaths(Path(source)))


def search(call: Call) -> Outcome:
    """Search from a YAML file, an existing folder, or overrides: those with several values are the search space."""
    sources, overrides = call.split()
    if len(sources) > 1:
        raise ConfigError(f"search takes at most one YAML file or search folder, got {len(sources)}.")
    again, overrides = _read_again(overrides)
    if sources and Path(sources[0]).is_dir() and not overrides:
        target: Search | Path = Path(sources[0])
    else:
        target = parse_search(_search_content(call, sources, overrides))
    options = cluster_options(call)
    if call.options.detach:
        paths = StudyPaths(target) if isinstance(target, Path) else plan_search(target)
        return start_detached("search", paths.root, options, [f"again={again}"])
    result = run_search(target, cancel=call.cancel, progress=call.progress, again=again, options=options)
    return Outcome(result, search_table(result), 130 if result["stopped"] else 0)


def _read_again(overrides: list[str]) -> tuple[int, list[str]]:
    """Take ``again=N``, the number of new seeds for the best trial, out of the overrides."""
    given = [override for override in overrides if override.startswith("again=")]
    text = given[-1].partition("=")[2] if given else str(NEW_SEEDS)
    if not text.isdigit():
        raise ConfigError(f"again is {text!r}; expected the number of new seeds for the best trial, 0 for none.")
    return int(text), [override for override in overrides if override not in given]


def _search_content(call: Call, sources: list[str], overrides: list[str]) -> dict[str, Any]:
    """Return a search file's content with the overrides applied to its base, space and settings."""
    space, rest = split_space(overrides)
    composed = call.compose("search", extras=("name", "trials", "batch"), overrides=rest)
    content = read_search(sources[0]).to_dict() if sources else {}
    name = composed.extras.get("name") or composed.overrides.pop("job_name", None)
    content["base"] = {**shared_keys(composed.config), **content.get("base", {}), **composed.overrides}
    content |= {"name": str(name)} if name else {}
    content |= {setting: composed.extras[setting] for setting in ("trials", "batch") if setting in composed.extras}
    return content | ({"space": {**content.get("space", {}), **space}} if space else {})


def split_space(overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split overrides into a search space and the rest, in the grammar of Hydra's sweeps.

    ``key=a,b`` and ``key=choice(a,b)`` are choices, ``key=interval(0,.6)`` is a range of numbers, ``key=range(1,4)``
    the whole numbers 1 to 3, and ``key=tag(log,interval(1e-4,1e-2))`` a range on a log scale.
    """
    space: dict[str, Any] = {}
    rest = []
    for override in overrides:
        key = override.partition("=")[0]
        parsed = None if is_raw(key) else parse_override(override, "key=value or key=interval(a,b)")
        if parsed is None or not parsed.is_sweep_override():
            rest.append(override)
            continue
        values = parsed.value()
        if isinstance(values, IntervalSweep):
            space[key] = {"low": values.start, "high": values.end} | ({"log": True} if "log" in values.tags else {})
        else:
            space[key] = [_to_text(value) for value in parsed.sweep_iterator()]
    return space, rest


def _to_text(value: Any) -> Any:
    """Return the text of what the grammar calls a quoted string, and any other value unchanged."""
    return getattr(value, "text", value)


def train_grid(call: Call) -> Outcome:
    """Train a grid: overrides with comma lists are its axes, the others its base."""
    axes, overrides = split_grid(call.arguments)
    if not axes:
        raise ConfigError("train -m needs a comma list, such as utils.seed=1,2,3.")
    return _run(call, _with_base(call, Study("multirun", {}, axes), overrides))


def _with_base(call: Call, study: Study, overrides: list[str]) -> Study:
    """Complete a study's base: the config tree comes first, then the study's own base, then the overrides."""
    composed = call.compose("multirun", overrides=overrides)
    changed = shared_keys(composed.config)
    has_group = any(override.startswith(f"{GROUP}=") for override in overrides)
    group = {key: value for key, value in changed.items() if has_group and key.startswith(f"{GROUP}.")}
    base = {**changed, **study.base, **group, **composed.overrides}
    name = composed.overrides.get("job_name") or base.pop("job_name", None) or study.name
    if name == "multirun":  # the same overrides continue the same study, other overrides make another
        name += f"-{hashlib.blake2b(dump_json([base, list(study.grid)]).encode(), digest_size=3).hexdigest()}"
    base.pop("job_name", None)
    return Study(name, base, study.grid, study.folds)


def split_grid(overrides: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """Split overrides into axes (comma lists, by key) and the rest.

    Raises:
        ConfigError: an override cannot be understood.
    """
    axes: dict[str, list[Any]] = {}
    rest = []
    for override in overrides:
        key, _, text = override.partition("=")
        if is_raw(AXES.get(key, key)):
            values: list[Any] = text.split(",") if "," in text else []
        else:
            parsed = parse_override(override, "key=value or key=a,b,c")
            values = [_to_text(value) for value in parsed.sweep_iterator()] if parsed.is_sweep_override() else []
        if values:
            axes[key] = values
        elif key in AXES:
            rest.append(f"{AXES[key]}={text}")
        else:
            rest.append(override)
    return axes, rest


def _run(call: Call, study: Study | StudyPaths) -> Outcome:
    options = call.options
    if options.dry_run and isinstance(study, Study):
        return _dry_run(study)
    cluster, shard = cluster_options(call), read_shard(options.shard)
    if cluster is not None and cluster.is_here and options.requests and not options.sbatch:
        raise ConfigError("--with says what a job asks for: it needs --cluster, --workers or --sbatch.")
    if cluster is not None and options.shard:
        raise ConfigError(
            "--shard starts one process by hand, --workers and --cluster start them all: give one of both."
        )
    paths = plan_study(study) if isinstance(study, Study) else study
    for warning in read_plan(paths).warnings:
        call.progress.note(f"Warning: {warning}")
    if options.sbatch:
        script = write_sbatch(paths, options.sbatch, cluster.requests if cluster else {})
        runs = len(read_plan(paths).runs)
        result = {"study_dir": str(paths.root), "runs": runs, "sbatch": str(script)}
        return Outcome(result, f"{plural(runs, 'run')} planned. Start with:\n  sbatch {script}")
    if options.detach:
        return start_detached("study", paths.root, cluster, ["--shard", options.shard] if options.shard else [])
    result = run_study(paths.root, shard=shard, cancel=call.cancel, progress=call.progress, options=cluster)
    code = 130 if result["stopped"] else 1 if result["failed"] else 0
    return Outcome(result, study_table(result), code)


def _dry_run(study: Study) -> Outcome:
    axes = {axis: [option.label for option in options] for axis, options in study.axes().items()}
    runs = len(list(study.configs()))
    rows = [[axis, str(len(labels)), ", ".join(labels)] for axis, labels in axes.items()]
    return Outcome({"runs": runs, "axes": axes}, f"{plural(runs, 'run')}\n{grid(['axis', 'values', ''], rows)}")
