"""Keys of the data: where they lie, how tables are read, and which rows a run uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ctbench_core.config.sections import section
from ctbench_core.declared import key

DEFAULT_TESTS = ("test_manual_all.csv", "test_manual_train.csv", "test_manual_valid.csv", "test.csv")


@dataclass
class PathsConfig:
    data_root: str = key(
        "data/features/CT-CLIP_v2",
        "Feature root: the manifests' feature paths start from it.",
        scope="bank",
        raw=True,
        label="Feature root",
    )
    manifest_dir: str = key(
        "data/manifests", "Folder of the manifests.", scope="data", raw=True, label="Manifest folder"
    )
    outputs_root: str = key(
        "outputs",
        "Run store: the folder of all runs.",
        scope="machine",
        raw=True,
        command_line_only="The app works on one run store: CTBENCH_OUTPUTS, or --outputs of the app verb.",
    )
    cache_dir: str | None = key(
        None,
        "Folder of packed features. Empty = <outputs_root>/.packed.",
        scope="machine",
        raw=True,
        command_line_only="The app keeps packed features in its run store.",
    )
    run_dir: str | None = key(
        None,
        "Run directory. Empty = <outputs_root>/<job_name>/<run id>.",
        scope="place",
        raw=True,
        command_line_only="The app names the folders of its runs.",
    )
    output_dir: str | None = key(
        None,
        "Older name of paths.run_dir.",
        scope="place",
        raw=True,
        command_line_only="The app names the folders of its runs.",
    )
    checkpoint_dir: str | None = key(
        None,
        "Folder of the checkpoints. Empty = <run_dir>/checkpoints.",
        scope="place",
        raw=True,
        command_line_only="The app keeps checkpoints in the folders of its runs.",
    )
    job_base_dir: str | None = key(
        None,
        "Folder of a job's runs. Empty = <outputs_root>/<job_name>.",
        scope="place",
        raw=True,
        command_line_only="The app keeps its jobs in its run store.",
    )
    latest_run_pointer: str | None = key(
        None,
        "File with the path of the job's newest run. Empty = latest_run.json in the job's folder.",
        scope="place",
        raw=True,
        command_line_only="The app keeps its jobs in its run store.",
    )
    checkpoint_path: str | None = key(
        None,
        "Checkpoint to evaluate. Empty = the run's best checkpoint.",
        scope="place",
        raw=True,
        command_line_only="Evaluate shows the checkpoint of a run in the run store.",
    )


@dataclass
class ColumnsConfig:
    visual_feature: str = key(
        "visual_feature_path",
        "Column with the paths of the visual features.",
        scope="bank",
        label="Visual feature column",
    )
    text_feature: str | None = key(
        "text_feature_path",
        "Column with the paths of the text features. Empty or absent = visual features only.",
        scope="bank",
        label="Text feature column",
    )
    labels: list[str] | None = key(
        None,
        "Label columns. Empty = every column of 0, 1 and blanks that is not an ID, path or metadata.",
        scope="data",
        label="Findings",
    )
    volume: str | None = key(
        None, "Column of the volume names. Empty = volumename or a known spelling.", scope="data", label="Volume column"
    )
    patient: str | None = key(
        None, "Column of the patients. Empty = patient_id or a known spelling.", scope="data", label="Patient column"
    )
    exam: str | None = key(
        None, "Column of the exams. Empty = exam_id or a known spelling.", scope="data", label="Exam column"
    )
    split: str | None = key(
        None,
        "Column of the split (train, val, test) in a training manifest that holds every split. Empty = one file a split.",
        scope="data",
        label="Split column",
    )
    grouping_col: str = key(
        "volumename",
        "Column that identifies the patient. Volume names are parsed; other columns are used unchanged.",
        scope="data",
        label="Patient column (older key)",
    )
    metadata: list[str] = key([], "Columns that are never labels.", scope="data", label="Metadata columns")


@dataclass
class LabelsConfig:
    uncertain: Literal["error", "unknown", "positive", "negative"] = key(
        "error", "Meaning of -1, u and uncertain in a label column.", scope="data", label="Uncertain labels"
    )
    blank: Literal["unknown", "negative"] = key(
        "unknown", "Meaning of a blank label.", scope="data", label="Blank labels"
    )
    values: dict[str, Any] = key(
        {}, "Further label texts and their meaning: 0, 1 or unknown.", scope="data", label="Label values"
    )
    list_column: str | None = key(
        None, "Column that lists the findings of a row, in place of one column each.", scope="data", label="List column"
    )
    separator: str = key("|", "Separator in the list column.", scope="data", label="Separator")
    rename: dict[str, Any] | str = key(
        {},
        "Findings under other names: name in the table to name here; or a label map: @name, or the path of one.",
        scope="data",
        label="Renamed findings",
    )
    only: list[str] | None = key(None, "Findings to keep. Empty = all.", scope="data", label="Kept findings")


@dataclass
class AutoSplitConfig:
    enabled: bool | None = key(
        None,
        "Split validation off the training manifest. Empty = only when the validation manifest does not exist.",
        scope="data",
        label="Split training",
    )
    val_fraction: float = key(
        0.1,
        "Fraction of the groups used for validation.",
        scope="data",
        usual=".1 to .2",
        above=0,
        below=1,
        label="Validation share",
    )
    stratify: bool = key(
        True, "Keep each finding's prevalence similar in training and validation.", scope="data", label="Stratify"
    )
    seed: int | None = key(None, "Seed of the split. Empty = utils.seed.", scope="data", label="Split seed")
    group: Literal["patient", "exam", "none"] = key(
        "patient", "Unit that is kept together in one split.", scope="data", label="Keep together"
    )


@dataclass
class CohortConfig:
    recon: Literal["all", "first", "last"] = key(
        "all", "Reconstructions of an exam to keep.", scope="data", label="Reconstructions"
    )
    exclude: str | None = key(
        None, "Exclusion list: a file with one volume name per line.", scope="data", raw=True, label="Exclusion list"
    )
    where: list[dict[str, Any]] = key(
        [], "Conditions on columns: {column, op, value}, op one of == != < <= > >= in.", scope="data", label="Condition"
    )


@dataclass
class KfoldConfig:
    folds: int | None = key(
        None,
        "Number of folds over all volumes. Empty = the manifests' own splits.",
        scope="data",
        usual="5",
        low=2,
        label="Folds",
    )
    fold: int = key(
        0, "Fold to use as the test set, counted from 0.", scope="data", repeats=True, low=0, label="Held-out fold"
    )
    seed: int | None = key(
        None, "Seed of the folds. Empty = the same folds for every run.", scope="data", label="Fold seed"
    )
    group: Literal["patient", "exam", "none"] = key(
        "patient", "Unit that is kept together in one fold.", scope="data", label="Keep together in folds"
    )


@dataclass
class EncoderConfig:
    name: str | None = key(
        None,
        "Encoder that made the embeddings. Empty = the name of the feature root.",
        scope="describes",
        label="Encoder",
    )
    pretraining: str | None = key(
        None,
        "Pre-training data of the encoder.",
        scope="describes",
        usual="CT-RATE train, image-report pairs",
        label="Pre-training",
    )
    projection: Literal["unknown", "before", "after"] = key(
        "unknown",
        "Embeddings taken before or after the projection into the shared space.",
        scope="describes",
        label="Projection",
    )


@dataclass
class DataConfig:
    train_manifest: str = key(
        "train.csv", "Training manifest, in paths.manifest_dir.", scope="data", raw=True, label="Training manifest"
    )
    val_manifest: str = key(
        "valid.csv", "Validation manifest, in paths.manifest_dir.", scope="data", raw=True, label="Validation manifest"
    )
    test_manifests: list[str] | None = key(
        None,
        f"Test manifests. Empty = those of {', '.join(DEFAULT_TESTS)} that exist.",
        scope="after",
        label="Test manifests",
    )
    columns: ColumnsConfig = section(ColumnsConfig)
    labels: LabelsConfig = section(LabelsConfig)
    auto_split: AutoSplitConfig = section(AutoSplitConfig)
    kfold: KfoldConfig = section(KfoldConfig)
    budget: int | None = key(
        None,
        "Label budget: number of patients (exams, volumes) for training and validation. Empty = all.",
        scope="data",
        low=2,
        label="Budget",
    )
    budget_unit: Literal["patient", "exam", "volume"] = key(
        "patient", "Unit of the label budget.", scope="data", label="Budget unit"
    )
    budget_draw: Literal["random", "covering"] = key(
        "random",
        "Drawing of the budget: at random, or covering: units that show each finding come first, which shifts prevalence.",
        scope="data",
        only_with="data.budget",
        introduced="covering",
        label="Budget draw",
    )
    budget_seed: int | None = key(
        None,
        "Seed of the budget's drawing order. Empty = utils.seed. Budgets of one seed are nested.",
        scope="data",
        repeats=True,
        label="Budget seed",
    )
    selection: str | None = key(
        None,
        "File of volumes and their splits (selection_index.csv), written by another run.",
        scope="data",
        raw=True,
        label="Selection file",
    )
    reference: str | None = key(
        None,
        "Manifest folder of the reference label source: it defines splits, folds, budgets and test labels.",
        scope="data",
        raw=True,
        label="Reference folder",
    )
    label_origin: Literal["unknown", "manual", "report-derived"] = key(
        "unknown",
        "Origin of the labels: annotated by readers, or derived from the reports.",
        scope="describes",
        label="Label origin",
    )
    encoder: EncoderConfig = section(EncoderConfig)
    on_leak: Literal["mark", "refuse"] = key(
        "mark",
        "Patients shared between splits: warn and mark every result, or stop with an error.",
        scope="data",
        label="Shared patients",
    )
    on_bad_feature: Literal["fail", "drop"] = key(
        "fail",
        "Unusable feature files: stop with an error, or skip their rows and list them.",
        scope="bank",
        label="Bad features",
    )
    feature_key: str | None = key(
        None,
        "Array of a feature file with several. Empty = features, visual_features, or the only one that can be it.",
        scope="bank",
        label="Feature array",
    )
    pool: Literal["flatten", "mean", "cls"] = key(
        "flatten",
        "Pooling of token features: all values, the mean token, or the first token.",
        scope="bank",
        label="Token pooling",
    )
    store_dtype: Literal["float32", "float16"] = key(
        "float32",
        "Numbers in the packed store: float32, or float16 in half the space, rounded to 11 bits; products stay float32.",
        scope="bank",
        label="Stored numbers",
    )
    per_finding: dict[str, str] = key(
        {},
        "Features that differ by finding: each finding with its feature root, or its array of the feature files.",
        scope="bank",
        command_line_only="Features that differ by finding are named on the command line or in a study.",
    )
    cohort: CohortConfig = section(CohortConfig)
    standardise: Literal["none", "zscore", "l2"] = key(
        "none",
        "Scaling of the features: z-scores (mean and SD of the training rows), or unit L2 norm of each vector.",
        scope="bank",
        label="Scaling",
    )
    preload_features: bool = key(
        True,
        "Accepted for older config trees; features are always held in memory.",
        scope="machine",
        command_line_only="kept for older config trees",
    )
