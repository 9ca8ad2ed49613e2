"""The verbs of the command line: each composes a config, calls the core, and returns its JSON and a short table.

MERGED: The verb that compares runs.
"""

from __future__ import annotations

from pathlib import Path

from ctbench_core.cli import legacy_verbs, study_verbs, summaries
from ctbench_core.cli.call import Call, Outcome, Verb
from ctbench_core.cli.compose import Composed
from ctbench_core.cli.summaries import grid
from ctbench_core.config import Config, set_key
from ctbench_core.errors import ConfigError, unknown_name
from ctbench_core.formatting import format_metric

WORDS = "<run directory> <run directory> ... [on=<test set|validation>] [by=run|recipe] [paper=<folder>]"

_OPTIONS = ("on=", "by=", "paper=")


def compare(call: Call) -> Outcome:
    """Compare stored runs, or with by=recipe the recipes of which they are seeds, with the first."""
    from ctbench_core.compare import compare_recipes, compare_runs
    from ctbench_core.report import write_paper
    from ctbench_core.runs import open_run

    ways = {"run": compare_runs, "recipe": compare_recipes}
    options = dict(word.split("=", 1) for word in call.words if word.startswith(_OPTIONS))
    folders = [word.removeprefix("run=") for word in call.words if not word.startswith(_OPTIONS)]
    if len(folders) < 2:
        raise ConfigError(f"compare takes two run directories or more, got {len(folders)}: compare {WORDS}.")
    by = options.get("by", "run")
    if by not in ways:
        raise unknown_name("way to compare (by=)", by, ways)
    found = ways[by](folders, options.get("on"))
    result = found.to_json(folders)
    rows = [
        [
            f"{row.a} - {row.b}" if row.label == "macro" else f"  {row.label}",
            row.metric.upper(),
            format_metric(row.delta),
            f"[{format_metric(row.lo)}, {format_metric(row.hi)}]",
            format_metric(row.p),
            format_metric(row.p_adjusted),
        ]
        for row in found.differences.itertuples()
    ]
    n = found.common.n
    head = f"{found.on}: {n['volumes']:,} volumes, {n['exams']:,} exams, {n['patients']:,} patients in common"
    if found.common.left_out:
        head += f", {found.common.left_out:,} volumes left out"
    parts = [head, grid(["", "", "difference", "95 %", "p", "adjusted"], rows)]
    if len(found.differences):
        parts.append(f"Adjusted by Benjamini-Hochberg over {found.differences['family'].iloc[0]}; intervals are not.")
    for metric, best in found.best.items():
        if best.index is not None and best.marked:
            parts.append(f"Best macro {metric.upper()}, against all others (max-T): {found.common.names[best.index]}")
    parts.append(" · ".join(found.marks.sentences()))
    if options.get("paper"):
        names = write_paper(Path(options["paper"]), found, [open_run(folder) for folder in folders])
        result["paper"] = [str(Path(options["paper"]) / name) for name in names]
        parts.append(f"Paper table and Methods in {options['paper']}")
    return Outcome(result, "\n".join(parts))


def train(call: Call) -> Outcome:
    """Train one run, or resume one; after -m, a grid of runs."""
    if call.options.multirun:
        return study_verbs.train_grid(call)
    from ctbench_core.experiment import queue_run, run_experiment
    from ctbench_core.runs import RunStore

    composed = call.compose("train")
    config, resume = composed.config, composed.config.training.resume
    RunStore(config.paths.outputs_root).settle()
    if resume.enabled or resume.state_path:
        run = legacy_verbs.run_to_resume(call, composed, _resume_dir(composed))
        call.progress.note(f"Resuming {run.paths.root}.")
        config = _overlaid(run.config, composed)
        queue_run(config, run.paths.root, run.status)
        result = run_experiment(config, run.paths.root, resume=True, cancel=call.cancel, progress=call.progress)
    else:
        result = run_experiment(config, cancel=call.cancel, progress=call.progress)
    result["warnings"] = composed.warnings + result["warnings"]
    return Outcome(result, summaries.run_table(result), 130 if result["state"] == "cancelled" else 0)


def _resume_dir(composed: Composed) -> Path | None:
    """Return the run directory that words name, if any; one that a tree makes up anew is not meant."""
    state = composed.config.training.resume.state_path
    if state:
        return Path(state).parent.parent
    named = [composed.given.get("paths.run_dir"), composed.given.get("paths.output_dir"), composed.hydra_run_dir]
    return next((Path(folder) for folder in named if folder), None)


