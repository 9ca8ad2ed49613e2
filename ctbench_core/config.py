"""Define the typed config: every key with its type, default, help and bounds.

Defaults live in these dataclasses and nowhere else. The command line composes YAML trees and overrides onto them
(`cli/compose.py`), and the screen edits them directly. A key's dotted name is its path through the dataclasses:
``training.learning_rate``.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import operator
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ctbench_core.errors import ConfigError

DEFAULT_TESTS = ("test_manual_all.csv", "test_manual_train.csv", "test_manual_valid.csv", "test.csv")

# Other names of keys, in overrides and older config trees.
ALIASES = {
    "hydra.job.name": "job_name",
    "hydra.run.dir": "paths.run_dir",
    "logging.watch.log": "logging.watch",
}

# Keys of older config trees that have no counterpart here and need none.
IGNORED_PREFIXES = ("hydra.", "defaults", "logging.watch.")


def key(default: Any, help: str, *, usual: str = "", **bounds: float) -> Any:
    """Declare a config key: its default, one line of help, the usual range, and hard bounds.

    Bounds ``low`` and ``high`` are inclusive, ``above`` and ``below`` exclusive; in a list they apply to every item.
    """
    metadata = {"help": help, "usual": usual, "bounds": bounds}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(kind: type) -> Any:
    """Declare a nested group of keys."""
    return field(default_factory=kind)


@dataclass
class PathsConfig:
    data_root: str = key("data/features/CT-CLIP_v2", "Feature root: the manifests' feature paths start from it.")
    manifest_dir: str = key("data/manifests", "Folder of the manifests.")
    outputs_root: str = key("outputs", "Run store: the folder of all runs.")
    cache_dir: str | None = key(None, "Folder of packed features. Empty = <outputs_root>/.packed.")
    run_dir: str | None = key(None, "Run directory. Empty = <outputs_root>/<job_name>/<run id>.")
    output_dir: str | None = key(None, "Older name of paths.run_dir.")
    checkpoint_dir: str | None = key(None, "Folder of the checkpoints. Empty = <run_dir>/checkpoints.")
    job_base_dir: str | None = key(None, "Folder of a job's runs. Empty = <outputs_root>/<job_name>.")
    latest_run_pointer: str | None = key(
        None, "File with the path of the job's newest run. Empty = latest_run.json in the job's folder."
    )
    checkpoint_path: str | None = key(None, "Checkpoint to evaluate. Empty = the run's best checkpoint.")


@dataclass
class ColumnsConfig:
    visual_feature: str = key("visual_feature_path", "Column with the paths of the visual features.")
    text_feature: str | None = key(
        "text_feature_path", "Column with the paths of the text features. Empty or absent = visual features only."
    )
    labels: list[str] | None = key(
        None, "Label columns. Empty = every column of 0, 1 and blanks that is not an ID, path or metadata."
    )
    grouping_col: str = key(
        "volumename", "Column that identifies the patient. Volume names are parsed; other columns are used unchanged."
    )
    metadata: list[str] = key([], "Columns that are never labels.")


@dataclass
class AutoSplitConfig:
    enabled: bool | None = key(
        None, "Split validation off the training manifest. Empty = only when the validation manifest does not exist."
    )
    val_fraction: float = key(0.1, "Fraction of the groups used for validation.", usual=".1 to .2", above=0, below=1)
    stratify: bool = key(True, "Keep each finding's prevalence similar in training and validation.")
    seed: int | None = key(None, "Seed of the split. Empty = utils.seed.")
    group: Literal["patient", "exam", "none"] = key("patient", "Unit that is kept together in one split.")


@dataclass
class CohortConfig:
    recon: Literal["all", "first", "last"] = key("all", "Reconstructions of an exam to keep.")
    exclude: str | None = key(None, "Exclusion list: a file with one volume name per line.")
    where: list[dict[str, Any]] = key([], "Conditions on columns: {column, op, value}, op one of == != < <= > >= in.")


@dataclass
class KfoldConfig:
    folds: int | None = key(
        None, "Number of folds over all volumes. Empty = the manifests' own splits.", usual="5", low=2
    )
    fold: int = key(0, "Fold to use as the test set, counted from 0.", low=0)
    seed: int | None = key(None, "Seed of the folds. Empty = the same folds for every run.")
    group: Literal["patient", "exam", "none"] = key("patient", "Unit that is kept together in one fold.")


@dataclass
class EncoderConfig:
    name: str | None = key(None, "Encoder that made the embeddings. Empty = the name of the feature root.")
    pretraining: str | None = key(None, "Pre-training data of the encoder.", usual="CT-RATE train, image-report pairs")
    projection: Literal["unknown", "before", "after"] = key(
        "unknown", "Embeddings taken before or after the projection into the shared space."
    )


@dataclass
class DataConfig:
    train_manifest: str = key("train.csv", "Training manifest, in paths.manifest_dir.")
    val_manifest: str = key("valid.csv", "Validation manifest, in paths.manifest_dir.")
    test_manifests: list[str] | None = key(
        None, f"Test manifests. Empty = those of {', '.join(DEFAULT_TESTS)} that exist."
    )
    columns: ColumnsConfig = section(ColumnsConfig)
    auto_split: AutoSplitConfig = section(AutoSplitConfig)
    kfold: KfoldConfig = section(KfoldConfig)
    budget: int | None = key(
        None, "Label budget: number of patients (exams, volumes) for training and validation. Empty = all.", low=2
    )
    budget_unit: Literal["patient", "exam", "volume"] = key("patient", "Unit of the label budget.")
    budget_seed: int | None = key(
        None, "Seed of the budget's drawing order. Empty = utils.seed. Budgets of one seed are nested."
    )
    selection: str | None = key(None, "File of volumes and their splits (selection_index.csv), written by another run.")
    reference: str | None = key(
        None,
        "Manifest folder of the reference label source: it defines splits, folds, budgets and test labels.",
    )
    label_origin: Literal["unknown", "manual", "report-derived"] = key(
        "unknown", "Origin of the labels: annotated by readers, or derived from the reports."
    )
    encoder: EncoderConfig = section(EncoderConfig)
    on_leak: Literal["mark", "refuse"] = key(
        "mark", "Patients shared between splits: warn and mark every result, or stop with an error."
    )
    on_bad_feature: Literal["fail", "drop"] = key(
        "fail", "Unusable feature files: stop with an error, or skip their rows and list them."
    )
    feature_key: str | None = key(None, "Array of an .npz file or entry of a .pt dict. Empty = the first array.")
    pool: Literal["flatten", "mean", "cls"] = key(
        "flatten", "Pooling of token features: all values, the mean token, or the first token."
    )
    cohort: CohortConfig = section(CohortConfig)
    standardise: Literal["none", "zscore", "l2"] = key(
        "none", "Scaling of the features: z-scores (mean and SD of the training rows), or unit L2 norm of each vector."
    )
    preload_features: bool = key(True, "Accepted for older config trees; features are always held in memory.")


@dataclass
class LossConfig:
    _target_: str = key("torch.nn.BCEWithLogitsLoss", "Name of the loss.")
    pos_weight: str | list[float] | None = key(
        "auto", "Positive-class weight: auto (negatives / positives in training), none, or one number per finding."
    )


@dataclass
class ResumeConfig:
    enabled: bool = key(False, "Resume the newest resumable run of this job.")
    state_path: str | None = key(None, "Resume from this last_state.pt.")


@dataclass
class TrainingConfig:
    target_labels: list[str] | None = key(
        None, "Findings to train on. Empty = data.columns.labels, else every label column."
    )
    batch_size: int = key(64, "Volumes per training step.", usual="32 to 512", low=1)
    learning_rate: float = key(1e-4, "Step size of the optimiser.", usual="1e-4 to 1e-2", above=0)
    weight_decay: float = key(0.0, "Strength of the weight decay.", usual="0 to 1e-2", low=0)
    max_epochs: int = key(5000, "Largest number of epochs.", usual="50 to 5000; early stopping ends most runs", low=1)
    early_stopping_patience: int = key(15, "Epochs without improvement before training stops.", usual="5 to 30", low=1)
    loss: LossConfig = section(LossConfig)
    optimizer: Literal["adam", "adamw", "sgd"] = key("adam", "Optimiser.")
    scheduler: Literal["none", "cosine"] = key(
        "none", "Learning rate schedule: constant, or cosine decay until max_epochs."
    )
    warmup_epochs: int = key(0, "Epochs of linear warm-up.", usual="0 to 10", low=0)
    monitor: Literal["auprc", "auroc", "f1_macro", "loss"] = key(
        "auprc", "Early-stopping metric: the validation metric that selects the best epoch."
    )
    precision: Literal["float32", "float64", "bf16"] = key(
        "float32", "Precision of the training. bf16 keeps float32 weights and multiplies in bfloat16."
    )
    resume: ResumeConfig = section(ResumeConfig)
    num_workers: int = key(0, "Parallel readers of feature files. 0 = automatic.", low=0)
    task_type: str = key("classification", "Accepted for older config trees.")


@dataclass
class ModelParams:
    in_features: int | None = key(None, "Input dimensions. Empty = those of the features.", low=1)
    hidden_dims: list[int] = key(
        [1024], "Widths of the hidden layers. Empty = a linear probe.", usual="[256] to [1024, 512]", low=1
    )
    gate: Literal["scalar", "dimension"] = key(
        "scalar", "Gate of the gated inputs: one weight per volume, or one per hidden unit."
    )
    c: list[float] = key(
        [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0],
        "Inverse L2 penalties C to try (as in scikit-learn); validation selects the best.",
        above=0,
    )
    k: list[int] = key([1, 5, 10, 20, 50, 100], "Numbers of neighbours to try; validation selects the best.", low=1)
    dropout: float = key(0.35, "Fraction of hidden units dropped in a training step.", usual="0 to .5", low=0, below=1)


@dataclass
class ModelConfig:
    _target_: str = key("mlp", "Name of the head.")
    model_name: str = key("mlp", "Name of the head in tables.")
    params: ModelParams = section(ModelParams)
    inputs: Literal["visual", "text", "concat", "gated"] = key(
        "visual", "Embeddings that the head uses: visual, text, both concatenated, or both weighted by a learned gate."
    )
    prompts: str | None = key(None, "Prompt embeddings for zero_shot (.npz or .parquet).")


@dataclass
class EvaluationConfig:
    after_training: bool = key(False, "Evaluate on test right after training.")
    checkpoint_name: str = key("final_model.pt", "File name of the checkpoint to evaluate.")
    negative_class_name: str = key("No pathology", "Name of the class of volumes without a finding.")
    detail: Literal["full", "scores"] = key(
        "full", "Stored results of an evaluation: all that the pages show, or only scores and metrics."
    )


@dataclass
class UtilsConfig:
    seed: int = key(42, "Random seed.", low=0)
    device: str = key("auto", "Device: auto, cpu, cuda or cuda:N.")


@dataclass
class AnalysisConfig:
    filter_normal_cases: bool = key(False, "Exclude volumes without any finding.")
    truth: Literal["exam", "patient", "text", "labels"] = key(
        "exam", "What makes a match: same exam, same patient, identical report, or same label vector."
    )
    k: list[int] = key([1, 5, 10, 50, 100], "Depths K of Recall@K.", low=1)
    within: bool = key(False, "Also search within each modality. Takes twice as long.")
    precision: Literal["float32", "float64"] = key(
        "float32", "float32 resolves every near-tie that can change a metric; float64 resolves all, and is slower."
    )
    map: Literal["pca", "umap"] = key("pca", "Projection of the embedding map. umap needs umap-learn.")


@dataclass
class OptunaConfig:
    seed: int = key(42, "Seed of the sampler.")
    disable_pruning: bool = key(False, "Train every trial to its end.")
    pruner_startup_trials: int = key(10, "Trials before pruning starts.", low=0)
    pruner_warmup_steps: int = key(5, "Epochs of a trial before it can be pruned.", low=0)
    pruner_interval_steps: int = key(1, "Epochs between two pruning decisions.", low=1)


@dataclass
class LoggingConfig:
    logger_name: str | None = key(None, "Experiment tracker: wandb, mlflow or tensorboard. Empty = none.")
    tracking_uri: str | None = key(
        None, "Address of MLflow. Empty = MLFLOW_TRACKING_URI, else <outputs_root>/.mlflow/mlflow.db."
    )
    project_name: str | None = key(None, "Project in the tracker.")
    entity: str | None = key(None, "Team or user in the tracker.")
    group: str | None = key(None, "Group of runs in the tracker.")
    run_name: str | None = key(None, "Run name in tables and in the tracker. Empty = automatic.")
    job_type: str | None = key(None, "Kind of run in the tracker.")
    tags: list[str] | None = key(None, "Tags of the run in the tracker.")
    log_model: bool | str = key(False, "Send the checkpoint to the tracker.")
    watch: str | None = key(None, "Accepted for older config trees; gradients are not sent.")


@dataclass
class Config:
    """Everything that defines one run: data, head, training and output paths."""

    paths: PathsConfig = section(PathsConfig)
    data: DataConfig = section(DataConfig)
    training: TrainingConfig = section(TrainingConfig)
    model: ModelConfig = section(ModelConfig)
    evaluation: EvaluationConfig = section(EvaluationConfig)
    utils: UtilsConfig = section(UtilsConfig)
    analysis: AnalysisConfig = section(AnalysisConfig)
    optuna: OptunaConfig = section(OptunaConfig)
    logging: LoggingConfig = section(LoggingConfig)
    job_name: str = key("train", "Name of the job: the folder of its runs in the run store.")

    def to_dict(self) -> dict[str, Any]:
        """Return a nested mapping, as stored in a run's ``config.yaml``."""
        return dataclasses.asdict(self)

    def copy(self) -> Config:
        """Return an independent copy."""
        return copy.deepcopy(self)


