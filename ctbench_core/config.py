"""The typed config: every key of the product, with its type, default, meaning and bounds.

These dataclasses are the only place where a default lives. The command line composes YAML trees and
words onto them (`cli/words.py`), the screen edits them directly, and both end in the same object.
A key's dotted name is its path through the dataclasses: ``training.learning_rate``.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ctbench_core.errors import ConfigError

DEFAULT_TESTS = ("test_manual_all.csv", "test_manual_train.csv", "test_manual_valid.csv", "test.csv")

# Keys that mean another key: words of the command line and old trees may use either.
ALIASES = {
    "hydra.job.name": "job_name",
    "hydra.run.dir": "paths.run_dir",
    "logging.watch.log": "logging.watch",
}

# Keys of foreign trees that are understood and need no counterpart here.
IGNORED_PREFIXES = ("hydra.", "defaults", "logging.watch.")


def key(
    default: Any,
    help: str,
    *,
    usual: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare one config key: its default, one line of help, the usual range, and hard bounds.

    ``low`` and ``high`` are inclusive, ``above`` and ``below`` exclusive; for a list they hold for
    every item.
    """
    bounds = {"low": low, "high": high, "above": above, "below": below}
    metadata = {"help": help, "usual": usual, "bounds": {k: v for k, v in bounds.items() if v is not None}}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(kind: type) -> Any:
    """Declare a nested group of keys."""
    return field(default_factory=kind)


@dataclass
class PathsConfig:
    data_root: str = key("data/features/CT-CLIP_v2", "Feature root: manifests' feature paths are relative to it.")
    manifest_dir: str = key("data/manifests", "Folder of the manifests.")
    outputs_root: str = key("outputs", "Run store: every run gets a folder under it.")
    cache_dir: str | None = key(None, "Folder of the packed stores; empty means <outputs_root>/.packed.")
    run_dir: str | None = key(None, "Exactly this run directory; empty means <outputs_root>/<job_name>/<run id>.")
    output_dir: str | None = key(None, "Older name of paths.run_dir.")
    checkpoint_dir: str | None = key(None, "Folder of the checkpoints; empty means <run_dir>/checkpoints.")
    job_base_dir: str | None = key(None, "Folder of a job's runs; empty means <outputs_root>/<job_name>.")
    latest_run_pointer: str | None = key(
        None, "File that names the job's newest run; empty means latest_run.json in the job's folder."
    )
    checkpoint_path: str | None = key(None, "Checkpoint that `evaluate` loads; empty means the run's best one.")


@dataclass
class ColumnsConfig:
    visual_feature: str = key("visual_feature_path", "Column of the visual feature files.")
    text_feature: str | None = key(
        "text_feature_path", "Column of the text feature files; empty, or a manifest without it, runs visual-only."
    )
    labels: list[str] | None = key(
        None, "Label columns; empty means every 0/1/blank column that is no id, path or metadata."
    )
    grouping_col: str = key(
        "volumename", "Column that tells the patient: volume names are parsed, any other column is taken as it is."
    )
    metadata: list[str] = key([], "Columns that are never labels.")


@dataclass
class AutoSplitConfig:
    enabled: bool | None = key(
        None,
        "Split the validation set off the training manifest; empty means only when the validation manifest is absent.",
    )
    val_fraction: float = key(0.1, "Share of the groups that goes to validation.", usual=".1 to .2", above=0, below=1)
    stratify: bool = key(True, "Keep each finding's prevalence alike on both sides.")
    seed: int | None = key(None, "Seed of the split; empty means utils.seed.")
    group: Literal["patient", "exam", "none"] = key("patient", "What is never divided between the two sides.")


@dataclass
class CohortConfig:
    recon: Literal["all", "first", "last"] = key("all", "Reconstructions of an exam to keep.")
    exclude: str | None = key(None, "File of volume names to leave out, one a line.")
    where: list[dict[str, Any]] = key([], "Conditions on columns: {column, op, value}, op one of == != < <= > >= in.")