def _overlaid(stored: Config, composed: Composed) -> Config:
    """Return a run's stored config with the given words laid over it, but not its place and not `resume`."""
    config = stored.copy()
    for name, value in composed.given.items():
        if name != "job_name" and not name.startswith(("paths.run_dir", "paths.output_dir", "training.resume")):
            set_key(config, name, value)
    return config


def evaluate(call: Call) -> Outcome:
    """Open the test sets of a trained run."""
    from ctbench_core.evaluate import evaluate_run
    from ctbench_core.runs import open_run

    composed = call.compose("train", extras=("run",))
    run_dir = legacy_verbs.import_if_legacy(call, composed, _named_run(composed))
    config = _overlaid(open_run(run_dir).config, composed)
    result = evaluate_run(run_dir, config=config, progress=call.progress)
    return Outcome(result, summaries.run_table(result))


def _named_run(composed: Composed) -> Path:
    """Return the run that words name: its directory, its checkpoint, or a job, whose newest run is meant.

    Raises:
        ConfigError: none of them leads to a run.
    """
    from ctbench_core.runs import latest_run

    named = composed.extras.get("run") or composed.given.get("paths.run_dir") or composed.hydra_run_dir
    if named:
        return Path(named)
    if composed.config.paths.checkpoint_path:
        folder = Path(composed.config.paths.checkpoint_path).parent
        return folder.parent if folder.name == "checkpoints" else folder
    return latest_run(composed.config)


def score(call: Call) -> Outcome:
    """Score anyone's predictions."""
    import dataclasses

    from ctbench_core.evaluate import ScoreOptions, options_from, score_table

    tables_given = [word for word in call.words if "=" not in word]
    if len(tables_given) != 1:
        raise ConfigError(f"score takes one table of predictions, got {len(tables_given)}: score <table> [name=...].")
    call.words.remove(tables_given[0])
    composed = call.compose("score", extras=tuple(field.name for field in dataclasses.fields(ScoreOptions)))
    result = score_table(tables_given[0], options_from(composed.extras), composed.config)
    return Outcome(result, summaries.score_table(result, tables_given[0]))


def align(call: Call) -> Outcome:
    """Measure visual-text alignment."""
    from ctbench_core.alignment.job import run_alignment

    composed = call.compose("align", extras=("embeddings",))
    embeddings = composed.extras.get("embeddings")
    result = run_alignment(composed.config, embeddings=embeddings, cancel=call.cancel, progress=call.progress)
    return Outcome(result, summaries.alignment_table(result))


def check(call: Call) -> Outcome:
    """Audit manifests and features; nothing is written."""
    from ctbench_core.checks import check as run_check

    composed = call.compose("check")
    result = run_check(composed.config, call.progress)
    result.warnings[:0] = composed.warnings
    return Outcome(result.to_json(), summaries.check_table(result), 0 if result.ok else 2)


def prepare(call: Call) -> Outcome:
    """Join tables to a manifest; without output_file it is only shown."""
    import dataclasses

    from ctbench_core.features import check_allowed
    from ctbench_core.manifest import PrepareOptions, options_from, write_manifest
    from ctbench_core.manifest import prepare as join_tables

    composed = call.compose("prepare", extras=tuple(field.name for field in dataclasses.fields(PrepareOptions)))
    options = options_from(composed.extras)
    for path in (*options.inputs(), *([Path(options.output_file)] if options.output_file else [])):
        check_allowed(path)
    prepared = join_tables(options, composed.config.data.columns)
    if options.output_file:
        write_manifest(prepared)
    result = prepared.to_json() | {"output_file": options.output_file}
    return Outcome(result, summaries.prepare_table(prepared, written=options.output_file is not None))


def agree(call: Call) -> Outcome:
    """Compare the labels of two manifests over the volumes that both have."""
    from ctbench_core.features import check_allowed
    from ctbench_core.manifest import compare_labels, read_manifest

    composed = call.compose("agree", extras=("first_csv", "second_csv"))
    paths = [composed.extras.get(name) for name in ("first_csv", "second_csv")]
    if not all(paths):
        raise ConfigError("agree compares two manifests: agree first_csv=<manifest> second_csv=<manifest>.")
    config = composed.config
    labels = config.training.target_labels
    first, second = (read_manifest(check_allowed(str(path)), config.data.columns, labels) for path in paths)
    agreement = compare_labels(first, second)
    return Outcome(agreement.to_json(), summaries.agreement_table(agreement))


