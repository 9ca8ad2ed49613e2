"""The verbs of the command line: each composes a config, calls the core, and returns its JSON and a short table.

A verb composes its config before it imports what it calls, so that a wrong key is refused at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ctbench_core.cli import usage
from ctbench_core.cli.invocation import Call, Outcome, Verb
from ctbench_core.config import KEYS, Config, set_keys
from ctbench_core.declared import key, load
from ctbench_core.errors import ConfigError, MissingPackage, unknown_name
from ctbench_core.formatting import plural
from ctbench_core.installation import install_command, program
from ctbench_core.schema import parse_options

if TYPE_CHECKING:
    from ctbench_core.cli.composed import Composed

_SERVE = "ctbench_ui.launch:serve"  # by name: the core does not depend on the app
_COMPARE_OPTIONS = ("on=", "by=", "margin=", "swaps=", "paper=")


def train(call: Call) -> Outcome:
    """Train one run, or resume one; with -m, a grid of runs."""
    from ctbench_core.cli.cluster_flags import is_given

    if call.options.multirun:
        from ctbench_core.cli.study_verbs import train_grid

        return train_grid(call)
    if is_given(call):
        raise ConfigError(
            "--workers, --cluster, --with and --detach train a grid of runs: they need -m and a comma list."
        )
    composed = call.compose("train")
    from ctbench_core.cli import summaries
    from ctbench_core.experiment import queue_run, run_experiment
    from ctbench_core.runs import RunStore

    config, resume = composed.config, composed.config.training.resume
    RunStore(config.paths.outputs_root).mark_interrupted()
    if resume.enabled or resume.state_path:
        from ctbench_core.cli.legacy_verbs import run_to_resume

        run = run_to_resume(call, composed, _resume_dir(composed))
        call.progress.note(f"Resuming {run.paths.root}.")
        config = _with_overrides(run.config, composed)
        config.training.resume.allow_changes = resume.allow_changes
        queue_run(config, run.paths.root, run.status)
        result = run_experiment(config, run.paths.root, resume=True, cancel=call.cancel, progress=call.progress)
    else:
        result = run_experiment(config, cancel=call.cancel, progress=call.progress)
    result["warnings"] = composed.warnings + result["warnings"]
    return Outcome(result, summaries.run_table(result), 130 if result["state"] == "cancelled" else 0)


def _resume_dir(composed: Composed) -> Path | None:
    """Return the run directory that the overrides name, if any; a tree's is new for every run, so it does not count."""
    state = composed.config.training.resume.state_path
    if state:
        return Path(state).parent.parent
    overrides = composed.overrides
    folders = [overrides.get("paths.run_dir"), overrides.get("paths.output_dir"), composed.hydra_run_dir]
    return next((Path(folder) for folder in folders if folder), None)


def _with_overrides(stored: Config, composed: Composed) -> Config:
    """Return a run's stored config with the overrides applied, except those of its own places."""
    kept = {
        name: value
        for name, value in composed.overrides.items()
        if name in KEYS and (not KEYS[name].counts_for("run place") or name == "paths.checkpoint_path")
    }
    return set_keys(stored.copy(), kept)


def evaluate(call: Call) -> Outcome:
    """Evaluate a run on its test sets, or with on=validation on its validation set."""
    composed = call.compose("train", extras=("run", "on"))
    from ctbench_core.cli import legacy_verbs, summaries
    from ctbench_core.evaluate import evaluate_on_validation, evaluate_run
    from ctbench_core.runs import VALIDATION, open_run

    run_dir = legacy_verbs.import_if_legacy(call, composed, _named_run(composed))
    config = _with_overrides(open_run(run_dir).config, composed)
    if (chosen := composed.extras.get("on")) == VALIDATION:
        result = evaluate_on_validation(run_dir, config=config, progress=call.progress)
        return Outcome(result, summaries.score_table(result["validation"] | {"run_dir": result["run_dir"]}, VALIDATION))
    if chosen is not None:
        raise ConfigError(f"on is {chosen!r}; expected {VALIDATION}. Name test sets in data.test_manifests.")
    result = evaluate_run(run_dir, config=config, progress=call.progress)
    return Outcome(result, summaries.run_table(result))