@dataclass
class KfoldConfig:
    folds: int | None = key(
        None, "Divide all given volumes into this many folds; empty means the given manifests.", usual="5", low=2
    )
    fold: int = key(0, "Fold to hold out as the test split, from 0.", low=0)
    seed: int | None = key(None, "Seed of the folds; empty means the same folds for every run.")
    group: Literal["patient", "exam", "none"] = key("patient", "What is never divided between two folds.")


@dataclass
class EncoderConfig:
    name: str | None = key(None, "Encoder that made the embeddings; empty means the name of the feature root.")
    pretraining: str | None = key(
        None, "What the encoder was pre-trained on.", usual="CT-RATE train, image-report pairs"
    )
    projection: Literal["unknown", "before", "after"] = key(
        "unknown", "Whether the embeddings were taken before or after the projection into the shared space."
    )


@dataclass
class DataConfig:
    train_manifest: str = key("train.csv", "Training manifest, in paths.manifest_dir.")
    val_manifest: str = key("valid.csv", "Validation manifest, in paths.manifest_dir.")
    test_manifests: list[str] | None = key(None, "Test manifests; empty means those of the usual names that exist.")
    columns: ColumnsConfig = section(ColumnsConfig)
    auto_split: AutoSplitConfig = section(AutoSplitConfig)
    kfold: KfoldConfig = section(KfoldConfig)
    budget: int | None = key(
        None, "Train on this many patients (or exams, volumes), validation included; empty means all.", low=2
    )
    budget_unit: Literal["patient", "exam", "volume"] = key("patient", "What a budget counts.")
    budget_seed: int | None = key(
        None, "Seed of the drawing order; empty means utils.seed. Budgets of one seed are nested."
    )
    selection: str | None = key(
        None, "File of the volumes to use and their roles (selection_index.csv), as another run wrote it."
    )
    reference: str | None = key(
        None,
        "Folder of another label source: its manifests draw splits, folds and budgets, and its labels judge the tests.",
    )
    label_origin: Literal["unknown", "manual", "report-derived"] = key(
        "unknown", "Where the labels come from: read by people, or derived from the reports."
    )
    encoder: EncoderConfig = section(EncoderConfig)
    on_leak: Literal["mark", "refuse"] = key(
        "mark", "Patients on both sides of given manifests: mark every figure, or refuse to run."
    )
    on_bad_feature: Literal["fail", "drop"] = key(
        "fail", "Unusable feature files: refuse to run, or drop their rows and record them."
    )
    feature_key: str | None = key(None, "Array of an .npz or entry of a .pt dict; empty means the first array.")
    pool: Literal["flatten", "mean", "cls"] = key(
        "flatten", "How token features become one vector: all values, their mean, or the first token."
    )
    cohort: CohortConfig = section(CohortConfig)
    standardise: Literal["none", "zscore", "l2"] = key(
        "none", "Scale features: by the training rows' mean and deviation, or each vector to unit norm."
    )
    preload_features: bool = key(True, "Accepted for older trees; features are always held whole.")


@dataclass
class LossConfig:
    _target_: str = key("torch.nn.BCEWithLogitsLoss", "Loss, by its registered name.")
    pos_weight: str | list[float] | None = key(
        "auto",
        "Weight of the positives: auto (negatives / positives of the training rows), none, or one number a finding.",
    )


@dataclass
class ResumeConfig:
    enabled: bool = key(False, "Continue the newest resumable run of this job.")
    state_path: str | None = key(None, "Continue from this last_state.pt.")


