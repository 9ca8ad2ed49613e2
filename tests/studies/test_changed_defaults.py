"""A default that changes in the code: planned and finished runs keep the old one, a study that grows trains anew."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ctbench_core.config import KEYS, Config
from ctbench_core.errors import InputError
from ctbench_core.runs import RunPaths, read_config, write_config
from ctbench_core.studies import (
    Study,
    StudyPaths,
    parse_search,
    parse_study,
    plan_search,
    plan_study,
    read_plan,
    run_study,
)
from ctbench_core.studies.identity import identity_text
from ctbench_core.studies.trial_task import read_planned

PROJECT = Path(__file__).resolve().parents[2]
STORE = PROJECT / "tests" / "data" / "store-0.1.0.zip"
PATIENCE, BATCH = ("early_stopping_patience", "14"), ("batch_size", "128")


@pytest.fixture
def cli_after(tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs a verb in a process whose code has another default; it returns JSON and stderr."""

    def run(change: tuple[str, str], *arguments: str, folder: Path = tmp_path) -> tuple[dict[str, Any], str]:
        script = str(Path(__file__).parent / "changed_default.py")
        command = [sys.executable, script, *change, *arguments, "--json"]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": str(PROJECT)}
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1]), done.stdout + done.stderr

    return run


@pytest.fixture
def make(make_study: Callable[..., Study]) -> Callable[..., Study]:
    """Return a builder of a study of seeds that leaves the batch size at its default."""

    def build(seeds: list[int], **base: Any) -> Study:
        study = make_study({"utils.seed": seeds})
        own = {key: value for key, value in study.base.items() if key != "training.batch_size"}
        return parse_study(study.to_dict() | {"base": own | base})

    return build


def write(study: Study, path: Path) -> str:
    path.write_text(yaml.safe_dump(study.to_dict()), encoding="utf-8")
    return str(path)


def batch_sizes(paths: StudyPaths) -> dict[str, int]:
    return {
        run.id: read_config(RunPaths(paths.run(run.id)).config).training.batch_size for run in read_plan(paths).runs
    }


def test_a_study_that_grows_after_a_changed_default_trains_anew_and_says_why(
    make: Callable[..., Study], cli_after: Any, tmp_path: Path
) -> None:
    first = run_study(make([1, 2]))
    paths = StudyPaths(Path(first["study_dir"]))
    before = set(batch_sizes(paths))
    grown, text = cli_after(BATCH, "study", write(make([3]), tmp_path / "study.yaml"))
    assert (grown["runs"], grown["reused"], grown["finished"]) == (3, 0, 3)
    assert set(batch_sizes(paths).values()) == {128}
    assert not before & set(batch_sizes(paths))
    assert list(pd.read_csv(grown["table"])["run"]) == list(batch_sizes(paths))
    (warning,) = grown["warnings"]
    assert "training.batch_size: 64 in the earlier runs, 128 now: the default changed" in warning
    assert "2 earlier runs" in warning and "set training.batch_size: 64 in the base" in warning
    assert text.count(warning) == 3  # stderr before training, the table, and the JSON (in the same text)
    assert all(paths.run(name).is_dir() for name in before)


def test_the_earlier_runs_are_reused_when_the_base_names_the_old_default(
    make: Callable[..., Study], cli_after: Any, tmp_path: Path
) -> None:
    first = run_study(make([1, 2]))
    named = make([1, 3], **{"training.batch_size": 64})
    grown, _ = cli_after(BATCH, "study", write(named, tmp_path / "study.yaml"))
    assert (grown["runs"], grown["reused"], grown["warnings"]) == (3, 2, [])
    assert set(batch_sizes(StudyPaths(Path(first["study_dir"]))).values()) == {64}


def test_a_planned_study_continues_as_it_was_planned(make: Callable[..., Study], cli_after: Any) -> None:
    paths = plan_study(make([1]))
    continued, _ = cli_after(BATCH, "study", str(paths.root))
    assert (continued["finished"], continued["warnings"]) == (1, [])
    assert set(batch_sizes(paths).values()) == {64}


