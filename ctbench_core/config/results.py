"""Keys of what follows training and of the machine: evaluation, alignment, searches, trackers, device and seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ctbench_core.config.sections import section
from ctbench_core.declared import TRACKERS, TRUTHS, compared_metrics, key

_BEFORE_TRAINING = "declared with a study or on the command line, before a test set is evaluated"


@dataclass
class PrimaryConfig:
    """The primary analysis, declared before the test set is evaluated; every other result is exploratory."""

    metric: str = key(
        "none",
        "Metric of the primary analysis; none: no primary analysis is declared.",
        scope="describes",
        choices=[*compared_metrics(), "none"],
        command_line_only=_BEFORE_TRAINING,
    )
    findings: list[str] | None = key(
        None,
        "Findings of the primary analysis. Empty = the macro mean.",
        scope="describes",
        command_line_only=_BEFORE_TRAINING,
    )
    comparison: str | None = key(
        None, "What is compared with what, in words.", scope="describes", command_line_only=_BEFORE_TRAINING
    )
    margins: dict[str, float] = key(
        {},
        "Margin of each metric for non-inferiority and equivalence: {auroc: 0.02}.",
        scope="describes",
        command_line_only=_BEFORE_TRAINING,
    )


@dataclass
class EvaluationConfig:
    primary: PrimaryConfig = section(PrimaryConfig)
    after_training: bool = key(
        False, "Evaluate on test right after training.", scope="after", label="Evaluate on test after training"
    )
    checkpoint_name: str = key(
        "final_model.pt",
        "File name of the checkpoint to evaluate.",
        scope="after",
        command_line_only="pages evaluate the best checkpoint",
    )
    negative_class_name: str = key(
        "No pathology",
        "Name of the class of volumes without a finding.",
        scope="after",
        command_line_only="pages import runs with this name",
    )
    detail: Literal["full", "scores"] = key(
        "full",
        "Stored results of an evaluation: all that the pages show, or only scores and metrics.",
        scope="after",
        label="Stored results",
    )


@dataclass
class UtilsConfig:
    seed: int = key(42, "Random seed.", scope="head", repeats=True, low=0, label="Seed")
    device: str = key("auto", "Device: auto, cpu, cuda or cuda:N.", scope="machine", label="Device")


@dataclass
class AnalysisConfig:
    filter_normal_cases: bool = key(False, "Exclude volumes without any finding.", scope="after")
    truth: str = key(
        "exam",
        f"What makes a match: {', '.join(truth.title for truth in TRUTHS.values())}.",
        scope="after",
        registry=TRUTHS,
        choices=TRUTHS,
    )
    k: list[int] = key([1, 5, 10, 50, 100], "Depths K of Recall@K.", scope="after", low=1)
    within: bool = key(False, "Also search within each modality. Takes twice as long.", scope="after")
    precision: Literal["float32", "float64"] = key(
        "float32",
        "float32 resolves every near-tie that can change a metric; float64 resolves all, and is slower.",
        scope="after",
        command_line_only="float32 resolves every near-tie that can change a metric.",
    )
    map: Literal["pca", "umap"] = key(
        "pca",
        "Projection of the embedding map. umap needs umap-learn.",
        scope="after",
        command_line_only="The map of an alignment is computed with it; the app shows the stored map.",
    )


@dataclass
class OptunaConfig:
    seed: int = key(
        42,
        "Seed of the sampler.",
        scope="after",
        command_line_only="A search started in the app uses the default.",
    )
    disable_pruning: bool = key(
        False,
        "Train every trial to its end.",
        scope="after",
        command_line_only="A search started in the app uses the default.",
    )
    pruner_startup_trials: int = key(
        10,
        "Trials before pruning starts.",
        scope="after",
        low=0,
        command_line_only="A search started in the app uses the default.",
    )
    pruner_warmup_steps: int = key(
        5,
        "Epochs of a trial before it can be pruned.",
        scope="after",
        low=0,
        command_line_only="A search started in the app uses the default.",
    )
    pruner_interval_steps: int = key(
        1,
        "Epochs between two pruning decisions.",
        scope="after",
        low=1,
        command_line_only="A search started in the app uses the default.",
    )


@dataclass
class LoggingConfig:
    logger_name: str | None = key(
        None,
        f"Experiment tracker: {', '.join(TRACKERS)}. Empty = none.",
        scope="describes",
        label="Tracker",
        registry=TRACKERS,
    )
    tracking_uri: str | None = key(
        None,
        "Address of the tracker's server. Empty = "
        + "; ".join(f"{item.title}: {item.usual_address}" for item in TRACKERS.values() if item.usual_address)
        + ".",
        scope="describes",
        label="Tracker address",
    )
    project_name: str | None = key(None, "Project in the tracker.", scope="describes", label="Project")
    entity: str | None = key(None, "Team or user in the tracker.", scope="describes", label="Team")
    group: str | None = key(None, "Group of runs in the tracker.", scope="describes", label="Group")
    run_name: str | None = key(
        None,
        "Run name in tables and in the tracker. Empty = automatic.",
        scope="describes",
        label="Run name",
        placeholder="automatic",
    )
    job_type: str | None = key(None, "Kind of run in the tracker.", scope="describes", label="Job type")
    tags: list[str] | None = key(None, "Tags of the run in the tracker.", scope="describes", label="Tracker tags")
    log_model: bool | str = key(
        False, "Send the checkpoint to the tracker.", scope="describes", label="Send checkpoint"
    )
    watch: str | None = key(
        None,
        "Accepted for older config trees; gradients are not sent.",
        scope="describes",
        command_line_only="kept for older config trees",
    )