@dataclass
class TrainingConfig:
    target_labels: list[str] | None = key(
        None, "Findings to learn; empty means data.columns.labels, then all label columns found."
    )
    batch_size: int = key(64, "Volumes a step.", usual="32 to 512", low=1)
    learning_rate: float = key(1e-4, "Step size of the optimiser.", usual="1e-4 to 1e-2", above=0)
    weight_decay: float = key(0.0, "Shrinks the weights at every step.", usual="0 to 1e-2", low=0)
    max_epochs: int = key(
        5000, "Most passes over the training rows.", usual="50 to 5000, early stopping ends most runs", low=1
    )
    early_stopping_patience: int = key(
        15, "Epochs without a better validation figure before stopping.", usual="5 to 30", low=1
    )
    loss: LossConfig = section(LossConfig)
    optimizer: Literal["adam", "adamw", "sgd"] = key("adam", "Optimiser.")
    scheduler: Literal["none", "cosine"] = key(
        "none", "Learning rate over the epochs: constant, or falling along a cosine to max_epochs."
    )
    warmup_epochs: int = key(0, "Epochs of linear warm-up.", usual="0 to 10", low=0)
    monitor: Literal["auprc", "auroc", "f1_macro", "loss"] = key(
        "auprc", "Validation figure that picks the best epoch and stops the run."
    )
    precision: Literal["float32", "float64", "bf16"] = key(
        "float32", "Arithmetic of the training; bf16 keeps float32 weights and multiplies in bfloat16."
    )
    resume: ResumeConfig = section(ResumeConfig)
    num_workers: int = key(0, "Readers of feature files; 0 chooses by the machine.", low=0)
    task_type: str = key("classification", "Accepted for older trees.")


@dataclass
class ModelParams:
    in_features: int | None = key(None, "Input width; inferred from the features, checked when given.", low=1)
    hidden_dims: list[int] = key(
        [1024], "Widths of the hidden layers; none makes a linear probe.", usual="[256] to [1024, 512]", low=1
    )
    gate: Literal["scalar", "dimension"] = key(
        "scalar", "For inputs=gated: one weight between the two modalities a volume, or one for each hidden unit."
    )
    c: list[float] = key(
        [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0],
        "For logistic: inverse strengths of the L2 penalty, as scikit-learn's C; the best on validation is kept.",
        above=0,
    )
    k: list[int] = key(
        [1, 5, 10, 20, 50, 100], "For knn: numbers of neighbours; the best on validation is kept.", low=1
    )
    dropout: float = key(0.35, "Share of hidden units silenced at each training step.", usual="0 to .5", low=0, below=1)


@dataclass
class ModelConfig:
    _target_: str = key("mlp", "Head, by its registered name.")
    model_name: str = key("mlp", "Name of the head in tables.")
    params: ModelParams = section(ModelParams)
    inputs: Literal["visual", "text", "concat", "gated"] = key(
        "visual", "Which embeddings the head reads; gated learns how much of each a volume needs."
    )
    prompts: str | None = key(None, "File of prompt embeddings (.npz or .parquet), for zero_shot.")


@dataclass
class EvaluationConfig:
    after_training: bool = key(False, "Open the test sets right after training.")
    checkpoint_name: str = key("final_model.pt", "Checkpoint that evaluation loads.")
    negative_class_name: str = key("No pathology", "Name of the class of volumes without a finding.")
    detail: Literal["full", "scores"] = key(
        "full", "What a test leaves behind: all that pages show, or scores and figures alone, as runs of studies do."
    )


@dataclass
class UtilsConfig:
    seed: int = key(42, "Seed of every random draw.", low=0)
    device: str = key("auto", "auto, cpu, cuda or cuda:N.")


@dataclass
class AnalysisConfig:
    filter_normal_cases: bool = key(False, "Leave out volumes without any finding.")
    truth: Literal["exam", "patient", "text", "labels"] = key(
        "exam", "What makes a report a hit: same exam, same patient, identical report, same label vector."
    )
    k: list[int] = key([1, 5, 10, 50, 100], "Depths K of Recall@K.", low=1)
    within: bool = key(
        False, "Also find volumes by volumes and reports by reports, each without itself; takes twice as long."
    )
    precision: Literal["float32", "float64"] = key(
        "float32",
        "float32 settles near-ties exactly wherever that can move a figure; float64 settles every one, and is slower.",
    )
    map: Literal["pca", "umap"] = key("pca", "How the map places volumes and reports; umap needs umap-learn.")


