"""Running a study: plan, finish, reuse, extend, stop and resume, share a folder."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ctbench_core.errors import InputError
from ctbench_core.evaluate import evaluate_run
from ctbench_core.runs import RunStore, open_run, read_status
from ctbench_core.studies import (
    PAUSED,
    Study,
    StudyPaths,
    expand_grid,
    plan_study,
    read_plan,
    read_shard,
    read_study,
    request_state,
    run_study,
    seconds_per_run,
)
from ctbench_core.studies.cells import variance_parts
from ctbench_core.studies.execution import take_order, train_plan
from ctbench_core.studies.plan import Plan, PlannedRun, make_plan
from ctbench_core.studies.workers import claim, requested_state

MakeStudy = Callable[..., Study]


@pytest.fixture
def done(make_study: MakeStudy) -> dict[str, Any]:
    """Return the JSON of a small finished study."""
    return run_study(make_study())


def _stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.glob("*/checkpoints/*.pt")}


def test_a_study_trains_every_run_and_summarises_its_cells(done: dict[str, Any], make_study: MakeStudy) -> None:
    assert (done["runs"], done["finished"], done["reused"], done["failed"]) == (4, 4, 0, 0)
    table = pd.read_csv(done["table"])
    plan = read_plan(StudyPaths(Path(done["study_dir"])))
    assert list(table["run"]) == [run.id for run in plan.runs]
    for row in table.itertuples():
        run = open_run(Path(done["study_dir"]) / row.run)
        assert run.status.state == "finished"
        assert row.validation_auprc == pytest.approx(run.best()["val_metrics"]["auprc"], abs=1e-6)
        stored = json.loads(run.paths.evaluation("test.csv").metrics.read_text())
        assert row.test_auprc == pytest.approx(stored["auprc"], abs=1e-6)
    cells = [cell for cell in done["by_cell"] if cell["metric"] == "auprc"]
    for cell in cells:
        values = table[table["model"] == cell["cell"]["model"]]["test_auprc"]
        assert (cell["n"], cell["set"]) == (2, "test")
        assert cell["mean"] == pytest.approx(values.mean(), abs=1e-6)
        assert cell["std"] == pytest.approx(values.std(), abs=1e-6)
    assert len(RunStore(Path(done["study_dir"]).parent).runs()) == 4


def test_finished_runs_are_reused_and_the_extension_is_marked(done: dict[str, Any], make_study: MakeStudy) -> None:
    folder = Path(done["study_dir"])
    before = _stamps(folder)
    again = run_study(make_study())
    assert (again["reused"], again["extensions"]) == (4, [])
    assert _stamps(folder) == before
    wider = run_study(make_study({"utils.seed": [1, 2, 3], "model": ["mlp_visual", "linear_probe"]}))
    assert (wider["runs"], wider["reused"], wider["finished"]) == (6, 4, 6)
    assert [(part["runs"], part["seeds"]) for part in wider["extensions"]] == [(2, [1, 2, 3])]
    assert before.items() <= _stamps(folder).items()
    assert list(pd.read_csv(wider["table"])["extension"]) == [0, 0, 0, 0, 1, 1]


def test_another_recipe_under_the_same_name_is_refused(done: dict[str, Any], make_study: MakeStudy) -> None:
    with pytest.raises(InputError, match=r"training\.learning_rate"):
        plan_study(make_study(base={"training.learning_rate": 0.5}))
    with pytest.raises(InputError, match="axes"):
        plan_study(make_study({"utils.seed": [1]}))


def test_stopped_and_resumed_equals_never_stopped(done: dict[str, Any], make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study(base={"paths.outputs_root": str(tmp_path / "again")})
    cancel, seen = threading.Event(), []

    def watch(phase: str, finished: int, total: int) -> None:
        seen.append(phase)
        if len(seen) == 5:
            cancel.set()

    first = run_study(study, cancel=cancel, progress=watch)
    assert first["stopped"]
    assert first["finished"] < 4
    rest = run_study(study)
    assert (rest["finished"], rest["reused"], rest["stopped"]) == (4, first["finished"], False)
    one, other = (Path(result["table"]).read_text() for result in (done, rest))
    assert one == other


def test_a_pause_request_stops_a_worker(make_study: MakeStudy) -> None:
    endless = {"training.max_epochs": 100_000, "training.early_stopping_patience": 100_000}
    paths = plan_study(make_study({"utils.seed": [1]}, base=endless))
    outcome = train_plan(paths, progress=lambda phase, finished, total: request_state(paths, PAUSED))
    assert (outcome.stopped, outcome.finished, outcome.failed) == (True, 0, 0)
    assert requested_state(paths) == PAUSED


def test_faulty_input_raises_before_anything_is_written(make_study: MakeStudy, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.csv"):
        run_study(make_study(base={"data.train_manifest": "absent.csv"}))
    assert not (tmp_path / "outputs").exists()


def test_a_failed_run_is_reported_and_tried_again(make_study: MakeStudy) -> None:
    study = make_study({"training.learning_rate": [1e-3, 1e30], "utils.seed": [1]})
    result = run_study(study)
    assert (result["finished"], result["failed"]) == (1, 1)
    assert "learning_rate" in result["errors"][0]
    assert run_study(study)["failed"] == 1


def test_banks_are_fixed_by_the_plan(make_study: MakeStudy, tmp_path: Path) -> None:
    study = make_study({"utils.seed": list(range(10))})
    plan = make_plan(study, StudyPaths(tmp_path / "plan"), lambda config: "same", bank_runs=4)
    assert sorted(len(runs) for runs in plan.banks().values()) == [3, 3, 4]
    extended = make_plan(
        make_study({"utils.seed": list(range(12))}), StudyPaths(tmp_path / "plan"), lambda config: "same", bank_runs=4
    )
    assert extended.runs[:10] == plan.runs
    assert [run.bank for run in extended.runs[10:]] == [3, 3]


def test_banks_have_like_work_and_the_small_ones_come_first(make_study: MakeStudy, tmp_path: Path) -> None:
    budgets = [10, 20, 1000]
    study = make_study({"budget": budgets, "utils.seed": list(range(20))})
    plan = make_plan(
        study, StudyPaths(tmp_path / "plan"), lambda config: "same", work=lambda config: config.data.budget or 0.0
    )
    banks = [[run.changes.get("data.budget") for run in runs] for _, runs in sorted(plan.banks().items())]
    work = [sum(bank) for bank in banks]
    assert work == sorted(work)
    assert max(work) < 0.6 * sum(work)
    assert max(len(bank) for bank in banks) <= 32
    assert sorted(budget for bank in banks for budget in bank) == sorted(budgets * 20)


def test_several_processes_begin_with_the_largest_banks_and_one_with_the_smallest() -> None:
    plan = Plan([PlannedRun(str(bank), {}, bank) for bank in range(5)], [])
    assert take_order(plan, (0, 1), is_alone=True) == [0, 1, 2, 3, 4]
    assert take_order(plan, (0, 1), is_alone=False) == [4, 3, 2, 1, 0]
    assert take_order(plan, (1, 2), is_alone=False) == [3, 1, 4, 2, 0]


def test_one_process_has_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "00001.json"
    with claim(path) as is_mine:
        assert is_mine
        assert read_status(path).active
        with claim(path) as twice:
            assert not twice
    assert not read_status(path).active
    with claim(path) as again:
        assert again


def test_a_claim_of_another_host_counts_while_its_heartbeat_is_recent(tmp_path: Path) -> None:
    path = tmp_path / "00001.json"
    with claim(path):
        content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"host": "elsewhere", "state": "running"}))
    with claim(path) as is_mine:
        assert not is_mine
    os.utime(path, (0, 0))
    with claim(path) as is_mine:
        assert is_mine


@pytest.mark.parametrize(("text", "shard"), [(None, (0, 1)), ("1/3", (1, 3)), ("3/3", (0, 3)), ("0/2", (0, 2))])
def test_shards(text: str | None, shard: tuple[int, int]) -> None:
    assert read_shard(text) == shard


@pytest.mark.parametrize("text", ["3", "4/3", "a/b", "1/0", "-1/2"])
def test_wrong_shards_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--shard"):
        read_shard(text)


def test_the_example_is_a_study() -> None:
    example = Path(__file__).resolve().parents[2] / "examples" / "study_label_budget.yaml"
    assert len(expand_grid(read_study(example))) == 30


def test_runs_of_a_study_are_completed_when_they_are_evaluated_alone(done: dict[str, Any]) -> None:
    run = open_run(next(Path(done["study_dir"]).glob("mlp-s1-*")))
    files = run.paths.evaluation("test")
    lean = json.loads(files.metrics.read_text())
    assert not files.curves.exists()
    assert not run.paths.tuning.exists()
    config = run.config.copy()
    config.evaluation.detail = "full"
    evaluate_run(run.paths.root, ["test.csv"], config=config)
    whole = json.loads(files.metrics.read_text())
    assert files.curves.is_file()
    assert "detail" not in whole
    assert run.paths.tuning.is_file()
    assert {name: whole[name] for name in ("auprc", "auroc", "f1_macro", "f1_tuned")} == pytest.approx(
        {name: lean[name] for name in ("auprc", "auroc", "f1_macro", "f1_tuned")}
    )


def test_variance_parts_are_those_of_the_simulated_metrics() -> None:
    rng = np.random.default_rng(0)
    parts = [
        variance_parts(2 * rng.normal(size=(1, 8)) + rng.normal(size=(12, 1)) + 0.5 * rng.normal(size=(12, 8)))
        for _ in range(300)
    ]
    for name, truth in (("fold", 4.0), ("seed", 1.0), ("rest", 0.25)):
        assert np.mean([getattr(part, name) for part in parts]) == pytest.approx(truth, rel=0.1)
    assert np.isnan(variance_parts(np.ones((1, 5))).fold)


def test_the_pace_counts_the_time_in_which_any_run_was_running() -> None:
    """Three runs of one bank side by side for 90 s; a day later two more, one after the other, of 60 s each."""
    ended = [("2026-01-01T00:00:00+00:00", 90.0)] * 3
    ended += [("2026-01-02T08:01:00+00:00", 60.0), ("2026-01-02T08:02:00+00:00", 60.0)]
    assert seconds_per_run(ended) == pytest.approx((90 + 60 + 60) / 5)
    assert seconds_per_run([*ended, ("", 5.0), ("2026-01-01T00:00:00+00:00", None)]) == pytest.approx(42.0)
    assert seconds_per_run([]) is None