def _named_run(composed: Composed) -> Path:
    """Return the run that the overrides name: a run directory, a checkpoint, or a job, meaning its newest run.

    Raises:
        ConfigError: none of them leads to a run.
    """
    from ctbench_core.runs import latest_run

    folder = composed.extras.get("run") or composed.overrides.get("paths.run_dir") or composed.hydra_run_dir
    if folder:
        return Path(folder)
    if composed.config.paths.checkpoint_path:
        folder = Path(composed.config.paths.checkpoint_path).parent
        return folder.parent if folder.name == "checkpoints" else folder
    return latest_run(composed.config)


@dataclasses.dataclass(frozen=True)
class _CompareNumbers:
    margin: float | None = key(
        None, "Absolute margin for non-inferiority and equivalence.", scope="describes", above=0, below=1
    )
    swaps: int = key(0, "Random exchanges of the rank-swap test; 0 leaves it out.", scope="describes", low=0)


def _number(text: str) -> float | str:
    """Return text as a number, ``.02`` as 0.02; other text as it is, for a message that names its key."""
    try:
        return float(text)
    except ValueError:
        return text


def compare(call: Call) -> Outcome:
    """Compare stored runs with the first; with by=recipe, compare recipes, each with all its seeds."""
    from ctbench_core.cli import summaries
    from ctbench_core.compare import compare_recipes, compare_runs
    from ctbench_core.inference import SWAPS
    from ctbench_core.report import write_paper
    from ctbench_core.runs import open_run

    functions = {"run": compare_runs, "recipe": compare_recipes}
    options = dict(argument.split("=", 1) for argument in call.arguments if argument.startswith(_COMPARE_OPTIONS))
    folders = [a.removeprefix("run=") for a in call.arguments if not a.startswith(_COMPARE_OPTIONS)]
    if len(folders) < 2:
        raise ConfigError(
            f"compare takes two run directories or more, got {len(folders)}: compare {usage.COMPARE_USAGE}."
        )
    by = options.get("by", "run")
    if by not in functions:
        raise unknown_name("way to compare (by=)", by, functions)
    given: dict[str, float | str] = {name: _number(options[name]) for name in ("margin", "swaps") if name in options}
    numbers = parse_options(_CompareNumbers, {"swaps": SWAPS, **given})
    comparison = functions[by](folders, options.get("on")).with_margin(numbers.margin).with_swaps(numbers.swaps)
    result, table = comparison.to_json(folders), summaries.comparison_table(comparison)
    if options.get("paper"):
        names = write_paper(Path(options["paper"]), comparison, [open_run(folder) for folder in folders])
        result["paper"] = [str(Path(options["paper"]) / name) for name in names]
        table += f"\nPaper table and Methods in {options['paper']}"
    return Outcome(result, table)


def score(call: Call) -> Outcome:
    """Compute the metrics of a table of predictions, from any source."""
    from ctbench_core.cli import summaries
    from ctbench_core.evaluate import ScoreOptions, score_table

    table, overrides = call.one_positional("score", "table of predictions")
    extras = [field.name for field in dataclasses.fields(ScoreOptions)]
    composed = call.compose("score", extras=extras, overrides=overrides)
    result = score_table(table, parse_options(ScoreOptions, composed.extras), composed.config)
    return Outcome(result, summaries.score_table(result, table))


def align(call: Call) -> Outcome:
    """Measure visual-text alignment."""
    composed = call.compose("align", extras=("embeddings",))
    from ctbench_core.alignment import run_alignment
    from ctbench_core.cli import summaries

    embeddings = composed.extras.get("embeddings")
    result = run_alignment(composed.config, embeddings=embeddings, cancel=call.cancel, progress=call.progress)
    return Outcome(result, summaries.alignment_table(result))


def check(call: Call) -> Outcome:
    """Check manifests and features; nothing is written."""
    composed = call.compose("check")
    from ctbench_core.checks import check as run_check
    from ctbench_core.cli import summaries

    result = run_check(composed.config, call.progress)
    result.warnings[:0] = composed.warnings
    return Outcome(result.to_json(), summaries.check_table(result, composed.config), 0 if result.ok else 2)