@dataclass(frozen=True)
class KeyInfo:
    """One key of the config, as form, command line and docs show it."""

    name: str
    annotation: Any
    default: Any
    help: str
    usual: str
    bounds: Mapping[str, float]

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values; empty when the key is not a choice."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def tooltip(self) -> str:
        """Help and usual range in one line."""
        return f"{self.help} Usual: {self.usual}." if self.usual else self.help


def _keys_of(kind: type, prefix: str = "") -> Iterator[KeyInfo]:
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        name, annotation = prefix + item.name, hints[item.name]
        if dataclasses.is_dataclass(annotation):
            yield from _keys_of(annotation, f"{name}.")  # type: ignore[arg-type]
        else:
            default = getattr(kind(), item.name)
            yield KeyInfo(name, annotation, default, **item.metadata)


KEYS: dict[str, KeyInfo] = {info.name: info for info in _keys_of(Config)}


def nearest_keys(name: str) -> str:
    """Suggest the known keys nearest to an unknown one, for its error message."""
    near = difflib.get_close_matches(name, KEYS, n=3, cutoff=0.5)
    last = name.rsplit(".", 1)[-1]
    near += [known for known in KEYS if known.rsplit(".", 1)[-1] == last and known not in near]
    if near:
        return f" Did you mean {' or '.join(near[:3])}?"
    return f" Sections: {', '.join(item.name for item in dataclasses.fields(Config))}."