@pytest.fixture
def old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack a store of release 0.1.0, whose plan names its runs only; its study gets a third seed."""
    with zipfile.ZipFile(STORE) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    study = yaml.safe_load((tmp_path / "study.yaml").read_text(encoding="utf-8"))
    study["grid"]["utils.seed"] = [1, 2, 3]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    return tmp_path


def test_an_old_study_reuses_its_runs_when_a_seed_is_added(
    cli: Callable[..., Any], old_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(old_store)
    plan = json.loads((old_store / "outputs" / "small-budgets" / "plan.json").read_text(encoding="utf-8"))
    grown = cli("study", "study.yaml").json
    assert (grown["runs"], grown["reused"], grown["finished"], grown["warnings"]) == (6, 4, 6, [])
    kept = [run.id for run in read_plan(StudyPaths(old_store / "outputs" / "small-budgets")).runs]
    assert kept[:4] == [run["id"] for run in plan["runs"]]


def test_an_old_study_trains_anew_after_a_changed_default(old_store: Path, cli_after: Any) -> None:
    grown, _ = cli_after(PATIENCE, "study", "study.yaml", folder=old_store)
    assert (grown["runs"], grown["reused"]) == (6, 0)
    assert "training.early_stopping_patience: 15 in the earlier runs, 14 now" in grown["warnings"][0]


def test_an_old_plan_gives_the_settings_that_its_runs_stored(old_store: Path) -> None:
    paths = StudyPaths(old_store / "outputs" / "small-budgets")
    plan = read_plan(paths)
    for name, config in plan.configs().items():
        assert identity_text(config) == identity_text(read_config(RunPaths(paths.run(name)).config))
    assert plan.extensions[0]["defaults"]["training.early_stopping_patience"] == 15
    assert "training.batch_size" not in plan.extensions[0]["defaults"]  # the definition sets it


def test_a_started_run_counts_with_the_config_that_it_stored(make: Callable[..., Study]) -> None:
    paths = plan_study(make([1, 2]))
    first, second = read_plan(paths).runs
    config = read_plan(paths).configs()[first.id]
    config.training.learning_rate = 0.5
    paths.run(first.id).mkdir()
    write_config(RunPaths(paths.run(first.id)).config, config)
    plan_study(make([1, 2, 3]))
    plan = read_plan(paths)
    assert [run.id for run in plan.superseded] == [first.id]
    assert plan.runs[0] == second
    assert "training.learning_rate: 0.5 in the earlier runs, 0.0001 now" in plan.warnings[0]


def test_a_changed_definition_of_a_label_supersedes_its_runs(make_study: Callable[..., Study]) -> None:
    rates = {"low": 1e-3, "high": 1e-2}
    paths = plan_study(make_study({"training.learning_rate": rates}))
    known = {run.labels["training.learning_rate"]: run.id for run in read_plan(paths).runs}
    plan_study(make_study({"training.learning_rate": rates | {"high": 0.1}}))
    plan = read_plan(paths)
    assert {run.labels["training.learning_rate"]: run.id for run in plan.runs}["low"] == known["low"]
    assert [run.id for run in plan.superseded] == [known["high"]]
    assert "training.learning_rate: 0.01 in the earlier runs, 0.1 now: the definition changed" in plan.warnings[0]
    assert max(plan.banks()) == 1  # the new run trains in a bank of its own


def test_a_search_continues_with_its_defaults_and_is_not_mixed(
    make_study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_study().base
    search = parse_search({"name": "s", "base": base, "space": {"model.params.dropout": [0.1, 0.2]}, "trials": "2"})
    paths = plan_search(search)
    assert search.trials == 2
    changed = "training.early_stopping_patience"
    monkeypatch.setitem(KEYS, changed, type(KEYS[changed])(**{**vars(KEYS[changed]), "default": 14}))
    init = vars(Config().training.__class__)["__init__"]
    monkeypatch.setattr(init, "__defaults__", tuple(14 if value == 15 else value for value in init.__defaults__))
    assert Config().training.early_stopping_patience == 14
    assert read_planned(paths).config().training.early_stopping_patience == 15
    with pytest.raises(InputError, match="early_stopping_patience: 15 there, 14 now"):
        plan_search(search)
    again = read_planned(paths).confirmation_study({"model.params.dropout": 0.1})
    assert {config.training.early_stopping_patience for _, config in again.configs()} == {15}
