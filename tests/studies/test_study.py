"""A study expands its grid: labels, configs, ids that depend on the config alone, and clear errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ctbench_core.config import Config, set_key
from ctbench_core.errors import ConfigError
from ctbench_core.studies import Study, expand_grid, parse_study, read_study
from ctbench_core.studies.identity import run_id

MakeStudy = Callable[..., Study]


def test_every_point_of_the_grid_has_its_config(make_study: MakeStudy) -> None:
    study = make_study(
        {"utils.seed": [1, 2], "model": ["mlp_visual", "linear_probe"], "model.params.dropout": [0.1, 0.2, 0.3]}
    )
    runs = list(study.configs())
    assert len(runs) == 12
    assert runs[0][0].labels == {"seed": "1", "model": "mlp_visual", "model.params.dropout": "0.1"}
    last = runs[-1][1]
    assert (last.utils.seed, last.model._target_, last.model.params.hidden_dims) == (2, "linear", [])
    assert last.model.params.dropout == 0.3
    assert runs[0][1].model.params.hidden_dims == [8]  # from the base, where the group does not set it
    assert all(config.evaluation.after_training for _, config in runs)


def test_the_base_may_leave_the_test_out(make_study: MakeStudy) -> None:
    study = make_study(base={"evaluation.after_training": False})
    assert not any(config.evaluation.after_training for _, config in study.configs())


def test_labelled_values_may_be_paths_or_several_keys(make_study: MakeStudy) -> None:
    study = make_study(
        {
            "encoder": {"a": "roots/a", "b": "roots/b"},
            "source": {"manual": "manifests/manual"},
            "training.loss._target_": {"focal": {"training": {"loss": {"_target_": "focal"}}, "utils.seed": 7}},
        }
    )
    points = list(study.configs())
    assert [point.labels["encoder"] for point, _ in points] == ["a", "b"]
    assert [config.paths.data_root for _, config in points] == ["roots/a", "roots/b"]
    assert {config.paths.manifest_dir for _, config in points} == {"manifests/manual"}
    assert {(config.training.loss._target_, config.utils.seed) for _, config in points} == {("focal", 7)}


def test_lists_are_one_value_each(make_study: MakeStudy) -> None:
    study = make_study({"model.params.hidden_dims": [[8], [8, 4], []]})
    assert [point.labels["model.params.hidden_dims"] for point in study.points()] == ["8", "8-4", "none"]
    assert [config.model.params.hidden_dims for _, config in study.configs()] == [[8], [8, 4], []]


def test_run_ids_depend_on_the_config_alone(make_study: MakeStudy) -> None:
    narrow, wide = make_study({"utils.seed": [2]}), make_study({"utils.seed": [1, 2, 3]})
    assert set(expand_grid(narrow)) < set(expand_grid(wide))
    config = next(iter(narrow.configs()))[1]
    moved = config.copy()
    for key, value in (("paths.outputs_root", "elsewhere"), ("job_name", "other"), ("utils.device", "cpu")):
        set_key(moved, key, value)
    assert run_id(moved) == run_id(config)
    for key, value in (("utils.seed", 9), ("training.learning_rate", 0.5), ("paths.data_root", "elsewhere")):
        changed = config.copy()
        set_key(changed, key, value)
        assert run_id(changed) != run_id(config)
    assert run_id(Config()).startswith("mlp-s42-")


def test_a_study_is_read_back_from_its_yaml(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(protocol={"kfold": 3})
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study.to_dict()), encoding="utf-8")
    assert read_study(path) == study


@pytest.mark.parametrize(
    ("protocol", "folds"),
    [(None, 0), ("fixed_test", 0), ({"kfold": 5}, 5), ("kfold: 5", 5), ("kfold=4", 4)],
)
def test_protocols(protocol: Any, folds: int) -> None:
    assert parse_study({"name": "a", "protocol": protocol}).folds == folds


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "a", "grids": {}}, "Unknown part of a study 'grids'.*grid"),
        ({"name": "", "grid": {}}, "needs a name"),
        ({"name": "a", "grid": {"utils.sede": [1]}}, "utils.seed"),
        ({"name": "a", "grid": {"utils.seed": []}}, "is empty"),
        ({"name": "a", "grid": {"utils.seed": [1, 1]}}, "more than once"),
        ({"name": "a", "grid": {"model": ["liner"]}}, "Unknown model 'liner'.*linear_probe"),
        ({"name": "a", "base": {"training.lr": 1}}, "learning_rate|Did you mean"),
        ({"name": "a", "base": [1]}, "expected a mapping"),
        ({"name": "a", "protocol": "kfold: 1"}, "at least 2 folds"),
        ({"name": "a", "protocol": "leave one out"}, "expected fixed_test"),
    ],
)
def test_errors_name_the_fault(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_study(content)


def test_wrong_values_and_repeated_runs_are_named(make_study: MakeStudy) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        expand_grid(make_study({"training.learning_rate": [-1]}))
    repeated = make_study({"model.params.dropout": {"low": 0.1, "also low": 0.1}})
    with pytest.raises(ConfigError, match="the same run"):
        expand_grid(repeated)


@pytest.mark.parametrize("text", ["name: [", "- 1", "\x00", f"base: {'[' * 101}{']' * 101}"])
def test_unreadable_files_are_named(text: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="is a pipe or device"):
        read_study(tmp_path / "pipe.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        read_study(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_study(tmp_path / "absent.yaml")