def get_key(config: Config, name: str) -> Any:
    """Return the value of a dotted key."""
    return operator.attrgetter(name)(config)


def set_key(config: Config, name: str, value: Any) -> None:
    """Convert a value to the key's type, check its bounds, and set it.

    Raises:
        ConfigError: the key is unknown or the value does not fit.
    """
    name = ALIASES.get(name, name)
    if name not in KEYS:
        raise ConfigError(f"Unknown key {name!r}.{nearest_keys(name)}")
    info = KEYS[name]
    section_name, _, last = name.rpartition(".")
    target = get_key(config, section_name) if section_name else config
    setattr(target, last, _checked(_convert(value, info.annotation, info), info))


def from_mapping(content: Mapping[str, Any], base: Config | None = None) -> tuple[Config, list[str]]:
    """Build a config from a nested or dotted mapping; return it with the unknown keys.

    Raises:
        ConfigError: a known key holds a value of the wrong type or outside its bounds.
    """
    config = base.copy() if base else Config()
    unknown = []
    for written, value in flatten(content):
        name = ALIASES.get(written, written)
        is_empty_section = value is None and any(known.startswith(f"{name}.") for known in KEYS)
        if name in KEYS:
            set_key(config, name, value)
        elif not is_empty_section and not name.startswith(IGNORED_PREFIXES):
            unknown.append(name)
    return config, unknown