def prepare(call: Call) -> Outcome:
    """Join tables, or the files of a public data set, to manifests; without output_file they are only shown."""
    from ctbench_core.cli import summaries
    from ctbench_core.features import check_allowed
    from ctbench_core.manifest import (
        PrepareOptions,
        configured_findings,
        prepare_dataset,
        write_dataset,
        write_manifest,
    )
    from ctbench_core.manifest import prepare as join_tables

    composed = call.compose("prepare", extras=[field.name for field in dataclasses.fields(PrepareOptions)])
    options, data = parse_options(PrepareOptions, composed.extras), composed.config.data
    outputs = [Path(options.output_file)] if options.output_file else []
    for path in (*options.inputs(), *outputs):
        check_allowed(path)
    if options.dataset is not None:
        given = [name for name in vars(data.labels) if f"data.labels.{name}" in composed.overrides]
        columns = dataclasses.replace(data.columns, labels=configured_findings(composed.config))
        prepared = prepare_dataset(options, columns, {name: getattr(data.labels, name) for name in given})
        print(summaries.dataset_table(prepared), flush=True)  # shown before anything is written
        if outputs:
            write_dataset(prepared)
        places = ", ".join(str(part.manifest.path) for part in prepared.parts)
        end = f"Written: {places}" if outputs else "Preview, nothing written. Set output_file=<folder>."
        return Outcome(prepared.to_json() | {"output_file": options.output_file}, end)
    joined = join_tables(options, data.columns, data.labels)
    if outputs:
        write_manifest(joined)
    result = joined.to_json() | {"output_file": options.output_file}
    return Outcome(result, summaries.prepare_table(joined, written=bool(outputs)))


def agree(call: Call) -> Outcome:
    """Compare the labels of two manifests on their common volumes."""
    composed = call.compose("agree", extras=("first_csv", "second_csv"))
    from ctbench_core.cli import summaries
    from ctbench_core.features import check_allowed
    from ctbench_core.manifest import compare_labels, read_configured

    paths = [composed.extras.get(name) for name in ("first_csv", "second_csv")]
    if not all(paths):
        raise ConfigError(f"agree compares two manifests: agree {usage.AGREE_USAGE}.")
    first, second = (read_configured(check_allowed(str(path)), composed.config) for path in paths)
    agreement = compare_labels(first, second)
    result = agreement.to_json()
    return Outcome(result | {"warnings": composed.warnings + result["warnings"]}, summaries.agreement_table(agreement))


def export(call: Call) -> Outcome:
    """Pack one run into one zip file."""
    from ctbench_core.cli import summaries
    from ctbench_core.export import export_run

    if len(call.arguments) != 1:
        raise ConfigError(f"export takes one run directory, got {len(call.arguments)}: export <run directory>.")
    result = export_run(call.arguments[0].removeprefix("run="))
    lines = [
        f"{plural(len(result['files']), 'file')} in {result['path']}",
        *summaries.warning_lines(result["warnings"]),
    ]
    return Outcome(result, "\n".join(lines))


def pack(call: Call) -> Outcome:
    """Build the packed stores of all feature files, and audit them."""
    from ctbench_core.cli.cluster_flags import cluster_options

    composed, options = call.compose("pack"), cluster_options(call)
    from ctbench_core.cli import summaries
    from ctbench_core.dataset import pack_cache, pack_features
    from ctbench_core.executors import HERE, open_executor, shards_on
    from ctbench_core.features import check_allowed

    options = options or HERE
    if options.is_here:
        result = pack_features(composed.config, call.progress, call.cancel)
    else:
        cache = check_allowed(pack_cache(composed.config))
        cache.mkdir(parents=True, exist_ok=True)
        with open_executor(options, cache, cancel=call.cancel, progress=call.progress, trains=False) as executor:
            result = pack_features(composed.config, call.progress, call.cancel, shards_on(executor))
    result["warnings"] = composed.warnings + result["warnings"]
    return Outcome(result, summaries.pack_table(result))


