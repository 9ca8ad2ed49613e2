"""The typed config keeps its keys and defaults, refuses values that do not fit, and survives YAML."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml

from ctbench_core.config import KEYS, Config, changed_keys, from_mapping, get_key, set_key
from ctbench_core.errors import ConfigError

# Names and defaults that people's trees and scripts rely on.
CONTRACT: dict[str, Any] = {
    "paths.data_root": "data/features/CT-CLIP_v2",
    "paths.manifest_dir": "data/manifests",
    "paths.outputs_root": "outputs",
    "paths.cache_dir": None,
    "paths.run_dir": None,
    "paths.output_dir": None,
    "paths.checkpoint_dir": None,
    "paths.job_base_dir": None,
    "paths.latest_run_pointer": None,
    "paths.checkpoint_path": None,
    "job_name": "train",
    "data.train_manifest": "train.csv",
    "data.val_manifest": "valid.csv",
    "data.test_manifests": None,
    "data.columns.visual_feature": "visual_feature_path",
    "data.columns.text_feature": "text_feature_path",
    "data.columns.labels": None,
    "data.columns.grouping_col": "volumename",
    "data.columns.metadata": [],
    "data.auto_split.enabled": None,
    "data.auto_split.val_fraction": 0.1,
    "data.auto_split.stratify": True,
    "data.auto_split.seed": None,
    "data.auto_split.group": "patient",
    "data.on_leak": "mark",
    "data.on_bad_feature": "fail",
    "data.feature_key": None,
    "data.pool": "flatten",
    "data.cohort.recon": "all",
    "data.cohort.exclude": None,
    "data.cohort.where": [],
    "data.standardise": "none",
    "data.preload_features": True,
    "training.target_labels": None,
    "training.batch_size": 64,
    "training.learning_rate": 1e-4,
    "training.weight_decay": 0.0,
    "training.max_epochs": 5000,
    "training.early_stopping_patience": 15,
    "training.loss._target_": "torch.nn.BCEWithLogitsLoss",
    "training.loss.pos_weight": "auto",
    "training.optimizer": "adam",
    "training.scheduler": "none",
    "training.warmup_epochs": 0,
    "training.monitor": "auprc",
    "training.precision": "float32",
    "training.resume.enabled": False,
    "training.resume.state_path": None,
    "training.num_workers": 0,
    "training.task_type": "classification",
    "model._target_": "mlp",
    "model.model_name": "mlp",
    "model.params.in_features": None,
    "model.params.hidden_dims": [1024],
    "model.params.dropout": 0.35,
    "model.inputs": "visual",
    "model.prompts": None,
    "evaluation.after_training": False,
    "evaluation.checkpoint_name": "final_model.pt",
    "evaluation.negative_class_name": "No pathology",
    "utils.seed": 42,
    "utils.device": "auto",
    "analysis.filter_normal_cases": False,
    "analysis.truth": "exam",
    "analysis.k": [1, 5, 10, 50, 100],
    "optuna.seed": 42,
    "optuna.disable_pruning": False,
    "optuna.pruner_startup_trials": 10,
    "optuna.pruner_warmup_steps": 5,
    "optuna.pruner_interval_steps": 1,
    "logging.logger_name": None,
    "logging.project_name": None,
    "logging.entity": None,
    "logging.group": None,
    "logging.run_name": None,
    "logging.job_type": None,
    "logging.tags": None,
}

CHOICES = {
    "data.auto_split.group": ("patient", "exam", "none"),
    "data.on_leak": ("mark", "refuse"),
    "data.on_bad_feature": ("fail", "drop"),
    "data.pool": ("flatten", "mean", "cls"),
    "data.cohort.recon": ("all", "first", "last"),
    "data.standardise": ("none", "zscore", "l2"),
    "training.optimizer": ("adam", "adamw", "sgd"),
    "training.scheduler": ("none", "cosine"),
    "training.monitor": ("auprc", "auroc", "f1_macro", "loss"),
    "analysis.truth": ("exam", "patient", "text", "labels"),
}


@pytest.mark.parametrize("name", CONTRACT)
def test_key_keeps_its_name_and_default(name: str) -> None:
    assert KEYS[name].default == CONTRACT[name]
    assert type(KEYS[name].default) is type(CONTRACT[name])
    assert get_key(Config(), name) == CONTRACT[name]


@pytest.mark.parametrize("name", CHOICES)
def test_closed_lists_keep_their_values(name: str) -> None:
    assert set(CHOICES[name]) <= set(KEYS[name].choices)


@pytest.mark.parametrize("info", KEYS.values(), ids=lambda info: info.name)
def test_every_key_explains_itself_within_its_own_bounds(info: Any) -> None:
    assert info.help.endswith(".")
    set_key(Config(), info.name, info.default)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("training.learning_rat", "training.learning_rate"),
        ("trainning.batch_size", "training.batch_size"),
        ("batch_size", "training.batch_size"),
        ("data.columns.label", "data.columns.labels"),
        ("model.hidden_dims", "model.params.hidden_dims"),
        ("seed", "utils.seed"),
    ],
)
def test_unknown_key_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"Unknown key '{name}'.*{nearest}"):
        set_key(Config(), name, 1)


def test_unknown_key_like_no_other_names_the_sections() -> None:
    with pytest.raises(ConfigError, match="Sections: paths, data, training, model"):
        set_key(Config(), "xyzzy", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("training.batch_size", 0),
        ("training.batch_size", 2.5),
        ("training.batch_size", True),
        ("training.batch_size", "many"),
        ("training.batch_size", None),
        ("training.learning_rate", 0),
        ("training.learning_rate", float("nan")),
        ("training.learning_rate", float("inf")),
        ("training.weight_decay", -1e-9),
        ("training.max_epochs", 0),
        ("training.optimizer", "adan"),
        ("training.optimizer", None),
        ("model.params.dropout", 1.0),
        ("model.params.hidden_dims", [256, 0]),
        ("model.params.hidden_dims", 256),
        ("model.params.hidden_dims", "256"),
        ("data.auto_split.val_fraction", 0),
        ("data.auto_split.val_fraction", 1),
        ("data.auto_split.stratify", "maybe"),
        ("data.columns.labels", "Lung nodule"),
        ("data.cohort.where", [1]),
        ("data.cohort.where", {"column": "x"}),
        ("paths.data_root", None),
        ("paths.data_root", ["a"]),
        ("training.loss.pos_weight", True),
        ("utils.seed", -1),
        ("utils.seed", 10**400),
        ("training.learning_rate", 10**400),
    ],
)
def test_value_that_does_not_fit_is_refused_by_name(name: str, value: Any) -> None:
    config = Config()
    with pytest.raises(ConfigError, match=name):
        set_key(config, name, value)
    assert config == Config()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("training.batch_size", 32.0, 32),
        ("training.batch_size", "32", 32),
        ("training.learning_rate", 1, 1.0),
        ("training.learning_rate", "1e-3", 1e-3),
        ("training.scheduler", None, "none"),
        ("data.test_manifests", ("a.csv",), ["a.csv"]),
        ("data.feature_key", 7, "7"),
        ("training.loss.pos_weight", [1, 2.5], [1.0, 2.5]),
        ("training.loss.pos_weight", None, None),
        ("model.params.hidden_dims", [], []),
        ("data.columns.labels", None, None),
        ("utils.seed", 2**53 + 1, 2**53 + 1),
    ],
)
def test_value_is_converted_to_the_type_of_its_key(name: str, value: Any, expected: Any) -> None:
    config = Config()
    set_key(config, name, value)
    assert get_key(config, name) == expected
    assert type(get_key(config, name)) is type(expected)


def test_unknown_choice_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"training.optimizer is 'lion'. Known: adam, adamw, sgd"):
        set_key(Config(), "training.optimizer", "lion")


@pytest.mark.parametrize(("alias", "name"), [("hydra.job.name", "job_name"), ("hydra.run.dir", "paths.run_dir")])
def test_aliases_set_the_key_they_mean(alias: str, name: str) -> None:
    config = Config()
    set_key(config, alias, "here")
    assert get_key(config, name) == "here"


def test_mapping_may_be_nested_or_dotted_and_names_what_is_not_ours() -> None:
    content = {
        "training": {"learning_rate": 0.5, "loss": {"pos_weight": None}, "grad_clip": 1},
        "model.params": {"dropout": 0.1},
        "model.params.hidden_dims": [4],
        "data": None,
        "hydra": {"job": {"chdir": True}},
        "defaults": ["_self_"],
        "wandb": {"mode": "offline"},
    }
    config, unknown = from_mapping(content)
    assert changed_keys(config) == {
        "training.learning_rate": 0.5,
        "training.loss.pos_weight": None,
        "model.params.dropout": 0.1,
        "model.params.hidden_dims": [4],
    }
    assert unknown == ["training.grad_clip", "wandb.mode"]


def test_dict_form_survives_yaml() -> None:
    config = Config()
    set_key(config, "data.cohort.where", [{"column": "PatientAge", "op": ">=", "value": 60}])
    set_key(config, "training.target_labels", ["Lung nodule", "ja", "1e3", "0x1", "yes", "null", "Émphysème"])
    set_key(config, "job_name", "001")
    again, unknown = from_mapping(yaml.safe_load(yaml.safe_dump(config.to_dict(), allow_unicode=True)))
    assert again == config
    assert unknown == []


def test_configs_share_no_list() -> None:
    first, second = Config(), Config()
    first.data.columns.metadata.append("x")
    first.copy().analysis.k.append(3)
    assert second == Config()
    assert KEYS["data.columns.metadata"].default == []
    assert first.analysis.k == [1, 5, 10, 50, 100]


def test_every_leaf_of_the_dataclasses_is_a_key() -> None:
    def leaves(value: Any, prefix: str) -> list[str]:
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return [leaf for f in fields for leaf in leaves(getattr(value, f.name), f"{prefix}.{f.name}".lstrip("."))]
        return [prefix]

    assert leaves(Config(), "") == list(KEYS)