def flatten(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of a nested or dotted mapping; a key whose value is a mapping stays whole."""
    for part, value in content.items():
        name = f"{prefix}{part}"
        takes_mapping = name in KEYS and "dict" in str(KEYS[name].annotation)
        if isinstance(value, Mapping) and not takes_mapping:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def changed_keys(config: Config) -> dict[str, Any]:
    """Return the keys that differ from their defaults, with their values."""
    return {name: value for name, info in KEYS.items() if (value := get_key(config, name)) != info.default}


def _convert(value: Any, annotation: Any, info: KeyInfo) -> Any:
    """Convert a value from YAML or an override to the annotated type, without loss."""
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
        "low": (operator.ge, "at least"),
        "high": (operator.le, "at most"),
        "above": (operator.gt, "above"),
        "below": (operator.lt, "below"),
    }
    for item in value if isinstance(value, list) else [value]:
        for name, bound in info.bounds.items():
            holds, relation = tests[name]
            if isinstance(item, (int, float)) and not holds(item, bound):
                raise ConfigError(f"{info.name} is {item}; it must be {relation} {bound:g}.")
    return value


def _misfit(value: Any, info: KeyInfo) -> ConfigError:
    is_plain = get_origin(info.annotation) is None
    expected = getattr(info.annotation, "__name__", None) if is_plain else str(info.annotation)
    expected = str(expected).replace("NoneType", "null").replace("None", "null")
    return ConfigError(f"{info.name} is {value!r}; expected {expected}. {info.help}")