@dataclass
class OptunaConfig:
    seed: int = key(42, "Seed of the sampler.")
    disable_pruning: bool = key(False, "Let every trial run to its end.")
    pruner_startup_trials: int = key(10, "Trials before pruning begins.", low=0)
    pruner_warmup_steps: int = key(5, "Epochs of a trial before it may be pruned.", low=0)
    pruner_interval_steps: int = key(1, "Epochs between looks at a trial.", low=1)


@dataclass
class LoggingConfig:
    logger_name: str | None = key(None, "Experiment tracker: wandb, mlflow or tensorboard; empty means none.")
    tracking_uri: str | None = key(
        None, "Address of MLflow; empty means MLFLOW_TRACKING_URI, else <outputs_root>/.mlflow/mlflow.db."
    )
    project_name: str | None = key(None, "Project in the tracker.")
    entity: str | None = key(None, "Team or user in the tracker.")
    group: str | None = key(None, "Group of runs in the tracker.")
    run_name: str | None = key(None, "Name of the run in the tracker.")
    job_type: str | None = key(None, "Kind of run in the tracker.")
    tags: list[str] | None = key(None, "Tags of the run in the tracker.")
    log_model: bool | str = key(False, "Send the checkpoint to the tracker.")
    watch: str | None = key(None, "Accepted for older trees: no gradients are sent.")


