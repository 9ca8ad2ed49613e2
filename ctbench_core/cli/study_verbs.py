"""The verbs of studies: a YAML file, a folder begun before, or comma lists after ``train -m`` become one study."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from hydra.errors import HydraException

from ctbench_core.atomic import dump_json
from ctbench_core.cli.call import Call, Outcome
from ctbench_core.cli.summaries import grid
from ctbench_core.config import Config, changed_keys
from ctbench_core.errors import ConfigError
from ctbench_core.formatting import format_metric
from ctbench_core.overrides import is_raw
from ctbench_core.studies import (
    AXES,
    GROUP,
    Study,
    StudyPaths,
    plan_study,
    read_plan,
    read_search,
    read_shard,
    read_study,
    run_search,
    run_study,
    search_from,
    write_sbatch,
)

STUDY_WORDS = "<study.yaml or study folder> [key=value ...] [--shard i/n] [--dry-run] [--sbatch N]"
SEARCH_WORDS = (
    "[search.yaml or search folder] [trials=30] [batch=3] [name=...] [key=interval(low,high)] [key=a,b] [key=value ...]"
)
_SHARD = {
    "metavar": "I/N",
    "help": "begin at this share of the plan, for job arrays; shards help each other at the end",
}
_DRY_RUN = {"action": "store_true", "help": "say how many runs there are, and train none"}
STUDY_FLAGS: dict[str, dict[str, Any]] = {
    "--shard": _SHARD,
    "--dry-run": _DRY_RUN,
    "--sbatch": {"type": int, "metavar": "N", "help": "plan, and write a job array of N shards for sbatch"},
}
TRAIN_FLAGS: dict[str, dict[str, Any]] = {
    "--multirun -m": {"action": "store_true", "help": "comma lists span a grid, run as a study"},
    **{flag: STUDY_FLAGS[flag] for flag in ("--shard", "--dry-run", "--sbatch")},
}


def study(call: Call) -> Outcome:
    """Run a study from its YAML file, or go on with one in its folder."""
    given = [word for word in call.words if "=" not in word]
    if len(given) != 1:
        raise ConfigError(f"study takes one YAML file or study folder, got {len(given)}: study <study.yaml>.")
    words = [word for word in call.words if word != given[0]]
    if not Path(given[0]).is_dir():
        return _run(call, _over_tree(call, read_study(given[0]), words))
    if words:
        raise ConfigError(f"A study in a folder is planned already; {words[0]} cannot change it. Give its YAML file.")
    return _run(call, StudyPaths(Path(given[0])))


def search(call: Call) -> Outcome:
    """Search a space from a YAML file, a folder begun before, or words: ranges are the space, the rest its base."""
    given = [word for word in call.words if "=" not in word]
    words = [word for word in call.words if "=" in word]
    if len(given) == 1 and Path(given[0]).is_dir() and not words:
        result = run_search(Path(given[0]), cancel=call.cancel, progress=call.progress)
        return Outcome(result, search_table(result), 130 if result["stopped"] else 0)
    if len(given) > 1:
        raise ConfigError(f"search takes at most one YAML file or search folder, got {len(given)}.")
    space, rest = split_space(words)
    composed = call.compose(job_name="search", extras=("name", "trials", "batch"), words=rest)
    content = read_search(given[0]).to_dict() if given else {}
    changed = _shared(composed.config)
    name = composed.extras.get("name") or composed.given.pop("job_name", None)
    content["base"] = {**changed, **content.get("base", {}), **composed.given}
    content |= {"name": str(name)} if name else {}
    content |= {part: composed.extras[part] for part in ("trials", "batch") if part in composed.extras}
    content |= {"space": {**content.get("space", {}), **space}} if space else {}
    result = run_search(search_from(content), cancel=call.cancel, progress=call.progress)
    return Outcome(result, search_table(result), 130 if result["stopped"] else 0)


# Where one run lies: an older tree names these for each of its runs, and a study's runs must not share them.
_OF_ONE_RUN = frozenset(
    {"job_name", "paths.run_dir", "paths.output_dir", "paths.checkpoint_dir", "paths.job_base_dir"}
    | {"paths.latest_run_pointer", "paths.checkpoint_path"}
)


def _shared(config: Config) -> dict[str, Any]:
    """Return the changed keys that every run of a study may have in common."""
    return {key: value for key, value in changed_keys(config).items() if key not in _OF_ONE_RUN}


def split_space(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split words into a space and the rest, in the grammar of Hydra's sweeps.

    ``key=a,b`` and ``key=choice(a,b)`` are choices, ``key=interval(0,.6)`` numbers between, ``key=range(1,4)`` whole
    numbers (the end left out), and ``key=tag(log,interval(1e-4,1e-2))`` numbers on a log scale.
    """
    space: dict[str, Any] = {}
    rest = []
    parser = OverridesParser.create()
    for word in words:
        key = word.partition("=")[0]
        if is_raw(key):
            rest.append(word)
            continue
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise ConfigError(f"Cannot understand {word!r}: expected key=value or key=interval(a,b).") from error
        if not override.is_sweep_override():
            rest.append(word)
            continue
        swept = override.value()
        if isinstance(swept, IntervalSweep):
            space[key] = {"low": swept.start, "high": swept.end} | ({"log": True} if "log" in swept.tags else {})
        else:
            space[key] = [_plain(item) for item in override.sweep_iterator()]
    return space, rest


