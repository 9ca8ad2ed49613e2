"""Keys of training and of the head. Parameters of losses and heads are declared where these are registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ctbench_core.config.sections import section, with_parameters
from ctbench_core.declared import HEADS, LOSSES, OPTIMIZERS, SCHEDULES, key, macro_keys


@dataclass
class LossConfig:
    _target_: str = key("torch.nn.BCEWithLogitsLoss", "Name of the loss.", scope="stack", registry=LOSSES, label="Loss")
    pos_weight: str | list[float] | None = key(
        "auto",
        "Positive-class weight: auto (negatives / positives in training), none, or one number per finding.",
        scope="head",
        label="Positive-class weight",
    )

    if TYPE_CHECKING:  # parameters of registered losses are fields too

        def __getattr__(self, name: str) -> Any: ...


@dataclass
class ResumeConfig:
    enabled: bool = key(
        False,
        "Resume the newest resumable run of this job.",
        scope="place",
        command_line_only="Runs has a Resume button",
    )
    state_path: str | None = key(
        None, "Resume from this last_state.pt.", scope="place", raw=True, command_line_only="Runs has a Resume button"
    )
    allow_changes: bool = key(
        False,
        "Resume although data or settings changed; both are recorded, segment by segment.",
        scope="place",
        command_line_only="pages resume with the stored settings",
    )


@dataclass
class TrainingConfig:
    target_labels: list[str] | None = key(
        None,
        "Findings to train on. Empty = data.columns.labels, else every label column.",
        scope="data",
        label="Findings",
    )
    batch_size: int = key(
        64, "Volumes per training step.", scope="bank", usual="32 to 512", low=1, label="Batch size", step=32
    )
    shuffle: Literal["rows", "blocks"] = key(
        "rows",
        "Order of an epoch: all rows at random, or blocks of the packed store one after the other, for stores larger than "
        "the memory.",
        scope="bank",
        label="Shuffle",
    )
    learning_rate: float = key(
        1e-4,
        "Step size of the optimiser.",
        scope="head",
        usual="1e-4 to 1e-2",
        above=0,
        label="Learning rate",
        step=1e-4,
    )
    weight_decay: float = key(
        0.0, "Strength of the weight decay.", scope="head", usual="0 to 1e-2", low=0, label="Weight decay", step=1e-4
    )
    max_epochs: int = key(
        5000,
        "Largest number of epochs.",
        scope="head",
        extends=True,
        usual="50 to 5000; early stopping ends most runs",
        low=1,
        label="Max epochs",
        step=10,
    )
    early_stopping_patience: int = key(
        15,
        "Epochs without improvement before training stops.",
        scope="head",
        extends=True,
        usual="5 to 30",
        low=1,
        label="Patience",
    )
    loss: LossConfig = section(with_parameters(LossConfig, LOSSES))
    optimizer: str = key("adam", "Optimiser.", scope="bank", registry=OPTIMIZERS, choices=OPTIMIZERS, label="Optimiser")
    scheduler: str = key(
        "none",
        "Learning rate schedule: constant, or cosine decay until max_epochs.",
        scope="head",
        registry=SCHEDULES,
        choices=SCHEDULES,
        label="Schedule",
    )
    warmup_epochs: int = key(
        0, "Epochs of linear warm-up.", scope="head", usual="0 to 10", low=0, label="Warm-up epochs"
    )
    monitor: str = key(
        "auprc",
        "Early-stopping metric: the validation metric that selects the best epoch.",
        scope="head",
        choices=[*macro_keys(), "loss"],
        label="Early-stopping metric",
    )
    precision: Literal["float32", "float64", "bf16"] = key(
        "float32",
        "Precision of the training. bf16 keeps float32 weights and multiplies in bfloat16.",
        scope="bank",
        label="Precision",
    )
    resume: ResumeConfig = section(ResumeConfig)
    num_workers: int = key(
        0, "Parallel readers of feature files. 0 = automatic.", scope="machine", low=0, label="File readers"
    )
    threads: int | None = key(
        None,
        "Threads of a run's arithmetic. Empty = all cores for one job, their share for a study's worker.",
        scope="machine",
        low=1,
        label="Threads",
        placeholder="automatic",
    )
    task_type: str = key(
        "classification",
        "Accepted for older config trees.",
        scope="describes",
        command_line_only="kept for older config trees",
    )


@dataclass
class ModelParams:
    in_features: int | None = key(
        None,
        "Input dimensions. Empty = those of the features.",
        scope="bank",
        low=1,
        command_line_only="pages infer it from the features",
    )
    hidden_dims: list[int] = key(
        [1024],
        "Widths of the hidden layers. Empty = a linear probe.",
        scope="bank",
        usual="[256] to [1024, 512]",
        low=1,
        label="Hidden widths",
        placeholder="1024, 512",
    )
    gate: Literal["scalar", "dimension"] = key(
        "scalar",
        "Gate of the gated inputs: one weight per volume, or one per hidden unit.",
        scope="bank",
        label="Gate",
    )
    c: list[float] = key(
        [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0],
        "Inverse L2 penalties C to try (as in scikit-learn); validation selects the best.",
        scope="head",
        above=0,
        label="Candidates for C",
    )
    k: list[int] = key(
        [1, 5, 10, 20, 50, 100],
        "Numbers of neighbours to try; validation selects the best.",
        scope="head",
        low=1,
        label="Candidates for k",
    )
    dropout: float = key(
        0.35,
        "Fraction of hidden units dropped in a training step.",
        scope="stack",
        usual="0 to .5",
        low=0,
        below=1,
        label="Dropout",
        step=0.05,
    )

    if TYPE_CHECKING:  # parameters of registered heads are fields too

        def __getattr__(self, name: str) -> Any: ...


@dataclass
class ModelConfig:
    _target_: str = key("mlp", "Name of the head.", scope="bank", registry=HEADS, label="Head")
    model_name: str = key(
        "mlp", "Name of the head in tables.", scope="describes", command_line_only="pages name a run by its head"
    )
    params: ModelParams = section(with_parameters(ModelParams, HEADS))
    inputs: Literal["visual", "text", "concat", "gated"] = key(
        "visual",
        "Embeddings that the head uses: visual, text, both concatenated, or both weighted by a learned gate.",
        scope="bank",
        label="Inputs",
    )
    prompts: str | None = key(
        None,
        "Prompt embeddings for zero_shot (.npz or .parquet).",
        scope="bank",
        raw=True,
        label="Prompt embeddings",
        placeholder="prompts.npz",
    )