@dataclass
class Config:
    """One run, completely: what data, what head, how trained, where it lands."""

    paths: PathsConfig = section(PathsConfig)
    data: DataConfig = section(DataConfig)
    training: TrainingConfig = section(TrainingConfig)
    model: ModelConfig = section(ModelConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    utils: UtilsConfig = section(UtilsConfig)
    analysis: AnalysisConfig = section(AnalysisConfig)
    optuna: OptunaConfig = section(OptunaConfig)
    logging: LoggingConfig = section(LoggingConfig)
    job_name: str = key("train", "Folder of the run store that collects this job's runs.")

    def to_dict(self) -> dict[str, Any]:
        """Return the nested plain form, as written to a run's ``config.yaml``."""
        return dataclasses.asdict(self)

    def copy(self) -> Config:
        """Return an independent copy."""
        return copy.deepcopy(self)


@dataclass(frozen=True)
class KeyInfo:
    """One leaf key of the config: what screen, command line and docs need to know of it."""

    name: str
    annotation: Any
    default: Any
    help: str
    usual: str
    bounds: Mapping[str, float]

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values of a closed list, else empty."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def tooltip(self) -> str:
        """Help and usual range in one line."""
        return f"{self.help} Usual: {self.usual}." if self.usual else self.help


def _leaves(kind: type, prefix: str = "") -> Iterator[KeyInfo]:
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        name, annotation = prefix + item.name, hints[item.name]
        if dataclasses.is_dataclass(annotation):
            yield from _leaves(annotation, f"{name}.")  # type: ignore[arg-type]
        else:
            default = getattr(kind(), item.name)
            yield KeyInfo(
                name, annotation, default, item.metadata["help"], item.metadata["usual"], item.metadata["bounds"]
            )


KEYS: dict[str, KeyInfo] = {info.name: info for info in _leaves(Config)}


def nearest_keys(name: str) -> str:
    """Name the known keys nearest to an unknown one, for its error message."""
    near = difflib.get_close_matches(name, KEYS, n=3, cutoff=0.5)
    last = name.rsplit(".", 1)[-1]
    near += [known for known in KEYS if known.rsplit(".", 1)[-1] == last and known not in near]
    return (
        f" Did you mean {' or '.join(near[:3])}?"
        if near
        else f" Sections: {', '.join(f.name for f in dataclasses.fields(Config))}."
    )


def get_key(config: Config, name: str) -> Any:
    """Return the value of a dotted key."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def set_key(config: Config, name: str, value: Any) -> None:
    """Set a dotted key, converted to its type and checked against its bounds.

    Raises:
        ConfigError: the key is unknown or the value does not fit.
    """
    name = ALIASES.get(name, name)
    if name not in KEYS:
        raise ConfigError(f"Unknown key {name!r}.{nearest_keys(name)}")
    info = KEYS[name]
    target: Any = config
    *parents, last = name.split(".")
    for part in parents:
        target = getattr(target, part)
    setattr(target, last, _checked(_convert(value, info.annotation, info), info))


def from_mapping(content: Mapping[str, Any], base: Config | None = None) -> tuple[Config, list[str]]:
    """Build a config from a nested or dotted mapping, and list its keys that are not ours.

    Raises:
        ConfigError: a known key holds a value of the wrong type or outside its bounds.
    """
    config = base.copy() if base else Config()
    unknown = []
    for given, value in _flatten(content):
        name = ALIASES.get(given, given)
        if name in KEYS:
            set_key(config, name, value)
        elif not name.startswith(IGNORED_PREFIXES):
            unknown.append(name)
    return config, unknown


def holds_mapping(name: str) -> bool:
    """Whether a key's own value is a mapping, so that its parts are no keys."""
    return name in KEYS and "dict" in str(KEYS[name].annotation)


def _flatten(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for part, value in content.items():
        name = f"{prefix}{part}"
        if isinstance(value, Mapping) and not holds_mapping(name):
            yield from _flatten(value, f"{name}.")
        elif value is None and any(known.startswith(f"{name}.") for known in KEYS):
            continue  # an empty section of a YAML file
        else:
            yield name, value


def changed_keys(config: Config) -> dict[str, Any]:
    """Return the keys that differ from their defaults, with their values."""
    return {name: value for name, info in KEYS.items() if (value := get_key(config, name)) != info.default}


def _convert(value: Any, annotation: Any, info: KeyInfo) -> Any:
    """Convert a YAML or word value to the annotated type; refuse what would lose meaning."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        for option in arguments:
            try:
                return _convert(value, option, info)
            except ConfigError:
                continue
        raise _misfit(value, info)
    if origin is Literal:
        if value is None and "none" in arguments:
            return "none"
        if value in arguments:
            return value
        raise ConfigError(f"{info.name} is {value!r}. Known: {', '.join(map(str, arguments))}.")
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise _misfit(value, info)
        return [_convert(item, arguments[0], info) for item in value]
    if origin is dict or annotation is dict:
        if not isinstance(value, Mapping):
            raise _misfit(value, info)
        return dict(value)
    return _convert_scalar(value, annotation, info)


def _convert_scalar(value: Any, annotation: Any, info: KeyInfo) -> Any:
    if annotation is type(None) and value is not None:
        raise _misfit(value, info)
    if annotation is bool and isinstance(value, bool):
        return value
    if annotation is str and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    if annotation in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise _misfit(value, info) from None
        if not math.isfinite(number):
            raise _misfit(value, info)
        if annotation is float:
            return number
        if number == int(number):
            return int(value) if isinstance(value, (int, str)) and str(value).lstrip("-").isdigit() else int(number)
    raise _misfit(value, info)


def _checked(value: Any, info: KeyInfo) -> Any:
    tests = {
        "low": (lambda v, b: v >= b, "at least"),
        "high": (lambda v, b: v <= b, "at most"),
        "above": (lambda v, b: v > b, "above"),
        "below": (lambda v, b: v < b, "below"),
    }
    for item in value if isinstance(value, list) else [value]:
        for name, bound in info.bounds.items():
            holds, words = tests[name]
            if isinstance(item, (int, float)) and not holds(item, bound):
                raise ConfigError(f"{info.name} is {item}; it must be {words} {bound:g}.")
    return value


def _misfit(value: Any, info: KeyInfo) -> ConfigError:
    expected = (
        getattr(info.annotation, "__name__", None) if get_origin(info.annotation) is None else str(info.annotation)
    )
    return ConfigError(
        f"{info.name} is {value!r}; expected {str(expected).replace('NoneType', 'null').replace('None', 'null')}. {info.help}"
    )
