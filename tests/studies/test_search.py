"""A search: its space, its trials, and that it does not depend on where it is stopped and resumed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ctbench_core.train.loop as loop
from ctbench_core.errors import ConfigError, InputError, RunError
from ctbench_core.runs import open_run
from ctbench_core.studies import (
    Search,
    StudyPaths,
    parameter_importance,
    parse_search,
    read_trials,
    run_search,
    search_execution,
    trial_row,
)
from ctbench_core.studies.search import parse_space
from ctbench_core.studies.trials import Trials

SPACE = {
    "depth": {"low": 0, "high": 2},
    "width": [4, 8],
    "training.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
    "model.params.dropout": {"low": 0.0, "high": 0.5},
}


@pytest.fixture
def make_search(tiny_data: Path, tmp_path: Path) -> Callable[..., Search]:
    """Return a builder of searches on the tiny data set."""

    def build(folder: str = "outputs", **parts: Any) -> Search:
        base = {
            "paths.data_root": str(tiny_data / "features"),
            "paths.manifest_dir": str(tiny_data / "manifests"),
            "paths.outputs_root": str(tmp_path / folder),
            "training.max_epochs": 6,
            "training.batch_size": 16,
            "optuna.pruner_startup_trials": 2,
            "optuna.pruner_warmup_steps": 1,
        }
        return parse_search({"name": "Small", "base": base, "space": SPACE, "trials": 7, "batch": 2, **parts})

    return build


def _table(paths: StudyPaths) -> pd.DataFrame:
    return pd.DataFrame([trial_row(trial) for trial in read_trials(paths)])


def test_a_space_sets_config_keys(make_search: Callable[..., Search]) -> None:
    search = make_search()
    drawn = {"depth": 2, "width": 8, "training.learning_rate": 0.01, "model.params.dropout": 0.1}
    config = search.config(drawn)
    assert config.model.params.hidden_dims == [8, 8]
    assert (config.training.learning_rate, config.evaluation.after_training) == (0.01, False)
    listed = parse_space({"model.params.hidden_dims": [[8], [4, 4]], "model": ["mlp_visual", "linear_probe"]})
    assert listed.changes({"model.params.hidden_dims": "[4, 4]", "model": "mlp_visual"}) == {
        "model._target_": "mlp",
        "model.model_name": "mlp",
        "model.params.hidden_dims": [4, 4],
    }


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"training.lr": [1]}, "Unknown axis"),
        ({"width": []}, "expected a list"),
        ({"training.learning_rate": {"low": 1}}, "low and high"),
        ({"training.learning_rate": {"low": "a", "high": 2}}, "expected a number"),
        ({"training.learning_rate": {"low": None, "high": 2}}, "holds None; expected a number"),
        ({"training.learning_rate": {"low": 1e-4, "high": float("nan")}}, "holds nan; expected a number"),
        ({"training.batch_size": {"low": 1, "high": 10**400}}, "expected a number"),
        ({"training.learning_rate": {"low": 2, "high": 1}}, "not a range to draw from"),
        ({"training.learning_rate": 0.1}, "expected a list"),
    ],
)
def test_wrong_spaces_are_named(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_space(space)


def test_a_search_stopped_and_resumed_continues_as_never_stopped(make_search: Callable[..., Search]) -> None:
    whole = run_search(make_search())
    trials = _table(StudyPaths(Path(whole["study_dir"])))
    assert (whole["trials"], whole["stopped"]) == (7, False)
    assert whole["best"]["value"] == pytest.approx(trials[trials["state"] == "finished"]["value"].max())
    again = whole["again"]
    fresh = pd.read_csv(Path(again["study_dir"]) / "table.csv")
    assert (again["n"], list(fresh["seed"])) == (5, [43, 44, 45, 46, 47])
    assert again["mean"] == pytest.approx(fresh["validation_auprc"].mean(), abs=1e-6)
    assert again["flattered"] == pytest.approx(whole["best"]["value"] - again["mean"])
    assert not any(name.startswith("test") for name in fresh)  # on validation alone
    run = open_run(whole["best"]["run_dir"])
    assert run.best()["val_metrics"]["auprc"] == pytest.approx(whole["best"]["value"])
    assert not run.evaluations()

    parts = make_search("parts", trials=3)
    run_search(parts, again=0)  # ends in the middle of a batch
    cancel, calls = threading.Event(), []

    def stop_in_a_training(phase: str, done: int, total: int) -> None:
        calls.append(phase)
        if len(calls) == 9:
            cancel.set()

    stopped = run_search(make_search("parts"), cancel=cancel, progress=stop_in_a_training)
    assert stopped["stopped"] and stopped["again"] is None
    rest = run_search(make_search("parts"), again=0)
    resumed = _table(StudyPaths(Path(rest["study_dir"])))
    parameters = list(SPACE)
    assert resumed[["trial", "state", *parameters]].equals(trials[["trial", "state", *parameters]])
    assert resumed["value"].to_numpy() == pytest.approx(trials["value"].to_numpy(), abs=1e-6, nan_ok=True)


def test_a_full_disk_fails_the_search_and_no_trial(
    make_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"trials": 2, "batch": 1}
    whole = run_search(make_search("whole", **small), again=0)
    real, calls = loop.append_line, itertools.count()

    def full(path: Path, line: str) -> None:
        if next(calls) == 8:  # in the second trial
            raise OSError(28, "No space left on device")
        real(path, line)

    with monkeypatch.context() as patch, pytest.raises(RunError, match="the disk is full"):
        patch.setattr(loop, "append_line", full)
        run_search(make_search(**small), again=0)
    rest = run_search(make_search(**small), again=0)
    assert (rest["trials"], rest["failed"]) == (whole["trials"], whole["failed"]) == (2, 0)
    tables = [_table(StudyPaths(Path(result["study_dir"]))) for result in (whole, rest)]
    assert tables[0].drop(columns="run").equals(tables[1].drop(columns="run"))


def test_a_winner_that_lacks_a_new_seed_is_an_error(
    make_search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = search_execution.run_study
    monkeypatch.setattr(search_execution, "run_study", lambda *study, **how: real(*study, **how) | {"errors": ["full"]})
    with pytest.raises(RunError, match="could not be trained again with all 2 new seeds: full"):
        run_search(make_search(trials=1, batch=1), again=2)


def test_pruned_trials_stop_early(make_search: Callable[..., Search]) -> None:
    search = make_search(trials=10, batch=2)
    result = run_search(search, again=0)
    trials = _table(search.paths())
    assert result["pruned"] == (trials["state"] == "pruned").sum() > 0
    assert (trials[trials["state"] == "pruned"]["epochs"] <= 6).all()
    unpruned = make_search("closed", trials=10, batch=2)
    unpruned.base["optuna.disable_pruning"] = True
    assert run_search(unpruned, again=0)["pruned"] == 0


def test_a_best_trial_at_the_end_of_the_space_is_said(make_search: Callable[..., Search]) -> None:
    result = run_search(make_search(space={"training.learning_rate": [1e-6, 3e-2]}, trials=4), again=0)
    assert [text.partition(":")[0] for text in result["warnings"]] == ["training.learning_rate"]


def test_another_search_of_the_name_is_refused(make_search: Callable[..., Search]) -> None:
    run_search(make_search(trials=1), again=0)
    with pytest.raises(InputError, match="another search"):
        run_search(make_search(trials=1, space={"width": [4]}))


def test_trial_n_depends_on_earlier_batches_alone(make_search: Callable[..., Search], tmp_path: Path) -> None:
    """Whether a batch's first trial has ended or still runs does not change the second."""
    search = make_search(batch=3)
    drawn = []
    for place, tell_first in (("a", False), ("b", True)):
        trials = Trials(StudyPaths(tmp_path / place), search.config().optuna, search.parsed_space(), 3)
        for number in range(6):
            trials.ask(number)
            if tell_first or number % 3 == 2:
                done = [number] if tell_first else range(number - 2, number + 1)
                for ended in done:
                    trials.tell(ended, trials.pruner(ended), 0.1 * ended, failed=False)
        drawn.append([trial.params for trial in trials.all()])
    assert drawn[0] == drawn[1]
    assert parameter_importance(trials.all())


def test_fresh_seeds_of_the_best_are_tested(make_search: Callable[..., Search]) -> None:
    search = make_search()
    drawn = {"depth": 1, "width": 8, "training.learning_rate": 0.01, "model.params.dropout": 0.1}
    again = search.confirmation_study(drawn)
    configs = [config for _, config in again.configs()]
    assert [config.utils.seed for config in configs] == [43, 44, 45, 46, 47]
    assert {config.training.learning_rate for config in configs} == {0.01}
    assert all(config.evaluation.after_training for config in configs)
    stable = [config for _, config in search.stability_study([drawn, drawn | {"width": 4}]).configs()]
    assert len(stable) == 6
    assert not any(config.evaluation.after_training for config in stable)