def search_table(result: dict[str, Any]) -> str:
    """Return the counts of a search and its best trial."""
    counts = f"{result['trials']} trials, {result['pruned']} pruned, {result['failed']} failed"
    best = result["best"]
    if not best:
        return f"{counts}\n{result['study_dir']}"
    rows = [[key, str(value)] for key, value in best["params"].items()]
    parts = [counts, f"Best validation figure {format_metric(best['value'], 4)}", grid(["parameter", "value"], rows)]
    return "\n".join([*parts, best["run_dir"], result["study_dir"]])


def train_grid(call: Call) -> Outcome:
    """Train a grid: words with comma lists are its axes, the others its base."""
    axes, words = split_grid(call.words)
    if not axes:
        raise ConfigError("train -m needs a comma list, such as utils.seed=1,2,3.")
    return _run(call, _over_tree(call, Study("multirun", {}, axes), words))


def _over_tree(call: Call, study: Study, words: list[str]) -> Study:
    """Lay the words over a study's base, and its base over the config tree that the words name."""
    composed = call.compose(job_name="multirun", words=words)
    changed = _shared(composed.config)
    groups = {key: value for key, value in changed.items() if key.startswith(f"{GROUP}.")}
    chosen = groups if any(word.startswith(f"{GROUP}=") for word in words) else {}
    base = {**changed, **study.base, **chosen, **composed.given}
    name = composed.given.get("job_name") or base.pop("job_name", None) or study.name
    if name == "multirun":  # the same words go on with the same study, others make another
        name += f"-{hashlib.blake2b(dump_json([base, list(study.grid)]).encode(), digest_size=3).hexdigest()}"
    base.pop("job_name", None)
    return Study(name, base, study.grid, study.folds)


def split_grid(words: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """Split words into axes (comma lists, by key) and the rest.

    Raises:
        ConfigError: a word cannot be understood.
    """
    axes: dict[str, list[Any]] = {}
    rest = []
    parser = OverridesParser.create()
    for word in words:
        key, _, value = word.partition("=")
        if is_raw(AXES.get(key, key)):
            parts = value.split(",")
            values: list[Any] | None = parts if len(parts) > 1 else None
        else:
            try:
                override = parser.parse_override(word)
            except HydraException as error:
                raise ConfigError(f"Cannot understand {word!r}: expected key=value or key=a,b,c.") from error
            values = list(override.sweep_iterator()) if override.is_sweep_override() else None
        if values is not None:
            axes[key] = [_plain(item) for item in values]
        elif key in AXES:
            rest.append(f"{AXES[key]}={value}")
        else:
            rest.append(word)
    return axes, rest


def _plain(value: Any) -> Any:
    """Take the text out of what the grammar calls a quoted string."""
    return getattr(value, "text", value)


def _run(call: Call, study: Study | StudyPaths) -> Outcome:
    options = call.options
    if options.dry_run and isinstance(study, Study):
        return _dry_run(study)
    paths = plan_study(study) if isinstance(study, Study) else study
    if options.sbatch:
        script = write_sbatch(paths, options.sbatch)
        runs = len(read_plan(paths).runs)
        result = {"study_dir": str(paths.root), "runs": runs, "sbatch": str(script)}
        return Outcome(result, f"{runs} runs planned. Start them with:\n  sbatch {script}")
    result = run_study(paths.root, shard=read_shard(options.shard), cancel=call.cancel, progress=call.progress)
    code = 130 if result["stopped"] else 1 if result["failed"] else 0
    return Outcome(result, study_table(result), code)


def _dry_run(study: Study) -> Outcome:
    axes = {axis: [option.label for option in options] for axis, options in study.axes().items()}
    runs = len(list(study.configs()))
    rows = [[axis, str(len(labels)), ", ".join(labels)] for axis, labels in axes.items()]
    return Outcome({"runs": runs, "axes": axes}, f"{runs} runs\n{grid(['axis', 'values', ''], rows)}")


def study_table(result: dict[str, Any]) -> str:
    """Return the counts of a study, and mean, sd and interval of every cell."""
    counts = ", ".join(f"{result[name]} {name}" for name in ("runs", "finished", "reused", "failed"))
    cells = [cell for cell in result["by_cell"] if cell["metric"] == "auprc"]
    rows = []
    for cell in cells:
        bounds = f"[{format_metric(cell['lo'])}, {format_metric(cell['hi'])}]" if cell["lo"] == cell["lo"] else ""
        rows.append(
            [
                " · ".join(cell["cell"].values()) or "all",
                format_metric(cell["mean"]),
                format_metric(cell["std"]),
                bounds,
                str(cell["n"]),
            ]
        )
    parts = [counts]
    if rows:
        parts.append(grid([f"AUPRC, {cells[0]['set']}", "mean", "sd", "95 %", "runs"], rows))
    parts += [f"Error: {text}" for text in result["errors"][:5]]
    if result["stopped"]:
        parts.append("Stopped; the same command goes on.")
    return "\n".join([*parts, *filter(None, [result["table"]]), result["study_dir"]])
