"""Write the model card of a trained head and the card of its data, as Markdown, from what its run stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ctbench_core.config import Config
from ctbench_core.declared import compared_metrics, interval_keys, metric_title
from ctbench_core.formatting import format_interval, format_metric
from ctbench_core.installation import version
from ctbench_core.label_leakage import encoder_name, leakage_banner
from ctbench_core.report.methods import training_sentences
from ctbench_core.runs import Run, disclosures_of, read_metrics, read_provenance

Shapes = Mapping[str, Sequence[int]]
_UNITS = ("volumes", "exams", "patients")
_PREPARATION = {
    "none": "The head reads features as they are.",
    "zscore": "The head reads raw features: z-scores of the training data are part of its weights.",
    "l2": "Divide each feature vector by its L2 norm first.",
}
_PLAIN = "network."


def model_card(run: Run, findings: Sequence[str], shapes: Shapes) -> str:
    """Return the model card: what the head is, how its file is read, its results with intervals, and its limits.

    Args:
        findings: in the order of the logits. shapes: of the head's tensors, by name.
    """
    config = run.config
    parts = [
        _front_matter(run),
        f"# {_cell(run.name)}",
        "A head on pre-computed embeddings of medical images, for research. It is no medical device: do not use it for "
        "the care of patients.",
        "## Head",
        " ".join(training_sentences([run])),
        _PREPARATION[config.data.standardise],
        "## Use",
        _use(shapes),
        _grid(("tensor", "shape"), [(f"`{name}`", " × ".join(map(str, shape))) for name, shape in shapes.items()]),
        "Logits are in this order; their sigmoid is a probability:",
        "\n".join(f"{number}. {_cell(finding)}" for number, finding in enumerate(findings, 1)),
        "## Results",
        *(part for test in run.evaluations() for part in _results(run, test)),
        *([] if run.evaluations() else ["The run has not been evaluated on a test set."]),
        "## Limits",
        "\n".join(f"- {text}" for text in _limits(config, shapes)),
        f"Run `{run.run_id}`, written by ctbench {version()}. DATA_CARD.md describes the data.",
    ]
    return "\n\n".join(parts) + "\n"


def data_card(run: Run, findings: Sequence[str]) -> str:
    """Return the card of the data: encoder, labels, cohort, the size and prevalence of each split, leaks."""
    config, stored = run.config, read_provenance(run.paths)
    data, encoder = config.data, config.data.encoder
    facts = [
        ("Encoder", encoder_name(config)),
        ("Pretraining", encoder.pretraining or "not stated"),
        ("Projection", encoder.projection),
        ("Inputs", config.model.inputs),
        ("Label origin", data.label_origin),
        ("Uncertain labels", data.labels.uncertain),
        ("Blank labels", data.labels.blank),
        ("Reconstructions", data.cohort.recon),
        ("Filter", "; ".join(map(str, data.cohort.where)) or "none"),
        ("Label budget", f"{data.budget} {data.budget_unit}s" if data.budget else "all"),
    ]
    counts = [(split, *(_count(sizes.get(unit)) for unit in _UNITS)) for split, sizes in stored.counts.items()]
    metrics = {test: read_metrics(run.paths.evaluation(test).metrics) for test in run.evaluations()}
    counts += [(test, *(_count(one.n.get(unit)) for unit in _UNITS)) for test, one in metrics.items() if one]
    shares = dict(stored.prevalence) | {
        test: {name: finding.value("prevalence") for name, finding in one.findings.items()}
        for test, one in metrics.items()
        if one
    }
    rows = [(_cell(name), *(format_metric(shares[split].get(name)) for split in shares)) for name in findings]
    digests = [(f"`{name}`", f"`{digest}`") for name, digest in stored.inputs.items()]
    leaks = [f"{split}: {len(patients)} patients are also in another split" for split, patients in stored.leaks.items()]
    parts = [
        f"# Data of {_cell(run.name)}",
        "Embeddings and labels that the head was trained and evaluated on. The export holds names, labels and scores of volumes, "
        "and no image or report.",
        _grid(("", ""), [(name, _cell(str(value))) for name, value in facts]),
        "## Size",
        _grid(("split", *_UNITS), counts),
        "## Prevalence",
        _grid(("finding", *shares), rows),
        "## Shared patients",
        "\n".join(f"- {text}" for text in leaks) or "No patient of the training data is in another split.",
        *(["## Digests of the inputs", _grid(("input", "digest"), digests)] if digests else []),
        "Access, licence and consent are those of the data set itself.",
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(run: Run) -> str:
    """Return the metadata that model hubs read."""
    tags = [
        "medical-imaging",
        "embeddings",
        "ctbench",
        *(["chest-ct"] if "ct" in encoder_name(run.config).lower() else []),
    ]
    return "\n".join(["---", "library_name: pytorch", "tags:", *(f"- {tag}" for tag in tags), "---"])


def _use(shapes: Shapes) -> str:
    layers = [name for name in shapes if name.startswith(_PLAIN) and name.endswith(".weight")]
    code = ["from safetensors.torch import load_file", "", 'weights = load_file("model.safetensors")']
    if layers and all(name.startswith(_PLAIN) for name in shapes):
        code += [f"x = features  # (N, {shapes[layers[0]][1]})"]
        for name in layers:
            layer = name.removesuffix(".weight")
            step = f'x @ weights["{name}"].T + weights["{layer}.bias"]'
            code.append(f"x = {step}" if name == layers[-1] else f"x = ({step}).relu()")
        code.append("probabilities = x.sigmoid()")
    return "\n".join(["```python", *code, "```"])


def _results(run: Run, test: str) -> list[str]:
    """Return the results on a test set: its disclosures, and each finding and the macro mean with intervals."""
    metrics = read_metrics(run.paths.evaluation(test).metrics)
    if metrics is None:
        return []
    names = [name for name in compared_metrics() if name in interval_keys()]
    rows = [
        (_cell(finding), *(format_interval(one.value(name), one.interval(name).to_list()) for name in names))
        for finding, one in metrics.findings.items()
    ]
    macro = {name: metrics.macro.get(key) for name, key in interval_keys().items()}
    means = [format_interval(one.value, one.interval.to_list()) if (one := macro.get(name)) else "" for name in names]
    table = _grid(("finding", *map(metric_title, names)), [*rows, ("Macro mean", *means)])
    sentences = [_cell(text) for text in disclosures_of([run], test).sentences()]
    return [f"### {_cell(test)}", f"{'; '.join(sentences)}. 95 % intervals over patients.", table]


def _limits(config: Config, shapes: Shapes) -> list[str]:
    texts = [
        "Results hold for this test set; other sites, scanners and populations may differ.",
        "Labels may be wrong; intervals do not include their errors."
        if config.data.label_origin != "manual"
        else "Labels were set by readers; intervals do not include their errors.",
        "Probabilities depend on the prevalence of the data.",
    ]
    if any(name.startswith("knn.") for name in shapes):
        texts.append("The file holds the features and labels of the training volumes: protect it as you protect them.")
    return [*texts, *filter(None, [leakage_banner(config)])]


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """Escape what Markdown would read as the end of a cell or as markup."""
    return "".join(f"\\{letter}" if letter in "\\|`*_<>[]#" else letter for letter in " ".join(text.split()))


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