def demo(call: Call) -> Outcome:
    """Write the demo data set."""
    from ctbench_core.demo import write_demo

    if call.arguments:
        raise ConfigError(f"demo takes no arguments, got {call.arguments[0]!r}; it writes data/demo.")
    result = write_demo(progress=call.progress)
    overrides = f"paths.data_root={result['data_root']} paths.manifest_dir={result['manifest_dir']}"
    command = f"{program()} train {overrides}"
    return Outcome(result, f"{plural(result['volumes'], 'volume')} written. Train on them:\n  {command}")


def doctor(call: Call) -> Outcome:
    """Check the machine, the data and the run store; nothing is changed."""
    config = call.compose("doctor").config
    from ctbench_core.cli import summaries
    from ctbench_core.doctor import examine

    diagnosis = examine(config, call.progress)
    return Outcome(diagnosis.to_json(), summaries.doctor_table(diagnosis), diagnosis.code)


def app(call: Call) -> Outcome:
    """Serve the app until it is stopped."""
    options = call.options
    if call.arguments:
        raise ConfigError(f"app takes options only, got {call.arguments[0]!r}: app {usage.APP_USAGE}.")
    if any(find_spec(name) is None for name in ("streamlit", "plotly")):
        raise MissingPackage(f"The app needs Streamlit and Plotly. Install them: {install_command('app')}")
    serve = load(_SERVE)
    serve(options.host, options.port, options.outputs, options.browser)
    return Outcome({}, "The server has stopped.")


def _later(reference: str) -> Callable[[Call], Outcome]:
    """Return a verb of another file of this room, which is imported when the verb runs."""

    def run(call: Call) -> Outcome:
        outcome: Outcome = load(f"ctbench_core.cli.{reference}")(call)
        return outcome

    return run


VERBS = {
    "app": Verb("Serve the app and open it in the browser.", usage.APP_USAGE, app, usage.APP_FLAGS),
    "train": Verb("Train one run; with -m, a grid of runs.", "[key=value ...]", train, usage.TRAIN_FLAGS),
    "evaluate": Verb(
        "Evaluate a run on its test sets, or on validation.",
        "run=<run directory> [on=validation] [key=value ...]",
        evaluate,
    ),
    "import": Verb("Import runs of ct-rate-feature-benchmarks.", usage.IMPORT_USAGE, _later("legacy_verbs:import_")),
    "aggregate": Verb(
        "Tabulate runs one by one and by label budget.", usage.AGGREGATE_USAGE, _later("legacy_verbs:aggregate")
    ),
    "contrast": Verb("Compare two label sources run by run.", usage.CONTRAST_USAGE, _later("legacy_verbs:contrast")),
    "budgets": Verb("Write label budgets and folds as manifests.", usage.BUDGETS_USAGE, _later("legacy_verbs:budgets")),
    "compare": Verb("Compare runs with the first: differences, intervals, tests.", usage.COMPARE_USAGE, compare),
    "score": Verb("Compute the metrics of a table of predictions.", "<table> [name=...] [key=value ...]", score),
    "align": Verb("Measure visual-text alignment.", "[embeddings=<npz>] [key=value ...]", align),
    "study": Verb("Run a grid of runs.", usage.STUDY_USAGE, _later("study_verbs:study"), usage.STUDY_FLAGS),
    "search": Verb(
        "Search hyper-parameters on validation.", usage.SEARCH_USAGE, _later("study_verbs:search"), usage.CLUSTER_FLAGS
    ),
    "check": Verb("Check manifests and features before training.", "[key=value ...]", check),
    "prepare": Verb(
        "Make manifests from a public data set's files, or from your tables.", usage.PREPARE_USAGE, prepare
    ),
    "agree": Verb("Measure the agreement of two label sources on the same volumes.", usage.AGREE_USAGE, agree),
    "export": Verb("Export a run as one zip file.", "<run directory>", export),
    "pack": Verb(
        "Pack the feature files into one matrix.", f"[key=value ...] {usage.WORKERS_USAGE}", pack, usage.WORKERS_FLAGS
    ),
    "doctor": Verb(
        "Check this machine, the data and the runs, and say how to fix problems.", "[key=value ...]", doctor
    ),
    "demo": Verb("Write the demo data set to data/demo.", "", demo),
}
