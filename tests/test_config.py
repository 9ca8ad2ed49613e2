"""The typed config keeps its keys and defaults, refuses values that do not fit, and survives YAML."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctbench_core.config import (
    KEYS,
    Config,
    changed_keys,
    differing_keys,
    flatten,
    from_mapping,
    get_key,
    group_defaults,
    model_groups,
    recipe_values,
    set_key,
    values_for,
    yaml_text,
)
from ctbench_core.config.yaml_text import dump_yaml
from ctbench_core.declared import HEADS, LOSSES, SCOPES
from ctbench_core.errors import ConfigError
from ctbench_core.runs import read_config, write_config
from ctbench_core.studies.identity import identity_text, run_id
from tests.key_values import other_value

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
    "data.store_dtype": "float32",
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
    "data.store_dtype": ("float32", "float16"),
    "training.shuffle": ("rows", "blocks"),
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


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize(
    "text", ["|'-\x85\u2028", "\u6f22 \U0001f600 \ufeff", "a: b #c", "null", "1e3", " \n\t\x07", "word " * 40]
)
def test_every_text_survives_yaml(text: str, is_compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_compiled:
        monkeypatch.setattr(yaml_text, "_DUMPER", None)
    content = {text: [text, 1.5, None], "last": 1, "first": {"text": text}}
    written = dump_yaml(content)
    assert yaml.safe_load(written) == content
    assert list(yaml.safe_load(written)) == list(content)


def test_dict_form_survives_yaml() -> None:
    config = Config()
    set_key(config, "data.cohort.where", [{"column": "PatientAge", "op": ">=", "value": 60}])
    set_key(config, "training.target_labels", ["Lung nodule", "ja", "1e3", "0x1", "yes", "null", "Émphysème"])
    set_key(config, "job_name", "001")
    again, unknown = from_mapping(yaml.safe_load(dump_yaml(config.to_dict())))
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


# The scope of every key but the parameters of losses and heads; a slip here lets different runs count as one.
SCOPE: dict[str, str] = {
    "bank": """paths.data_root data.columns.visual_feature data.columns.text_feature data.on_bad_feature
        data.feature_key data.pool data.store_dtype data.per_finding data.standardise training.batch_size training.shuffle training.optimizer training.precision
        model._target_ model.params.in_features model.params.hidden_dims model.params.gate model.inputs model.prompts""",
    "stack": "training.loss._target_ model.params.dropout",
    "head": """training.learning_rate training.weight_decay training.max_epochs training.early_stopping_patience
        training.loss.pos_weight training.scheduler training.warmup_epochs training.monitor model.params.c
        model.params.k utils.seed""",
    "data": """paths.manifest_dir data.train_manifest data.val_manifest data.columns.labels data.columns.volume
        data.columns.patient data.columns.exam data.columns.split data.columns.grouping_col data.columns.metadata data.labels.uncertain
        data.labels.blank data.labels.values data.labels.list_column data.labels.separator data.labels.rename
        data.labels.only data.auto_split.enabled data.auto_split.val_fraction data.auto_split.stratify
        data.auto_split.seed data.auto_split.group data.kfold.folds data.kfold.fold data.kfold.seed data.kfold.group
        data.budget data.budget_unit data.budget_draw data.budget_seed data.selection data.reference data.on_leak data.cohort.recon
        data.cohort.exclude data.cohort.where training.target_labels""",
}
REPEATS = {"utils.seed", "data.kfold.fold", "data.budget_seed"}
PARAMETERS = {f"training.loss.{name}" for loss in LOSSES.values() for name in loss.parameters} | {
    f"model.params.{name}" for head in HEADS.values() for name in head.parameters
}


def changed(name: str, value: Any) -> Config:
    config = Config()
    set_key(config, name, value)
    return config


def test_every_key_that_changes_a_result_has_the_scope_of_what_it_changes() -> None:
    for scope, names in SCOPE.items():
        assert {name for name, info in KEYS.items() if info.scope == scope} - PARAMETERS == set(names.split())
    assert {KEYS[name].scope for name in PARAMETERS} <= {"bank", "stack", "head"}
    assert {info.scope for info in KEYS.values()} <= SCOPES.keys()
    assert {name for name, info in KEYS.items() if info.repeats} == REPEATS


@pytest.mark.parametrize("info", KEYS.values(), ids=lambda info: info.name)
def test_two_values_are_two_runs_exactly_where_the_key_counts_for_identity(info: Any) -> None:
    base = changed(info.only_with, other_value(KEYS[info.only_with])) if info.only_with else Config()
    config = base.copy()
    set_key(config, info.name, other_value(info))
    is_other = info.scope in ("bank", "stack", "head", "data")
    assert (identity_text(config) != identity_text(base)) is is_other
    assert (run_id(config) != run_id(base)) is is_other
    assert differing_keys(base, config) == ([info.name] if is_other else [])
    assert (recipe_values(config) != recipe_values(base)) is (is_other and info.name not in REPEATS)
    assert (values_for(config, "bank key") != values_for(base, "bank key")) is (info.scope in ("bank", "machine"))
    assert (values_for(config, "stack key") != values_for(base, "stack key")) is (info.scope == "stack")


def test_another_name_of_a_head_loss_or_optimiser_is_the_same_run() -> None:
    for name, values in {
        "model._target_": ("mlp", "src.classification.models.mlp.MLP"),
        "training.loss._target_": ("bce", "torch.nn.BCEWithLogitsLoss"),
    }.items():
        first, second = (changed(name, value) for value in values)
        assert identity_text(first) == identity_text(second)
        assert get_key(second, name) == values[1]  # as it was written


# What keys that release 0.1.0 did not have meant in its runs, whatever their defaults are today.
INTRODUCED: dict[str, Any] = {
    "data.columns.volume": None,
    "data.columns.patient": None,
    "data.columns.exam": None,
    "data.columns.split": None,
    "data.labels.uncertain": "error",
    "data.labels.blank": "unknown",
    "data.labels.values": {},
    "data.labels.list_column": None,
    "data.labels.separator": "|",
    "data.labels.rename": {},
    "data.labels.only": None,
    "data.per_finding": {},
    "data.store_dtype": "float32",
    "data.budget_draw": "covering",
    "training.resume.allow_changes": False,
    "training.threads": None,
    "training.shuffle": "rows",
    "evaluation.primary.metric": "none",
    "evaluation.primary.findings": None,
    "evaluation.primary.comparison": None,
    "evaluation.primary.margins": {},
}


def test_keys_that_an_old_run_lacks_read_as_their_values_when_introduced() -> None:
    with zipfile.ZipFile(Path(__file__).parent / "data" / "store-0.1.0.zip") as store:
        name = next(name for name in store.namelist() if name.endswith("config.yaml"))
        stored = dict(flatten(yaml.safe_load(store.read(name))))
    introduced = {name: info.introduced for name, info in KEYS.items() if name not in stored and name not in PARAMETERS}
    assert introduced == INTRODUCED
    parameters = {"smoothing": 0.0, "gamma": 2.0, "gamma_negative": 4.0, "margin": 0.05}
    assert {name: KEYS[f"training.loss.{name}"].introduced for name in parameters} == parameters


def test_a_stored_config_keeps_the_introduced_value_when_the_default_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path / "config.yaml", Config())
    lines = (tmp_path / "config.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "config.yaml").write_text("".join(line for line in lines if "standardise" not in line))
    monkeypatch.setitem(KEYS, "data.standardise", dataclasses.replace(KEYS["data.standardise"], introduced="l2"))
    assert read_config(tmp_path / "config.yaml").data.standardise == "l2"
    assert Config().data.standardise == "none"


def test_every_head_has_a_group_and_those_of_old_commands_keep_their_settings() -> None:
    groups = model_groups()
    assert {keys["model._target_"] for keys in groups.values()} == set(HEADS)
    for name in ("linear_probe", "logistic", "knn", "zero_shot"):
        assert groups[name]["model.params.hidden_dims"] == []
    assert group_defaults("linear_probe") == group_defaults("linear") == HEADS["linear"].defaults != {}
    assert group_defaults("mlp_visual") == group_defaults("unknown") == {}
    assert groups["mlp_visual"] == {"model._target_": "mlp", "model.model_name": "mlp"}


@pytest.mark.parametrize("value", [math.inf, "text", [1]])
def test_a_section_that_holds_no_keys_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"training is .*; expected keys below it, such as training\."):
        from_mapping({"training": value})
    assert from_mapping({"training": None}) == (Config(), [])


def test_a_null_character_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"paths\.outputs_root is .* null character"):
        set_key(Config(), "paths.outputs_root", "a\0b")


@pytest.mark.parametrize(("name", "value"), [("evaluation.after_training", 0), ("training.weight_decay", False)])
def test_a_value_equal_to_the_default_is_still_of_the_key_s_type(name: str, value: Any) -> None:
    assert get_key(Config(), name) == value
    with pytest.raises(ConfigError, match=name):
        from_mapping({name: value})