def export(call: Call) -> Outcome:
    """Pack one run into one zip."""
    from ctbench_core.export import export_run

    if len(call.words) != 1:
        raise ConfigError(f"export takes one run directory, got {len(call.words)} words: export <run directory>.")
    result = export_run(call.words[0].removeprefix("run="))
    return Outcome(result, f"{len(result['files'])} files in {result['path']}")


def pack(call: Call) -> Outcome:
    """Build the packed stores of all feature files, and audit them."""
    from ctbench_core.dataset import pack_features

    composed = call.compose("pack")
    result = pack_features(composed.config, call.progress, call.cancel)
    result["warnings"] = composed.warnings + result["warnings"]
    return Outcome(result, summaries.pack_table(result))


def demo(call: Call) -> Outcome:
    """Write the demo data set."""
    from ctbench_core.demo import write_demo

    if call.words:
        raise ConfigError(f"demo takes no words, got {call.words[0]!r}; it writes data/demo.")
    result = write_demo(progress=call.progress)
    words = f"paths.data_root={result['data_root']} paths.manifest_dir={result['manifest_dir']}"
    return Outcome(result, f"{result['volumes']} volumes. Train on them:\n  python -m ctbench_core train {words}")


def doctor(call: Call) -> Outcome:
    """Look for what may be wrong on this machine; nothing is changed."""
    from ctbench_core.doctor import examine

    diagnosis = examine(call.compose("doctor").config, call.progress)
    return Outcome(diagnosis.to_json(), summaries.doctor_table(diagnosis), diagnosis.code)


PREPARE_WORDS = (
    "labels_csv=<table> [split_csv=<table or feature folder>] [metadata_csv=<table>] [reports_csv=<table>] "
    "[mapping_csv=<accession table>] [output_file=<manifest>] [split=...] [name_column=VolumeName] "
    "[accession_column=AccessionNo] [mapped_column=NameinCTRATE] [metadata_columns=[...]] [report_columns=[...]] "
    "[visual_prefix=image] [visual_suffix=.npz] [visual_level=volume|exam] "
    "[text_prefix=...] [text_suffix=.npz] [text_level=volume|exam] [key=value ...]"
)

VERBS = {
    "train": Verb("Train one run; after -m, a grid of runs.", "[key=value ...]", train, study_verbs.TRAIN_FLAGS),
    "evaluate": Verb("Open test sets for a trained run.", "run=<run directory> [key=value ...]", evaluate),
    "import": Verb(
        "Take runs of the older system into the run store.", legacy_verbs.IMPORT_WORDS, legacy_verbs.import_
    ),
    "aggregate": Verb(
        "Many runs in two tables: by run, by label budget.", legacy_verbs.AGGREGATE_WORDS, legacy_verbs.aggregate
    ),
    "contrast": Verb("Two label sources compared run by run.", legacy_verbs.CONTRAST_WORDS, legacy_verbs.contrast),
    "budgets": Verb("Budget and K-fold budget manifests as files.", legacy_verbs.BUDGETS_WORDS, legacy_verbs.budgets),
    "compare": Verb("Runs against the first: differences, intervals, tests.", WORDS, compare),
    "score": Verb("Metrics of anyone's predictions.", "<table> [name=...] [key=value ...]", score),
    "align": Verb(
        "Visual-text alignment of data.train_manifest, or of bare arrays.", "[embeddings=<npz>] [key=value ...]", align
    ),
    "study": Verb("A grid of runs.", study_verbs.STUDY_WORDS, study_verbs.study, study_verbs.STUDY_FLAGS),
    "search": Verb("Search hyper-parameters by validation.", study_verbs.SEARCH_WORDS, study_verbs.search),
    "check": Verb("Audit manifests and features before training.", "[key=value ...]", check),
    "prepare": Verb("Join label, split, metadata and report tables to one manifest.", PREPARE_WORDS, prepare),
    "agree": Verb(
        "Agreement of two label sources over the same volumes.",
        "first_csv=<manifest> second_csv=<manifest> [key=value ...]",
        agree,
    ),
    "export": Verb("One zip of a run: scores, tables, curves, config, provenance.", "<run directory>", export),
    "pack": Verb("Build the packed store of the feature files.", "[key=value ...]", pack),
    "doctor": Verb("What may be wrong on this machine, and what to do.", "[key=value ...]", doctor),
    "demo": Verb("Write the demo data set to data/demo.", "", demo),
}
